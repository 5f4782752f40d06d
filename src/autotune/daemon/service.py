"""The daemon's process: one loop over a selector, signals, a lock, a control socket.

The loop is a plain selector because asyncio would add 8 MB to the daemon's 25 MB.
"""

import os
import re
import selectors
import signal
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic, time
from types import FrameType
from typing import Annotated, Any

import autotune
from autotune.daemon.child_processes import ChildProcess, remove_leftovers
from autotune.daemon.context import DaemonLog
from autotune.daemon.control_socket import ControlSocket, SocketPeer, may_order, refusal
from autotune.daemon.controller import Controller
from autotune.daemon.daemon_settings import DaemonPaths, load_settings
from autotune.daemon.metrics import daemon_status, metrics_text
from autotune.daemon.sensors import MachineSensors, fingerprint
from autotune.daemon.systemd import notify_systemd
from autotune.errors import AutotuneError, DaemonRuns, EnvironmentProblem, UnsupportedPlatform, UsageError
from autotune.host.memory_limit import resident_bytes
from autotune.host.trusted_files import replace_file
from autotune.model.catalogue import kind, operation
from autotune.model.codec import decode
from autotune.model.constraints import NAME, Bounds
from autotune.model.operation import Operation

METRICS_SECONDS = 60.0
FOREVER = 1e12
"""Wall-clock seconds of the end of a pause without an end."""
PauseSeconds = Annotated[float, Bounds(0.0, 366 * 86400.0, above=True)] | None
READING_VERBS = ("status", "explain")
ORDERING_VERBS = ("pause", "resume", "tune", "reload", "stop")


