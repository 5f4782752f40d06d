"""Costs and promises of the daemon, each as a row with its limit.

Every row starts a daemon of its own, below a temporary folder and as a host of its own, so that neither profiles nor
journals of yours are touched. Rows about idle machines want an idle machine: others' load closes the window, and the
row says that nothing was measured. Prints a table, or JSON with --json; exit code 1 if a limit is exceeded.

    python scripts/benchmarks/run daemon [--rows idle,busy] [--scale 0.05] [--start-below 0.08] [--json]

--scale shortens durations and numbers of repetitions, for a first look; figures that are stated come from 1, which
takes about an hour: 11 minutes for idle, 6 for periodic and busy, 18 for foreground, 15 for kills. The row idle may
run with others in a process of its own. With --json the table goes to stderr as it grows.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

from autotune.controls.supervise import descendants
from autotune.daemon.control_socket import ask_daemon
from autotune.daemon.sensors import fingerprint
from autotune.daemon.state import DaemonState, save_state
from autotune.errors import NoDaemon, ProfileError
from autotune.profiles import folders, profile_files

PATIENCE = 120.0
LOOK_SECONDS = 2.0
"""Between two looks of a daemon that is waited for: what the CPUs do in a shorter time is told too roughly."""
SPIN = "import sys, time; end = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"
JOB = """
import sys, time, numpy as np
a = np.random.default_rng(0).standard_normal((600, 600))
start, rounds = time.perf_counter(), int(sys.argv[1])
for _ in range(rounds): a = a @ a; a /= np.abs(a).max(); np.linalg.qr(a)
print(time.perf_counter() - start)
"""
PLANT = """
import sys
import numpy
from pathlib import Path
from autotune.host.usable_cpus import usable_cpus
from autotune.model.configuration import Configuration
from autotune.model.catalogue import operation
from autotune.model.profile import Profile, Provenance
from autotune.model.entry import Entry, Evidence, Status
from autotune.profiles import profile_files
from autotune.profiles.resolve import this_site
usable, limit = usable_cpus()
site = this_site(usable, limit)
slow = {
    operation("matmul", n=48): Configuration(blas_threads=4 * usable),
    operation("exp", n=20_000): Configuration(workers=max(2, usable), chunk=500),
}
entries = tuple(Entry(operation=one, status=Status.TUNED, reason="Planted.", choice=choice,
    evidence=Evidence(speedup=2.0, interval=(1.7, 2.5), default_seconds=1e-5, tuned_seconds=5e-6))
    for one, choice in slow.items())
