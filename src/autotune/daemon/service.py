"""The daemon's process: one loop over a selector, three signals, a lock, a socket."""

import os
import re
import selectors
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from types import FrameType
from typing import Any

import autotune
from autotune.daemon import daemon_lock, daemon_settings, metrics
from autotune.daemon.child_processes import Processes
from autotune.daemon.control import Answer, Control, Peer, may_order, refusal
from autotune.daemon.controller import Keeper
from autotune.daemon.file_fingerprint import stamp
from autotune.daemon.log import Log
from autotune.daemon.notify import Notify
from autotune.daemon.paths import Places
from autotune.daemon.sensors import World
from autotune.errors import AutotuneError, EnvironmentProblem, UnsupportedPlatform, UsageError
from autotune.host.memory_limit import resident_bytes, usable_bytes
from autotune.host.trusted_files import replace_file
from autotune.model.catalogue import kind, operation
from autotune.model.operation import NAME

CHORES_SECONDS = 30.0
"""Between two times that the configuration is looked at, idle clients are sent away, metrics are written."""
FOREVER = 1e12
"""A pause without an end, as wall-clock seconds."""
LONGEST_PAUSE = 366 * 86400.0
READS, ORDERS = ("status", "explain"), ("pause", "resume", "tune", "reload")


class Service:
    """Runs until it is told to stop."""

    def __init__(self, places: Places, *, log: Log | None = None) -> None:
        """Raises EnvironmentProblem if there is another daemon, or no place for its files, and UsageError for
        a configuration that cannot be used.
        """
        if os.name != "posix":
            raise UnsupportedPlatform(
                "The daemon needs POSIX signals and sockets, which this system does not have."
            )
        self.places = places
        self.log = Log() if log is None else log
        self.notify = Notify()
        read = daemon_settings.load(places.configuration)
        self._configured = stamp(str(places.configuration))
        self._lock = daemon_lock.hold(places.lock)
        _make(places)
        launcher = Processes(places.state, os.environ)
        launcher.sweep()
        memory = usable_bytes()
        self.keeper = Keeper(
            read,
            places,
            launcher=launcher,
            senses=World(),
            log=self.log,
            memory_bytes=None if memory is None else memory // 4,
        )
        self._selector = selectors.DefaultSelector()
        self._control = Control(places.socket, self.answer, self._selector)
        self._bell, self._ring = socket.socketpair()
        self._stopping = self._must_reload = False
        self._verbs = {
            "status": self._status,
            "explain": self._explain,
            "pause": self._pause,
            "resume": self._resume,
            "tune": self._tune,
            "reload": self._reloaded,
        }
        self._chores = float("-inf")
        self._measured: tuple[Path, str] | None = None

    def run(self) -> None:
        """Until SIGTERM or SIGINT; a second one ends the process at once, and the kernel its children."""
        self._listen_to_signals()
        self.notify.ready()
        self.log.say(
            "started",
            f"Configuration {self.places.configuration}, socket {self.places.socket}.",
            pid=os.getpid(),
        )
        due = monotonic()
        try:
            while not self._stopping:
                for key, events in self._selector.select(max(0.0, due - monotonic())):
                    if key.fileobj is self._bell:
                        self._bell.recv(512)
                    else:
                        self._control.serve(key.fileobj, events)
                if self._must_reload:
                    self._must_reload = False
                    self.reload("It was ordered.")
                    due = monotonic()
                if monotonic() >= due and not self._stopping:
                    self.keeper.tick()
                    self._do_chores()
                    due = monotonic() + self.keeper.pause
        finally:
            self.close()

    def close(self) -> None:
        """Stop what runs, write down what is known, give up socket and lock."""
        self.notify.stopping()
        self.keeper.stop()
        self._control.close()
        signal.set_wakeup_fd(-1)
        for each in (self._bell, self._ring):
            each.close()
        self._selector.close()
        self.log.say("stopped", "Nothing changes for programs: what was found stays in force.")
        os.close(self._lock)

    def reload(self, why: str) -> str | None:
        """Read the configuration again. A broken one leaves the old one in force: what is wrong with it."""
        self.notify.reloading()
        try:
            self._configured = stamp(str(self.places.configuration))
            self.keeper.reload(daemon_settings.load(self.places.configuration))
        except UsageError as problem:
            self.log.say(
                "configuration", f"{problem} The former configuration stays in force.", level="error"
            )
            return f"{problem} The former configuration stays in force."
        else:
            self.log.say("configuration", f"{self.places.configuration} was read. {why}")
            return None
        finally:
            self.notify.ready()

    # --- what clients ask -------------------------------------------------------------------

    def answer(self, asked: Mapping[str, Any], who: Peer) -> Answer:
        """The answer to a request."""
        verb = asked["verb"]
        if verb not in {*READS, *ORDERS}:
            return refusal(f"There is no verb {verb[:40]!r}; there are {', '.join((*READS, *ORDERS))}.")
        if verb in ORDERS and not may_order(who, self.keeper.settings.group):
            group = self.keeper.settings.group
            who_may = "root and the daemon's own user"
            if group is not None:
                who_may = f"root, the daemon's own user and members of the group {group}"
            return refusal(f"Only {who_may} may order {verb}.", denied=True)
        try:
            return {"ok": True, **self._verbs[verb](asked)}
        except AutotuneError as problem:
            return refusal(str(problem))

    def _status(self, _: Mapping[str, Any]) -> Answer:
        return {
            "version": autotune.__version__,
            "pid": os.getpid(),
            "resident_bytes": resident_bytes(),
            "configuration": str(self.places.configuration),
            **self.keeper.status(),
        }

    def _explain(self, _: Mapping[str, Any]) -> Answer:
        return {"queue": self.keeper.queue(), "waiting": self.keeper.waiting, "why": self.keeper.window.why}

    def _pause(self, asked: Mapping[str, Any]) -> Answer:
        seconds = asked.get("seconds")
        if seconds is None:
            until = FOREVER
        elif type(seconds) in {int, float} and 0 < seconds <= LONGEST_PAUSE:
            until = time() + seconds
        else:
            raise UsageError("A pause lasts some seconds, at most a year.")
        self.keeper.pause_until(until)
        return {"paused_until": until}

    def _resume(self, _: Mapping[str, Any]) -> Answer:
        self.keeper.resume()
        return {}

    def _tune(self, asked: Mapping[str, Any]) -> Answer:
        name, dtype, sizes = asked.get("operation"), asked.get("dtype", "float64"), asked.get("sizes", {})
        if not isinstance(name, str) or not re.fullmatch(NAME, name) or not isinstance(dtype, str):
            raise UsageError("An operation is named as the catalogue does, such as svd.")
        row = kind(name)
        if not isinstance(sizes, dict) or not sizes.keys() <= {*row.size_names, "n"}:
            raise UsageError(f"The sizes of {row.name} are {', '.join(row.size_names)}, with whole numbers.")
        whole = operation(row.name, dtype=dtype, **sizes) if sizes else None
        if whole is None:
            operation(row.name, dtype=dtype, n=1)  # says what is wrong with the dtype
        self.keeper.order(row.name, dtype, {} if whole is None else whole.size)
        return {"operation": row.name}

    def _reloaded(self, _: Mapping[str, Any]) -> Answer:
        problem = self.reload("It was ordered.")
        return {} if problem is None else refusal(problem)

    # --- chores -----------------------------------------------------------------------------

    def _do_chores(self) -> None:
        status = self.keeper.status()
        self.notify.alive(status["waiting"] or status["why"])
        if monotonic() - self._chores < CHORES_SECONDS:
            return
        self._chores = monotonic()
        self._control.sweep()
        if stamp(str(self.places.configuration)) != self._configured:
            self.reload("The file has changed.")
        named = self.keeper.settings.metrics
        path = self.places.state / "metrics.prom" if named is None else Path(named)
        text = metrics.text(status, self.keeper.figures())
        if (path, text) == self._measured:
            return
        try:
            replace_file(path, text.encode())
        except OSError as problem:
            self.log.once("metrics", f"{path} cannot be written: {problem.strerror or problem}.")
        else:
            self._measured = (path, text)
            self.log.over("metrics", f"{path} can be written again.")

    def _listen_to_signals(self) -> None:
        for each in (self._bell, self._ring):
            each.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._ring.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._stopping:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._stopping = True

    def _hang_up(self, _number: int, _: FrameType | None) -> None:
        self._must_reload = True


def _make(places: Places) -> None:
    """The folders. Raises EnvironmentProblem for those that cannot be there."""
    try:
        places.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        if places.shared:
            places.spool.mkdir(parents=True, exist_ok=True)
            places.spool.chmod(0o1777)
    except OSError as problem:
        raise EnvironmentProblem(
            f"{problem.filename} cannot be made: {problem.strerror}. The daemon keeps its state there; "
            "name another folder in AUTOTUNE_STATE_DIR."
        ) from problem
    with suppress(OSError):  # read-only: found out, and said, when there is something to write
        places.profiles.mkdir(mode=0o755, parents=True, exist_ok=True)


def run(places: Places) -> None:
    """Run the daemon of these places in this process."""
    Service(places).run()
