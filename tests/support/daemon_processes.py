"""A real daemon of a user that exists for one test only."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from autotune.controls.supervise import descendants
from autotune.daemon.control_socket import ask_daemon
from autotune.daemon.sensors import fingerprint
from autotune.daemon.state import DaemonState, save_state
from autotune.errors import NoDaemon
from autotune.host.identity import short_host_id
from autotune.model.catalogue import operation
from autotune.profiles import folders
from support.processes import PATIENCE
from support.spool_files import spool_text

ANY_LOAD = "idle: {start_below: 1000, start_waiting: 2, stop_above: 2000, quiet_seconds: 0.1}\n"
"""Idle whatever else runs on this machine."""
NEVER_IDLE = "idle: {quiet_seconds: 1000000}\n"
"""Nothing is measured, so that orders and demand stay what they are."""

_T = TypeVar("_T")


def daemon_host() -> str:
    """The host that the daemons of this test process say to be on."""
    return f"test-{os.getpid()}"


class Daemon:
    """`autotune daemon` of a user that exists for one test only."""

    def __init__(self, folder: Path, configuration: str = ANY_LOAD) -> None:
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
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> "subprocess.Popen[bytes]":
        """The process of a daemon that was started."""
        assert self.process is not None
        return self.process

    def start(self) -> Self:
        if not self.state.exists():
            self.trust_what_is_shipped()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *self.words], env=self.environ, stderr=log, stdout=log)
        self.until(lambda: self.ask("status"))
        return self

    def trust_what_is_shipped(self) -> None:
        """A profile that comes with autotune may speak for this machine: its trial is no part of any test."""
        shipped = [path for layer, path in folders.places() if layer is folders.Layer.SHIPPED]
        trusted = {str(path): fingerprint(path) for place in shipped for path in Path(place).glob("*.yaml")}
        self.state.mkdir(parents=True)
        save_state(self.state / "state.json", DaemonState(trusted=trusted))

    def until(self, condition: Callable[[], _T]) -> _T:
        """Wait for a condition, and return its first true value."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(NoDaemon):
                result = condition()
                if result:
                    return result
            time.sleep(0.05)
        raise AssertionError(self.log)

    def ask(self, verb: str, **words: Any) -> dict[str, Any]:
        return ask_daemon([self.socket], verb, **words)

    def until_measuring(self) -> None:
        """Wait until a trial runs. SIGHUP has an idle daemon look at once instead of every ten seconds."""
        looked = 0.0

        def measuring() -> bool:
            nonlocal looked
            running = self.ask("status")["running"]
            if running is None and time.monotonic() - looked > 0.5:
                looked = time.monotonic()
                self.running.send_signal(signal.SIGHUP)
            return bool(running and running["measuring"])

        self.until(measuring)

    def children(self) -> list[int]:
        return descendants(self.running.pid) or []

    def in_a_trial(self) -> list[int] | None:
        """Leave the request of a program without an entry, and wait until its trials run; the daemon's whole family."""
        folder = self.spool
        folder.mkdir(exist_ok=True)
        (folder / ".1.json").write_text(spool_text({operation("qr", n=777): 1000}), "utf-8")
        (folder / ".1.json").rename(folder / "1.json")
        self.until_measuring()
        return self.until(lambda: pids if len(pids := self.children()) >= 3 else None)

    def end(self, number: int = signal.SIGKILL) -> int:
        if self.running.poll() is None:
            self.running.send_signal(number)
        return self.running.wait(PATIENCE)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")


def descendants_known() -> bool:
    """Does the kernel list children?"""
    return descendants(os.getpid()) is not None


def refused(daemon: Daemon) -> tuple[int, str]:
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
