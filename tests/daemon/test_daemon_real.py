"""A real daemon with real children: signals, kills, sockets. Few, and tolerant of a slow machine."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from autotune.daemon.client import NoDaemon, ask
from autotune.daemon.family import descendants
from autotune.daemon.jobs import Processes
from autotune.daemon.memory import load
from autotune.daemon.settings import Interpreter

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(descendants(os.getpid()) is None, reason="the kernel does not list children here"),
]

ANY_LOAD = "idle: {start_below: 1000, start_waiting: 2, stop_above: 2000, quiet_seconds: 0.1}\n"
"""Idle whatever else runs on this machine."""
PATIENCE = 60.0


class Daemon:
    """`autotune daemon` of a user that exists for one test only."""

    def __init__(self, folder, configuration=ANY_LOAD):
        self.folder = folder
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("AUTOTUNE_", "XDG_"))
        } | {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "STATE", "CACHE", "DATA")}
        self.environ |= {"XDG_RUNTIME_DIR": str(folder / "run"), "HOME": str(folder)}
        # trials of other tests hold this host's lock: this one is a host of its own
        self.environ |= {"AUTOTUNE_HOST_ID": f"test-{os.getpid()}"}
        self.file = folder / "config" / "autotune" / "daemon.yaml"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(configuration, "utf-8")
        self.socket = folder / "run" / "autotune" / "control.sock"
        self.state = folder / "state" / "autotune" / "daemon"
        self.process = None

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autotune", "daemon"], env=self.environ, stderr=log, stdout=log
            )
        self.until(lambda: self.ask("status"))
        return self

    def until(self, condition):
        """What the condition gives once it gives something."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                found = condition()
            except NoDaemon:
                found = None
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(self.log)

    def ask(self, verb, **words):
        return ask([self.socket], verb, **words)

    def measuring(self):
        running = self.ask("status")["running"]
        return running if running and running["measuring"] else None

    def children(self):
        return descendants(self.process.pid) or []

    def in_a_trial(self):
        """Wait until trial processes run; the daemon's whole family."""
        self.until(self.measuring)
        return self.until(lambda: found if len(found := self.children()) >= 3 else None)

    def end(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def log(self):
        return (self.folder / "log").read_text("utf-8", "replace")


@pytest.fixture
def daemon(tmp_path):
    found = Daemon(tmp_path)
    yield found
    found.end()


def alive(pids):
    """Those that still run; what merely waits to be reaped does not."""
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123
                found += [pid] if file.read().rpartition(")")[2].split()[0] not in {"Z", "X"} else []
        except OSError:
            continue
    return found


def gone(pids, seconds):
    deadline = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive(pids) == []


def test_sigterm_in_the_middle_of_a_trial_ends_everything_within_five_seconds(daemon):
    family = daemon.start().in_a_trial()
    began = time.monotonic()
    assert daemon.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5.0
    assert gone(family, 0.1)
    assert not daemon.socket.exists()
    assert load(daemon.state / "state.json")[0].interrupted is not None


def test_sigkill_leaves_no_child_and_the_next_daemon_goes_on(daemon):
    family = daemon.start().in_a_trial()
    daemon.end(signal.SIGKILL)
    assert gone(family, 5.0)
    daemon.start()
    daemon.until(daemon.measuring)
    assert '"cause": "resume"' in daemon.log


def test_a_second_daemon_is_refused_with_exit_code_three(daemon):
    daemon.start()
    second = subprocess.run(
        [sys.executable, "-m", "autotune", "daemon"],
        env=daemon.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (second.returncode, "Another daemon holds" in second.stderr) == (3, True)


def test_sighup_reads_a_new_configuration_and_a_broken_one_leaves_the_old(daemon):
    daemon.start()
    daemon.file.write_text(ANY_LOAD + "daily_cpu_seconds: 77\n", "utf-8")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: daemon.ask("status")["daily_cpu_seconds"] == 77.0)
    daemon.file.write_text("daily_cpu_seconds: many\n", "utf-8")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: "The former configuration stays in force." in daemon.log)
    assert daemon.ask("status")["daily_cpu_seconds"] == 77.0


def test_the_process_is_small_and_holds_neither_numpy_nor_optuna(daemon):
    daemon.start().until(daemon.measuring)
    maps = (daemon.folder / f"/proc/{daemon.process.pid}/maps").read_text("utf-8")
    assert "numpy" not in maps
    assert "openblas" not in maps
    assert daemon.ask("status")["resident_bytes"] <= 40 * 10**6


def test_what_the_command_line_shows_is_what_the_daemon_says(daemon):
    daemon.start()
    words = [sys.executable, "-m", "autotune", "daemon"]

    def said(*verb):
        done = subprocess.run(
            [*words, *verb], env=daemon.environ, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return done.returncode, done.stdout, done.stderr

    assert json.loads(said("status", "--json")[1])["pid"] == daemon.process.pid
    assert f"runs as process {daemon.process.pid}" in said("status")[1]
    assert said("pause", "--for", "2h") == (0, "", "Nothing is measured for 2h.\n")
    assert daemon.ask("status")["paused_until"] > time.time() + 7000
    assert said("tune", "svd", "n=200")[0] == 0
    assert daemon.ask("status")["orders"] == 1
    assert "1. svd float64 m=200 n=200 [order] It was ordered." in said("explain")[1]
    assert said("resume")[0] == 0
    assert said("tune", "no-such-thing")[0] == 2
    assert said("reload")[0] == 0


def test_a_child_and_all_that_it_started_end_with_the_leash(tmp_path):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); time.sleep(600)"
    (tmp_path / "endless.py").write_text(code, "utf-8")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    child = Processes(tmp_path, environ).start(Interpreter(), "endless", (), {})
    deadline = time.monotonic() + PATIENCE
    while len(family := descendants(os.getpid()) or []) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(family) >= 3
    child.kill()
    assert gone(family, 1.0)
    assert list(tmp_path.glob("job-*")) == []


def test_an_interpreter_that_is_not_there_is_an_answer_and_no_crash(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Processes(tmp_path, os.environ).start(Interpreter(python="/no/python"), "autotune", (), {})
    assert list(tmp_path.glob("job-*")) == []
