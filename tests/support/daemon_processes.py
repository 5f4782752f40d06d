"""A real daemon of a user that exists for one test only."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from autotune.controls.supervise import descendants
from autotune.daemon.control_socket import ask_daemon
from autotune.daemon.sensors import fingerprint
from autotune.daemon.state import DaemonState, save_state
from autotune.errors import NoDaemon
from autotune.host.identity import short_host_id
from autotune.model.catalogue import operation
from autotune.profiles import folders
from support.spool_files import spool_text

ANY_LOAD = "idle: {start_below: 1000, start_waiting: 2, stop_above: 2000, quiet_seconds: 0.1}\n"
"""Idle whatever else runs on this machine."""
NEVER_IDLE = "idle: {quiet_seconds: 1000000}\n"
"""Nothing is measured, so that orders and demand stay what they are."""
PATIENCE = 300.0
"""Seconds: of a machine that is ten times slower, with others' tests running. Only what is broken waits so long."""


def daemon_host():
    """The host that the daemons of this test process say to be on."""
    return f"test-{os.getpid()}"


class Daemon:
    """`autotune daemon` of a user that exists for one test only."""

    def __init__(self, folder, configuration=ANY_LOAD):
        self.folder = folder
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("AUTOTUNE_", "XDG_"))
        } | {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "STATE", "CACHE", "DATA")}
        self.environ |= {"XDG_RUNTIME_DIR": str(folder / "run"), "HOME": str(folder)}
        # trials of other tests hold this host's lock: this one is a host of its own
        self.environ |= {"AUTOTUNE_HOST_ID": daemon_host()}
        self.file = folder / "config" / "autotune" / "daemon.yaml"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(configuration, "utf-8")
        self.socket = folder / "run" / "autotune" / "control.sock"
        self.state = folder / "state" / "autotune" / f"daemon-{short_host_id(daemon_host())}"
        self.spool = self.state.parent / f"spool-{short_host_id(daemon_host())}"
        self.words = ["-m", "autotune", "daemon"]
        self.process = None

    def start(self):
        if not self.state.exists():
            self.trust_what_is_shipped()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.words], env=self.environ, stderr=log, stdout=log
            )
        self.until(lambda: self.ask("status"))
        return self

    def trust_what_is_shipped(self):
        """A profile that comes with autotune may speak for this machine: its trial is no part of any test."""
        shipped = [path for layer, path in folders.places() if layer is folders.Layer.SHIPPED]
        known = {str(path): fingerprint(path) for place in shipped for path in Path(place).glob("*.yaml")}
        self.state.mkdir(parents=True)
        save_state(self.state / "state.json", DaemonState(trusted=known))

    def until(self, condition):
        """Wait for a condition, and return its first true value."""
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
        return ask_daemon([self.socket], verb, **words)

    def measuring(self):
        running = self.ask("status")["running"]
        return running if running and running["measuring"] else None

    def children(self):
        return descendants(self.process.pid) or []

    def in_a_trial(self):
        """Leave the request of a program without an entry, and wait until its trials run; the daemon's whole family."""
        folder = self.spool
        folder.mkdir(exist_ok=True)
        (folder / ".1.json").write_text(spool_text({operation("qr", n=777): 1000}), "utf-8")
        (folder / ".1.json").rename(folder / "1.json")
        self.process.send_signal(signal.SIGHUP)  # it looks at once
        self.until(self.measuring)
        return self.until(lambda: found if len(found := self.children()) >= 3 else None)

    def end(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def log(self):
        return (self.folder / "log").read_text("utf-8", "replace")


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


def gone(pids):
    """Have they ended? How soon is for scripts/benchmarks/run daemon to say."""
    deadline = time.monotonic() + PATIENCE
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive(pids) == []


def descendants_known():
    """Does the kernel list children?"""
    return descendants(os.getpid()) is not None


def refused(daemon):
    """Status and words of a daemon that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "daemon"],
        env=daemon.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stderr