profile = Profile(key=site.key, provenance=Provenance(host=site.host), entries=entries)
profile_files.write(profile, Path(sys.argv[1]))
"""


class Daemon:
    """One daemon below a folder of its own."""

    def __init__(
        self, folder: Path, options: argparse.Namespace, *, quiet_seconds: float | None = None, **settings: object
    ) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOTUNE_", "XDG_"))}
        places = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "STATE", "CACHE", "DATA")}
        own = {"XDG_RUNTIME_DIR": str(folder / "run"), "HOME": str(folder), "AUTOTUNE_HOST_ID": f"bench-{os.getpid()}"}
        self.environ = {**kept, **places, **own}
        self.configuration = folder / "config" / "autotune" / "daemon.yaml"
        self.profiles = folder / "config" / "autotune" / "profiles"
        self.state = folder / "state" / "autotune" / "daemon"
        self.settings: dict[str, object] = {
            "idle": {
                "start_below": options.start_below,
                "stop_above": max(0.4, 2 * options.start_below),
                "quiet_seconds": options.quiet_seconds if quiet_seconds is None else quiet_seconds,
                "start_waiting": options.start_waiting,
            },
            "calibrate": False,
            "daily_cpu_seconds": None,
            **settings,
        }
        self.configure()
        self.trust_what_is_shipped()
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, **settings: object) -> None:
        """Write the configuration; JSON is YAML."""
        self.settings |= settings
        self.configuration.parent.mkdir(parents=True, exist_ok=True)
        self.configuration.write_text(json.dumps(self.settings), "utf-8")

    def trust_what_is_shipped(self) -> None:
        """The trial of a profile that comes with autotune, if one speaks for this machine, is no part of any row."""
        places = [Path(place) for layer, place in folders.places() if layer is folders.Layer.SHIPPED]
        shipped = [str(path) for place in places for path in place.glob("*.yaml")]
        self.state.mkdir(parents=True)
        trusted = {path: fingerprint(path) for path in shipped}
        save_state(self.state / "state.json", DaemonState(trusted=trusted))

    def start(self) -> "Daemon":
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autotune", "daemon"], env=self.environ, stdout=log, stderr=log
            )
        if self.until(self.status) is None:
            raise NoDaemon((self.folder / "log").read_text("utf-8", "replace")[-500:])
        return self

    def ask(self, verb: str, **words: object) -> dict[str, object]:
        return ask_daemon([self.folder / "run" / "autotune" / "control.sock"], verb, **words)

    def status(self) -> dict[str, Any]:
        return self.ask("status")

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> float | None:
        """Return the seconds until the condition holds; None if it does not."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            with suppress(NoDaemon):
                if condition():
                    return time.monotonic() - began
            time.sleep(0.1)  # asking more often would keep the machine from being idle
        return None

    def measuring(self) -> bool:
        running = self.status()["running"]
        return bool(running and running["measuring"])

    def in_a_trial(self, options: argparse.Namespace) -> bool:
        """Wait until trial processes run; False if the machine is never idle enough for that.

        SIGHUP has the daemon look at once: that it looks every ten seconds proves nothing here.
        """
        assert self.process is not None
        end = time.monotonic() + max(90.0, 480 * options.scale)
        while time.monotonic() < end:
            with suppress(NoDaemon):
                if self.status()["running"] is None:
                    self.process.send_signal(signal.SIGHUP)
            if self.until(lambda: len(self.family()) >= 3 and self.measuring(), LOOK_SECONDS) is not None:
                return True
        return False

    def family(self) -> list[int]:
        assert self.process is not None
        return alive(descendants(self.process.pid) or [])

    def events(self, *names: str) -> list[dict[str, Any]]:
        lines = (self.folder / "log").read_text("utf-8", "replace").splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if event["event"] in names]

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)


@contextmanager
def daemon(options: argparse.Namespace, *, quiet_seconds: float | None = None, **settings: object) -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="autotune-bench-", ignore_cleanup_errors=True) as folder:
        server = Daemon(Path(folder), options, quiet_seconds=quiet_seconds, **settings)
        try:
            yield server
        finally:
            server.end()


def alive(pids: list[int]) -> list[int]:
    living = []
    for pid in pids:
        with suppress(OSError):
            status = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
            living += [pid] if status not in {"Z", "X"} else []
    return living


def row(name: str, value: float | None, limit: float | None, unit: str, note: str = "") -> dict[str, Any]:
    kept = None if value is None else limit is None or value <= limit
    return {"name": name, "value": value, "limit": limit, "unit": unit, "kept": kept, "note": note}


def load(seconds: float) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-S", "-c", SPIN, str(seconds)])


# --- rows -------------------------------------------------------------------------------------


