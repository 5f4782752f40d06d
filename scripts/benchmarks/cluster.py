#!/usr/bin/env python3
"""Calibration of a cluster: what several equal nodes make of the time of one, and that a lost one costs nothing.

    scripts/benchmarks/run cluster                    both figures; about eight minutes
    scripts/benchmarks/run cluster --json
    scripts/benchmarks/run cluster --only killed

    shared   4 workers that stand for 4 equal hosts against one: the same operations, the same budget
    killed   one of 4 workers is killed in the middle of a search; is the result complete?

Real Dask, real worker processes under their nannies, real trials; only the work in the trials sleeps a known time,
and what others do to the CPUs meanwhile is not held against it, since the hosts share this machine's. One thread takes
half of the default's time, so that every entry has to be proved, and confirmed by a second host. Exit code 1 if a
figure is missed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from autotune.model.entry import Status
from autotune.profiles.profile_document import decode_profile

HOSTS = 4
LIMIT = 0.3
OURS = {"class", "hosts", "path", "published"}
"""Fields of a class in the command's output, other than its profile."""
OPERATIONS = ("solve", "inv", "det", "lstsq", "pinv", "cholesky", "qr", "eigh", "eig", "svd", "matmul", "matvec")
SLEEPER = """
# every trial's work sleeps a known time; sitecustomize is what Python runs first in each process
from time import sleep

from autotune.bench import noise, workloads
from autotune.bench.workloads.workload import Work

SECONDS = {seconds}


class Sleeper:
    layouts = ("C",)

    def __init__(self, seconds):
        self.seconds = seconds

    def prepare(self, operation, layout, seed):
        def tuned(configuration):
            share = 0.5 if configuration.blas_threads == 1 else 1.0
            return lambda: sleep(share * self.seconds)

        return Work(plain=lambda: sleep(self.seconds), tuned=tuned, check=lambda result: None)


def find(name):
    return Sleeper(0.005 if name == "sqrt" else SECONDS)


workloads.find = find
noise.interference = lambda *readings, **more: 0.0
"""


class Nodes:
    """A scheduler and its workers, each of which stands for a host of its own."""

    def __init__(self, folder: Path, stack: ExitStack, environ: dict[str, str]) -> None:
        self._folder = folder
        self._stack = stack
        self._environ = environ
        place = folder / "scheduler.json"
        self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(place))
        self.address: str = json.loads(_when_there(place))["address"]

    def worker(self, host: str) -> subprocess.Popen[bytes]:
        """Start a worker, with its nanny."""
        state = self._folder / host
        state.mkdir(exist_ok=True)
        own = {"AUTOTUNE_HOST_ID": host, "AUTOTUNE_STATE_DIR": str(state)}
        words = ("--nthreads", "1", "--no-dashboard", "--name", host, "--local-directory", str(state))
        return self._start("worker", self.address, *words, **own)

    def _start(self, what: str, *words: str, **environ: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{what}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", what, *words],
                stdout=log,
                stderr=log,
                env={**self._environ, **environ},
                start_new_session=True,
            )
        self._stack.callback(_end, process)
        return process


@contextmanager
def nodes(seconds: float) -> Iterator[Nodes]:
    """Start a scheduler without workers yet, whose trials sleep so long."""
    with tempfile.TemporaryDirectory(prefix="autotune-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SLEEPER.format(seconds=seconds), "utf-8")
        environ = {
            **os.environ,
            **{f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "STATE", "CACHE", "DATA")},
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
        }
        with ExitStack() as stack:
            yield Nodes(folder, stack, environ)


def calibrated(cluster: Nodes, budget: float, store: Path, watch: Any = None) -> tuple[float, dict[str, Any], str]:
    """Return (seconds, what it printed, its log) of `autotune cluster calibrate`; `watch` sees each line of the log."""
    began = monotonic()
    command = ["cluster", "calibrate", cluster.address, *OPERATIONS, "n=100", "--store", str(store)]
    with subprocess.Popen(
        [sys.executable, "-m", "autotune", *command, "--budget", f"{budget:.0f}s", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**cluster._environ, "PYTHONUNBUFFERED": "1"},  # noqa: SLF001  # one script
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        log = ""
        for line in process.stderr:
            log += line
            if watch is not None:
                watch(line)
        said = json.loads(process.stdout.read())
    return monotonic() - began, said, log


def with_hosts(count: int, seconds: float, budget: float, *, kill: bool = False) -> dict[str, Any]:
    """Run one calibration with `count` hosts; `kill` kills the first worker that is in the middle of something."""
    with nodes(seconds) as cluster, tempfile.TemporaryDirectory() as store:
        workers = {f"host-{number}": cluster.worker(f"host-{number}") for number in range(count)}
        _until_there(cluster.address, count)
        killed: list[str] = []

        def watch(line: str) -> None:
            if kill and not killed and "search of" in line and ": " in line:
                # this host has ended one, and begins another within the second
                host = line.partition("Host ")[2].partition(":")[0]
                killed.append(host)
                sleep(2.0)
                os.killpg(workers[host].pid, signal.SIGKILL)

        wall, said, log = calibrated(cluster, budget, Path(store), watch)
    document = {name: value for name, value in said["classes"][0].items() if name not in OURS}
    entries = decode_profile(document).entries
    return {
        "hosts": count,
        "seconds": wall,
        "operations": len(entries),
        "tuned": sum(entry.status is Status.TUNED for entry in entries),
        "confirmed": sum((entry.evidence.hosts or 1) > 1 for entry in entries),
        "missed": said["missed"],
        "killed": killed,
        "log": log,
    }


def _until_there(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=120)


def _when_there(path: Path) -> str:
    for _ in range(1200):
        if path.exists() and path.read_text("utf-8").strip():
            return path.read_text("utf-8")
        sleep(0.1)
    raise SystemExit(f"{path} was not written: the scheduler did not start.")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("shared", "killed"))
    parser.add_argument("--seconds", type=float, default=0.25, help="that one call of the work sleeps")
    parser.add_argument("--budget", type=float, default=480.0, help="of a class, in seconds")
    parser.add_argument("--log", action="store_true", help="print what the calibrations say")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    good = True
    if options.only in {None, "shared"}:
        single = with_hosts(1, options.seconds, options.budget)
        several = with_hosts(HOSTS, options.seconds, options.budget)
        ratio = several["seconds"] / single["seconds"]
        complete = several["confirmed"] == several["tuned"] == len(OPERATIONS)
        figures["shared"] = {"one": single, "several": several, "ratio": ratio, "limit": LIMIT}
        good &= ratio <= LIMIT and complete
    if options.only in {None, "killed"}:
        killed = with_hosts(HOSTS, options.seconds, options.budget, kill=True)
        complete = killed["operations"] == len(OPERATIONS) and not killed["missed"] and bool(killed["killed"])
        figures["killed"] = {**killed, "complete": complete}
        good &= complete
    for run in (figures.get("shared", {}).get("one"), figures.get("shared", {}).get("several"), figures.get("killed")):
        if run is not None:
            log = run.pop("log")
            if options.log:
                print(log, file=sys.stderr)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, figure in figures.items():
            print(name, {key: value for key, value in figure.items() if not isinstance(value, dict)})
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