class DaemonService:
    """Runs until it is told to stop."""

    def __init__(self, paths: DaemonPaths, *, log: DaemonLog | None = None) -> None:
        """Raises DaemonRuns, EnvironmentProblem without a place for the files, UsageError for wrong settings."""
        if os.name != "posix":
            raise UnsupportedPlatform("The daemon needs POSIX signals and sockets, which this system does not have.")
        self.paths = paths
        self._log = DaemonLog() if log is None else log
        settings = load_settings(paths.settings)
        self._settings_read = fingerprint(paths.settings)
        self._is_configured = bool(self._settings_read)
        self._lock = hold_lock(paths.lock)
        _make_folders(paths)
        remove_leftovers(paths.state)
        self.controller = Controller(
            settings,
            paths,
            start_child=partial(ChildProcess, state=paths.state),
            sensors=MachineSensors(),
            log=self._log,
        )
        self._selector = selectors.DefaultSelector()
        self._socket = ControlSocket(paths.socket, self.answer, self._selector)
        self._wakeup, self._signalled = socket.socketpair()
        self._stopping = self._must_reload = False
        self._metrics_written = float("-inf")

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or `stop`. A second signal ends the process at once, and so its children.

        Raises EnvironmentProblem once its lock was removed: its socket is gone, too, and another daemon may begin.
        """
        self._handle_signals()
        notify_systemd("READY=1")
        self._log.write("started", f"Configuration {self.paths.settings}, socket {self.paths.socket}.", pid=os.getpid())
        due = monotonic()
        try:
            while not self._stopping:
                for key, _ in self._selector.select(max(0.0, due - monotonic())):
                    if key.fileobj is self._wakeup:
                        self._wakeup.recv(512)
                    else:
                        self._socket.serve(key.fileobj)
                if self._must_reload:
                    self._must_reload = False
                    self._reload_settings("SIGHUP arrived.")
                    due = monotonic()
                if monotonic() >= due and not self._stopping:
                    if not os.fstat(self._lock).st_nlink:
                        problem = f"The daemon ends, for its lock {self.paths.lock} was removed. Start it again."
                        raise EnvironmentProblem(problem)
                    self.controller.tick()
                    self._do_chores()
                    due = monotonic() + self.controller.pause
        finally:
            self.close()

    def close(self) -> None:
        """End the running child, write the state, give up socket and lock."""
        notify_systemd("STOPPING=1")
        self.controller.stop()
        signal.set_wakeup_fd(-1)
        self._log.write("stopped", "Nothing changes for programs: profiles stay in force.")
        self._socket.close()
        for line in (self._wakeup, self._signalled):
            line.close()
        self._selector.close()
        os.close(self._lock)

    def answer(self, request: Mapping[str, Any], peer: SocketPeer) -> dict[str, Any]:
        verb, group = request["verb"], self.controller.context.settings.group
        if verb not in {*READING_VERBS, *ORDERING_VERBS}:
            verbs = ", ".join((*READING_VERBS, *ORDERING_VERBS))
            return refusal(f"There is no verb {verb[:40]!r}; there are {verbs}.")
        if verb in ORDERING_VERBS and not may_order(peer, group):
            who = "root and the daemon's own user"
            if group is not None:
                who = f"root, the daemon's own user and members of the group {group}"
            return refusal(f"Only {who} may order {verb}.")
        try:
            return {"ok": True, **self._do(verb, request)}
        except AutotuneError as error:
            return refusal(str(error))

    def _do(self, verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
        controller = self.controller
        match verb:
            case "status":
                return {
                    "version": autotune.__version__,
                    "pid": os.getpid(),
                    "resident_bytes": resident_bytes(),
                    "configuration": str(self.paths.settings) if self._is_configured else None,
                    **daemon_status(controller),
                }
            case "explain":
                why = controller.readiness.window.why
                return {"queue": controller.next_jobs(), "waiting": controller.waiting, "why": why}
            case "pause":
                seconds: float | None = decode(PauseSeconds, request.get("seconds"), "seconds")
                until = FOREVER if seconds is None else time() + seconds
                controller.pause_until(until)
                return {"paused_until": until}
            case "resume":
                controller.pause_until(None)
            case "tune":
                ordered = ordered_operation(
                    request.get("operation"), request.get("dtype", "float64"), request.get("sizes", {})
                )
                controller.order(ordered)
                return {"operation": str(ordered)}
            case "reload":
                problem = self._reload_settings("It was ordered.")
                return {} if problem is None else refusal(problem)
            case "stop":
                self._stopping = True
                return {"pid": os.getpid()}
        return {}

    def _reload_settings(self, why: str) -> str | None:
        """Read the configuration again. Return what is wrong with it; the former one then stays in force."""
        notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic() * 1e6)}")
        self._settings_read = fingerprint(self.paths.settings)
        problem = None
        try:
            self.controller.reload(load_settings(self.paths.settings))
        except UsageError as error:
            problem = f"{error} The former configuration stays in force."
            self._log.write("configuration", problem, level="error")
        else:
            self._is_configured = bool(self._settings_read)
            self._log.write("configuration", f"{self.paths.settings} was read. {why}")
        notify_systemd("READY=1")
        return problem

    def _do_chores(self) -> None:
        controller = self.controller
        notify_systemd(f"WATCHDOG=1\nSTATUS={(controller.waiting or controller.readiness.window.why)[:200]}")
        self._socket.drop_expired()
        if fingerprint(self.paths.settings) != self._settings_read:
            self._reload_settings("The file has changed.")
        if monotonic() - self._metrics_written >= METRICS_SECONDS:
            self._metrics_written = monotonic()
            self._write_metrics()

    def _write_metrics(self) -> None:
        controller, named = self.controller, self.controller.context.settings.metrics
        path = self.paths.state / "metrics.prom" if named is None else Path(named)
        text = metrics_text(controller)
        try:
            replace_file(path, text.encode(), durable=False)
        except OSError as error:
            self._log.begin("metrics", f"{path} cannot be written: {error.strerror or error}.")
        else:
            self._log.end("metrics", f"{path} can be written again.")

    def _handle_signals(self) -> None:
        for line in (self._wakeup, self._signalled):
            line.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle_stop)
        signal.signal(signal.SIGHUP, self._handle_hangup)

    def _handle_stop(self, number: int, _: FrameType | None) -> None:
        if self._stopping:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._stopping = True

    def _handle_hangup(self, _number: int, _: FrameType | None) -> None:
        self._must_reload = True


def ordered_operation(name: object, dtype: object, sizes: object) -> Operation:
    """Check an order. Without sizes it stands for all sizes of the operation's ladder. Raises UsageError."""
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or not isinstance(dtype, str):
        raise UsageError("An operation is named as in the catalogue, such as svd.")
    row = kind(name)
    if not isinstance(sizes, dict) or not sizes.keys() <= {*row.size_names, "n"}:
        raise UsageError(f"The sizes of {row.name} are {', '.join(row.size_names)}, with whole numbers.")
    complete = operation(row.name, dtype=dtype, **(sizes or {"n": 1}))
    return complete if sizes else Operation(name=row.name, dtype=dtype)


def hold_lock(path: Path) -> int:
    """Hold the daemon's lock until this process ends; return its descriptor.

    The kernel frees the lock however the process ends. The file stays: without it two daemons could lock two files of
    one name. Raises DaemonRuns, and EnvironmentProblem where no lock can be taken, as on a network file system without
    locks.
    """
    import fcntl

    with ExitStack() as on_failure:
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            on_failure.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DaemonRuns(path) from error
        except OSError as error:
            raise EnvironmentProblem(
                f"The lock {path} cannot be taken: {error.strerror or error}. Name a folder of a local file system in "
                "XDG_RUNTIME_DIR or AUTOTUNE_STATE_DIR."
            ) from error
        on_failure.pop_all()
    return handle


def _make_folders(paths: DaemonPaths) -> None:
    try:
        paths.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        if paths.shared:
            paths.spool.mkdir(parents=True, exist_ok=True)
            paths.spool.chmod(0o1777)
    except OSError as error:
        raise EnvironmentProblem(
            f"{error.filename} cannot be made: {error.strerror or error}. The daemon keeps its state there; "
            "name another folder in AUTOTUNE_STATE_DIR."
        ) from error
    with suppress(OSError):  # a read-only folder is reported once there is a profile to write
        paths.profiles.mkdir(mode=0o755, parents=True, exist_ok=True)
