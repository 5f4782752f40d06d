"""Child processes that end with their parent, and take with them all that they started.

A supervisor process stands between the parent and the command. It holds the read end of a pipe whose write end only
the parent has. When that end is closed, by the parent or by the kernel because the parent is gone (SIGKILL included),
the supervisor kills the command and all of its descendants. As their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) it
inherits descendants whose own parents have died, so that a session or process group of its own lets none escape.
Should the supervisor itself be killed, the kernel kills the command (PR_SET_PDEATHSIG). Where the system has no
subreaper, the command's process group is killed.

This file runs as a script, too: `python -I -S supervise.py LIFELINE REPORT GRACE COMMAND [ARGUMENT]...`. It loads the
standard library's fastest modules only, so that a supervisor starts within 10 ms.
"""

import errno
import os
import select
import signal
import sys
from contextlib import suppress
from time import monotonic, perf_counter, sleep

TYPE_CHECKING = False  # typing costs a supervisor more than all the rest
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO, Self

TRACKER_SECONDS = 1.0
"""Seconds that multiprocessing's resource trackers may outlive a kill: they remove the shared memory of the dead."""
KILL_SECONDS = 5.0
"""Seconds for which kills are repeated, so that a process that forks faster than it is killed ends, too."""
POLL_SECONDS = 0.005
"""Seconds between looks at a child if the system has no pidfd_open(2)."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Of linux/prctl.h."""


def descendants(pid: int) -> list[int] | None:
    """List all descendants of a process; None where the kernel does not list children, or the process is gone.

    Source: proc(5), /proc/PID/task/TID/children.
    """
    pids: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = _children(parent)
        if children is None and parent == pid:
            return None
        pids += children or []
        waiting += children or []
    return pids


def _children(pid: int) -> list[int] | None:
    children: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - pathlib would double the start-up time
    except OSError:
        return None
    listed = False
    for thread in threads:
        with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
            children += map(int, file.read().split())
            listed = True
    return children if listed else None