def idle(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure CPU time, memory and wake-ups while there is nothing to do."""
    with daemon(options, idle={"start_below": 1e-9, "stop_above": 1.0}) as server:
        server.start()
        time.sleep(40)  # the interpreter is asked, and everything was looked at once
        pid, seconds = server.process.pid, max(30.0, 600 * options.scale)  # type: ignore[union-attr]
        before = used(pid)
        time.sleep(seconds)
        after = used(pid)
        yield row("idle_cpu", 100 * (after[0] - before[0]) / seconds, 0.1, "% of a CPU", f"over {seconds:.0f} s")
        yield row("idle_memory", after[2] / 1e6, 40, "MB")
        yield row("idle_wakeups", (after[1] - before[1]) / seconds, 0.2, "a second")


def used(pid: int) -> tuple[float, int, int]:
    """Return CPU seconds, wake-ups, resident bytes."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    switches = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    schedule = int(Path(f"/proc/{pid}/schedstat").read_text("utf-8").split()[0]) / 1e9
    return schedule, switches, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def busy(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the time until a machine that becomes busy has its CPUs back; nothing of it is published."""
    with daemon(options, quiet_seconds=LOOK_SECONDS / 2, job_seconds=600) as server:
        server.start()
        waits, published = [], 0
        for number in range(max(2, round(50 * options.scale))):
            server.ask("tune", operation="svd", sizes={"n": 400 + number})
            if not server.in_a_trial(options):
                break
            time.sleep(random.uniform(0.5, 3.0))
            family, adopted = server.family(), len(server.events("adopted"))
            spinners = [load(10.0) for _ in range(os.cpu_count() or 1)]
            began = time.monotonic()
            while alive(family) and time.monotonic() - began < 10:
                time.sleep(0.005)
            waits.append(time.monotonic() - began)
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
            published += len(server.events("adopted")) - adopted
        note = (
            f"{len(waits)} trials, median {sorted(waits)[len(waits) // 2]:.2f} s" if waits else "nothing was measured"
        )
        yield row("busy_cpus_back", max(waits, default=None), 1.0, "s", note)
        yield row("busy_contended_published", float(published) if waits else None, 0, f"of {len(waits)} trials")


def periodic(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Make a second of load every ten seconds."""
    with daemon(options, job_seconds=600) as server:
        server.start()
        server.ask("tune", operation="svd")
        started = server.in_a_trial(options)
        before, seconds = len(server.events("idle", "busy")), max(60.0, 300 * options.scale)
        end = time.monotonic() + seconds
        while started and time.monotonic() < end:
            load(1.0).wait()
            time.sleep(9.0)
        count = len(server.events("idle", "busy")) - before
        note = f"over {seconds:.0f} s" + ("" if started else "; it was never idle enough to begin")
        yield row("periodic_starts_and_stops", float(count) if started else None, 2, "", note)


def stops(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Send SIGTERM in the middle of a trial."""
    waits: list[float] = []
    for _ in range(max(2, round(10 * options.scale))):
        with daemon(options, quiet_seconds=LOOK_SECONDS / 2, job_seconds=600) as server:
            server.start()
            server.ask("tune", operation="svd")
            if not server.in_a_trial(options):
                break
            time.sleep(random.uniform(0.0, 2.0))
            family = server.family()
            began = time.monotonic()
            server.end()
            while alive(family) and time.monotonic() - began < 30:
                time.sleep(0.005)
            waits.append(time.monotonic() - began)
    note = f"slowest of {len(waits)}, its children included" if waits else "nothing was measured"
    yield row("stop_in_a_trial", max(waits, default=None), 5, "s", note)


def kills(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Send SIGKILL at random moments: half of them in a trial, a quarter after another one has finished."""
    count = max(3, round(100 * options.scale))
    torn = left = refused = lost = met = kept = 0
    with daemon(
        options, job_seconds=20, idle={"start_below": 1e6, "stop_above": 2e6, "quiet_seconds": 0.1, "start_waiting": 2}
    ) as server:
        sessions: list[str] = []
        for number in range(count):
            try:
                server.start()
            except NoDaemon:
                refused += 1
                continue
            with suppress(NoDaemon):
                server.ask("tune", operation="qr", sizes={"n": 64 + number})
            if number % 2 == 0:  # the others meet its beginning
                met += server.in_a_trial(options)
            if number % 4 == 0:
                news(server, len(sessions))
            time.sleep(random.uniform(0.0, 4.0))
            family = server.family()
            server.end(signal.SIGKILL)
            began = time.monotonic()
            while alive(family) and time.monotonic() - began < 5.0:
                time.sleep(0.01)
            left += len(alive(family))
            torn += not whole(server)
            now = journal(server)
            gone_on = now[:1] == sessions[:1]  # the same calibration; else another one was begun in its place
            lost += gone_on and now[: len(sessions)] != sessions
            kept += gone_on and now[: len(sessions)] == sessions and len(sessions) > 1
            sessions = now
        server.start()
    yield row("kill_torn_files", float(torn), 0, f"of {count}")
    yield row("kill_children_alive_after_5_s", float(left), 0, f"of {count}")
    note = f"of {count}; {met} were in a trial, {kept} times what had finished was there after the next"
    yield row("kill_finished_trials_lost", float(lost), 0, note)
    yield row("kill_refused_to_start", float(refused), 0, f"of {count}")


def whole(server: Daemon) -> bool:
    """Can everything that the daemon wrote be read?"""
    try:
        written = server.state / "state.json"
        if written.exists():
            json.loads(written.read_text("utf-8"))
        for path in server.profiles.glob("*.yaml"):
            profile_files.read(path)
    except (ValueError, ProfileError):
        return False
    return True


def news(server: Daemon, count: int) -> None:
    """Wait until more lines than these are in the journal, and a session among them."""
    server.until(lambda: len(journal(server)) > max(1, count))


def journal(server: Daemon) -> list[str]:
    """Return the requests, and each finished session."""
    lines: list[str] = []
    for path in server.state.glob("home/autotune/calibration-*.jsonl"):
        text = path.read_text("utf-8", "replace")
        lines = text.splitlines()[: text.count("\n")]
    return [json.dumps(json.loads(line).get("asked", line)) for line in lines]


def noticed(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the time until a change is noticed, and marked stale with its reason."""
    del options
    quiet = argparse.Namespace(start_below=1e-9, quiet_seconds=60.0, start_waiting=0.05)
    with daemon(quiet) as server, ExitStack() as stack:
        shadow = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autotune-numpy-")))
        search_path = os.pathsep.join([str(shadow), *filter(None, [os.environ.get("PYTHONPATH")])])
        python = {"python": sys.executable, "environment": {"PYTHONPATH": search_path}}
        shadow_numpy(shadow)
        server.configure(interpreters=[python])
        server.start()

        def stale(word: str) -> bool:
            return any(word in (each["stale"] or "") for each in server.status()["interpreters"])

        server.until(lambda: all(each["key"] for each in server.status()["interpreters"]))
        version = shadow / "numpy" / "version.py"
        text = version.read_text("utf-8")
        version.unlink()  # it is a link to the real one
        version.write_text(
            text.replace('version = "2.', 'version = "9.').replace("version = '2.", "version = '9."), "utf-8"
        )
        os.utime(shadow / "numpy")
        yield row("noticed_numpy", server.until(lambda: stale("software.numpy")), 60, "s")
        python["environment"]["OPENBLAS_CORETYPE"] = "Nehalem"  # type: ignore[index]
        server.configure(interpreters=[python])
        yield row("noticed_coretype", server.until(lambda: stale("software.kernels")), 60, "s")
        cpus = os.sched_getaffinity(0)
        if len(cpus) > 1:
            os.sched_setaffinity(server.process.pid, {min(cpus)})  # type: ignore[union-attr]
            yield row("noticed_cpuset", server.until(lambda: stale("usable_cpus")), 60, "s")
            os.sched_setaffinity(server.process.pid, cpus)  # type: ignore[union-attr]
            server.until(lambda: stale("is 2") or stale(f"is {len(cpus)}"))
        group = quota_group(server.process.pid, stack)  # type: ignore[union-attr]
        wait = None if group is None else server.until(lambda: stale("quota"))
        yield row("noticed_quota", wait, 60, "s", "" if group else "no control group can be made here")


def shadow_numpy(folder: Path) -> None:
    """Make a separate NumPy, of links to the real one."""
    import numpy as np

    real = Path(np.__file__).parent
    for name in ("numpy", "numpy.libs"):
        if (real.parent / name).is_dir():
            shutil.copytree(real.parent / name, folder / name, copy_function=linked)


def linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def quota_group(pid: int, stack: ExitStack) -> Path | None:
    """Put a process into a control group with a quota of one CPU; None where that is not possible."""
    for base, entry, limits in (
        ("/sys/fs/cgroup/cpu", "cgroup.procs", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}),
        ("/sys/fs/cgroup", "cgroup.procs", {"cpu.max": "100000 100000"}),
    ):
        group = Path(base) / f"autotune-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, value in limits.items():
                (group / name).write_text(value)
            (group / entry).write_text(str(pid))
        except OSError:
            group.rmdir()
            continue

        def leave(group: Path = group, base: str = base, entry: str = entry) -> None:
            with suppress(OSError):
                (Path(base) / entry).write_text(str(pid))
            with suppress(OSError):
                group.rmdir()

        stack.callback(leave)
        return group
    return None


def planted(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Put a profile that makes programs slower where programs look."""
    with daemon(options, job_seconds=30) as server:
        path = server.profiles / "planted.yaml"
        subprocess.run([sys.executable, "-c", PLANT, str(path)], env=server.environ, check=True)
        server.start()
        wait = server.until(lambda: not path.exists(), 5 * PATIENCE)
        runs = server.status()["counts"].get("retimings", 0.0)
        note = f"after {wait:.0f} s" if wait is not None else "it is still in use"
        yield row("planted_retimings", runs if wait is not None else None, 3, "", note)


def crowd(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Ask the socket next to more clients than it serves, of the worst kinds."""
    with daemon(options, idle={"start_below": 1e-9, "stop_above": 1.0}) as server, ExitStack() as stack:
        server.start()
        server.until(lambda: server.status()["running"] is None)
        path = str(server.folder / "run" / "autotune" / "control.sock")

        def connect(text: bytes = b"") -> None:
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            line.setblocking(False)
            for _ in range(100):
                with suppress(BlockingIOError):
                    line.connect(path)
                    break
                time.sleep(0.01)
            with suppress(OSError):
                while text:
                    text = text[line.send(text) :]

        for _ in range(20):
            connect()
            connect(b'{"verb": "sta')
            connect(b'{"verb": "status"}\n' * 5000)  # never reads
            connect(b"x" * 2**20)
        waits = []
        for _ in range(100):
            began = time.monotonic()
            server.status()
            waits.append(time.monotonic() - began)
        note = f"slowest of 100, median {1000 * sorted(waits)[50]:.1f} ms"
        yield row("crowd_status", 1000 * max(waits), 100, "ms", note)


def foreground(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Time a NumPy job that begins while something is measured, against the same without a daemon."""
    rounds = round(250 * max(options.scale, 0.05) * 4)
    logs: list[float] = []
    pairs = max(2, round(20 * options.scale))
    for number in range(pairs):
        seconds = {}
        for is_busy in random.sample([True, False], 2):
            with daemon(options, quiet_seconds=LOOK_SECONDS / 2, job_seconds=600) as server:
                if is_busy:
                    server.start()
                    server.ask("tune", operation="svd", sizes={"n": 300 + number})
                    if not server.in_a_trial(options):
                        note = f"after {len(logs)} pairs the machine was never idle enough to begin"
                        yield row("foreground_slowdown", None, 3, "%", note)
                        return
                    time.sleep(2.0)
                environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
                done = subprocess.run(
                    [sys.executable, "-c", JOB, str(rounds)], capture_output=True, text=True, check=True, env=environ
                )
                seconds[is_busy] = float(done.stdout)
        logs.append(math.log(seconds[True] / seconds[False]))
    half = student.ppf(0.975, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    low, high = (100 * math.expm1(mean(logs) + sign * half) for sign in (-1, 1))
    note = f"95 % interval {low:.1f} to {high:.1f}, {pairs} pairs, each met a trial"
    yield row("foreground_slowdown", 100 * math.expm1(mean(logs)), 3, "%", note)


ROWS: dict[str, Callable[[argparse.Namespace], Iterator[dict[str, Any]]]] = {
    each.__name__: each for each in (idle, busy, periodic, foreground, stops, kills, noticed, planted, crowd)
}


def results(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Return the results of one row. One that breaks off is not measured, and keeps no other from being measured."""
    try:
        yield from ROWS[name](options)
    except (NoDaemon, OSError, subprocess.SubprocessError) as problem:
        yield row(name, None, None, "", f"{type(problem).__name__}: {problem}")


def line(result: dict[str, Any]) -> str:
    """Format a result for people."""
    value = "-" if result["value"] is None else f"{result['value']:.3g}"
    limit = "" if result["limit"] is None else f"(at most {result['limit']:g})"
    verdict = {True: "", False: "EXCEEDED", None: "NOT MEASURED"}[result["kept"]]
    return f"{result['name']:<32} {value:>8} {result['unit']:<12} {limit:<16} {result['note']} {verdict}".rstrip()


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--start-below", type=float, default=0.08, help="CPUs of others that count as quiet")
    parser.add_argument("--start-waiting", type=float, default=0.05)
    parser.add_argument("--quiet-seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    unknown = set(options.rows.split(",")) - set(ROWS)
    if unknown:
        parser.error(f"there are no rows {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # takes its daemon along
    rows = []
    for name in options.rows.split(","):
        for result in results(name, options):
            rows.append(result)
            print(line(result), flush=True, file=sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(rows, indent=2))
    return 0 if all(result["kept"] for result in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