def adopt_orphans() -> bool:
    """Make this process the subreaper of its descendants; False where the system has none.

    Signals of ended children get their default again: an ancestor that ignores them hands that down, and then the
    kernel keeps no child's status (wait(2)).
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end it now if `parent` is its parent no more.

    Scope of effect: this process, not its children. Without effect where the system has no such signal.
    """
    if _prctl(PR_SET_PDEATHSIG, signal.SIGKILL) and os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def end_descendants(child: int, *, adopting: bool, grace: float = 0.0) -> None:
    """End all descendants of this process, of which `child` leads a process group, and reap them.

    With `grace` they get SIGTERM and are given these seconds first. The process that adopts their orphans has to call
    this.
    """
    if grace and signal_group(child, signal.SIGTERM):
        until = monotonic() + grace
        while monotonic() < until and (_reap() or descendants(os.getpid())):
            sleep(0.01)
    began = monotonic()
    while monotonic() - began < KILL_SECONDS:
        _reap()
        alive = descendants(os.getpid())
        if not adopting or alive is None:
            signal_group(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
            return
        if not alive:
            return
        trackers = monotonic() - began < TRACKER_SECONDS
        for pid in alive:
            if not (trackers and _is_resource_tracker(pid)):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        sleep(0.002)


def signal_group(leader: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal to a process group; False if it is not there."""
    try:
        os.killpg(leader, number)
    except OSError:
        return False
    return True


def _reap() -> bool:
    """Reap all children that have ended; False if there are no children at all."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


def _is_resource_tracker(pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
        return b"multiprocessing.resource_tracker" in file.read()
    return False


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class ChildWatch:
    """Waits for the end of a child, or until a file descriptor can be read, whichever comes first."""

    def __init__(self, pid: int, *descriptors: int) -> None:
        self._pid = pid
        self._poll = select.poll()
        for descriptor in descriptors:
            self._poll.register(descriptor, select.POLLIN)
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # Linux before 5.3, or a sandbox
                self._pidfd = os.pidfd_open(pid)
                self._poll.register(self._pidfd, select.POLLIN)

    def wait(self) -> bool:
        """Wait. True: the child has ended, and is not reaped yet; False: a descriptor can be read."""
        pause = None if self._pidfd is not None else 1000 * POLL_SECONDS
        while True:
            ready = {number for number, _ in self._poll.poll(pause)}
            if self._pidfd in ready or (self._pidfd is None and self._has_ended()):
                return True
            if ready:
                return False

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


class Ending:
    """The end of a supervised command."""

    __slots__ = ("cpu_seconds", "seconds", "status")

    def __init__(self, status: int, seconds: float | None, cpu_seconds: float | None = None) -> None:
        self.status = status
        """Exit status; minus the signal for a command that was killed."""
        self.seconds = seconds
        """From its start to its end; None if its supervisor was killed."""
        self.cpu_seconds = cpu_seconds
        """CPU time of the command and of the children that it waited for (getrusage(2))."""


class Supervised:
    """A command under a supervisor. Use it in `with`: on leaving, it and all that it started are gone.

    Scope of effect: the command leads a session of its own, so that a terminal's Ctrl-C reaches the parent only. Not
    for use by several threads at once. `stdin`, `stdout`, `stderr`, `env` and `cwd` are as in `subprocess.Popen`; a
    pipe's other end is an attribute of this name. The command inherits the file descriptors `pass_fds`. When it is
    ended early it gets SIGTERM, and `grace` seconds later SIGKILL; 0 sends no SIGTERM. Raises OSError if the supervisor
    or the command cannot be started.
    """

    def __init__(
        self,
        command: "Sequence[str]",
        *,
        stdin: "int | IO[bytes] | None" = None,
        stdout: "int | IO[bytes] | None" = None,
        stderr: "int | IO[bytes] | None" = None,
        env: "Mapping[str, str] | None" = None,
        cwd: str | None = None,
        pass_fds: "Sequence[int]" = (),
        grace: float = 0.0,
    ) -> None:
        import subprocess

        lifeline, self._lifeline = _pipe()
        self.report, report = _pipe()
        """Can be read once the command has ended."""
        self._grace = grace
        self._ending: Ending | None = None
        self._open = True
        inherited = ",".join(map(str, pass_fds)) or "-"
        words = (str(lifeline), str(report), str(grace), inherited)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the caller's command
                [sys.executable, "-I", "-S", __file__, *words, *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=env,
                cwd=cwd,
                pass_fds=(lifeline, report, *pass_fds),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            os.close(self.report)
            raise
        finally:
            os.close(lifeline)
            os.close(report)
        self.stdin, self.stdout, self.stderr = (self._process.stdin, self._process.stdout, self._process.stderr)
        try:
            word, number = self._line().split()
        except BaseException:
            self.end()
            raise
        if word != "started":
            self.end()
            code = int(number) if word == "failed" else errno.ECHILD  # the supervisor itself was killed
            raise OSError(code, os.strerror(code))
        self.pid = int(number)
        """Process id of the command."""

    def _line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            part = os.read(self.report, 1)
            if not part:
                return f"ended {-signal.SIGKILL}"
            text += part
        return text.decode()

    def poll(self) -> Ending | None:
        return self.wait(0)

    def wait(self, seconds: float | None = None) -> Ending | None:
        """Wait for the command's end, at most `seconds`; None if it still runs."""
        watch = select.poll()  # select(2) takes descriptors below 1024 only
        watch.register(self.report, select.POLLIN)
        if self._ending is None and watch.poll(None if seconds is None else 1000 * seconds):
            _, status, *took = self._line().split()
            self._ending = Ending(int(status), *map(float, took)) if took else Ending(int(status), None)
        return self._ending

    def descendants(self) -> list[int]:
        """List the command and all that it started, as far as the system lists children."""
        return descendants(self._process.pid) or []

    def end(self) -> None:
        """End the command and all that it started; returns when they are gone."""
        import subprocess

        if not self._open:
            return
        self._open = False
        os.close(self._lifeline)
        try:
            self._process.wait(self._grace + KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self.poll() is None:
            self._ending = Ending(-signal.SIGKILL, None)
        if self._process.returncode < 0 and hasattr(self, "pid"):
            signal_group(self.pid, signal.SIGKILL)  # no other process ends what a killed supervisor leaves
        os.close(self.report)
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _pipe() -> list[int]:
    """Make a pipe whose ends are no standard streams, though the program has closed its own."""
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    ends = os.pipe()
    try:
        return [fcntl(end, F_DUPFD_CLOEXEC, 3) for end in ends]
    finally:
        for end in ends:
            os.close(end)


def main(arguments: list[str]) -> int:
    """Run a command until it ends or the lifeline does."""
    while (standard := os.open(os.devnull, os.O_RDWR)) < 3:  # closed by the program: no pipe may take its place
        os.set_inheritable(standard, True)
    os.close(standard)
    (lifeline, report), grace = map(int, arguments[:2]), float(arguments[2])
    inherited = [] if arguments[3] == "-" else [int(number) for number in arguments[3].split(",")]
    command = arguments[4:]
    for descriptor in (lifeline, report):
        os.set_inheritable(descriptor, False)
    adopting = adopt_orphans()
    stopped, stop = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(stop, b"."))
    began, supervisor = perf_counter(), os.getpid()
    executed, failure = os.pipe()  # closed by a successful exec
    try:
        pid = os.fork()
    except OSError as error:  # a limit of processes
        os.write(report, f"failed {error.errno}\n".encode())
        return 0
    if not pid:
        _execute(command, supervisor, failure)
    os.close(failure)
    if problem := os.read(executed, 16):
        os.write(report, b"failed " + problem + b"\n")
        return 0
    for descriptor in (0, 1, 2, *inherited):  # the command's pipes end with the command
        with suppress(OSError):
            os.close(descriptor)
    os.write(report, f"started {pid}\n".encode())
    watch = ChildWatch(pid, lifeline, stopped)
    status = None
    if watch.wait():
        seconds = perf_counter() - began
        _, ended, used = os.wait4(pid, 0)
        status = os.waitstatus_to_exitcode(ended)
        os.write(report, f"ended {status} {seconds!r} {used.ru_utime + used.ru_stime!r}\n".encode())
    end_descendants(pid, adopting=adopting, grace=0.0 if status is not None else grace)
    return 0


def _execute(command: list[str], supervisor: int, failure: int) -> None:
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        die_with_parent(supervisor)
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as problem:
        os.write(failure, str(problem.errno).encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
