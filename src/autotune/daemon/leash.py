"""Holds one child of the daemon: `python -P -m autotune.daemon.leash COMMAND [ARGUMENT]...`.

The daemon keeps the other end of this process's stdin. Once that is closed, by the daemon or by the kernel
because the daemon is gone (SIGKILL included), the command and everything it has started are killed, wherever
they are: as their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) this process inherits those whose parents have
died, so that none escapes into a session of its own. That takes milliseconds, and needs nobody to watch.

multiprocessing's resource trackers are let live a second longer: they remove the shared memory that the killed
have left, and end by themselves.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from time import monotonic, sleep

from autotune.daemon.family import descendants

TRACKER_SECONDS = 1.0
END_SECONDS = 4.0
"""How long to go on killing: forks that race with us have to lose."""

_DEATHSIG, _SUBREAPER = 1, 36
"""PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of linux/prctl.h."""


def main(command: list[str]) -> int:
    """Run the command; its exit status, 128 + N for signal N."""
    adopting = _prctl(_SUBREAPER, 1)
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    stopped: list[int] = []
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda number, _: stopped.append(number))
    child = subprocess.Popen(  # noqa: S603 - what the daemon asked for
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - one thread
    )
    status: int | None = None
    while status is None and not stopped:
        ready, _, _ = select.select([0, bell], [], [])
        if bell in ready:
            os.read(bell, 512)
        if 0 in ready and not os.read(0, 512):
            break
        status = _reaped(child.pid)
    _end(child.pid, adopting=adopting)
    return 128 + signal.SIGKILL if status is None else status if status >= 0 else 128 - status


def _die_with_parent() -> None:
    _prctl(_DEATHSIG, signal.SIGKILL)


def _reaped(pid: int) -> int | None:
    """Take in everyone who has ended; the status of this one, if it has."""
    found = None
    with suppress(ChildProcessError):
        while True:
            who, status = os.waitpid(-1, os.WNOHANG)
            if not who:
                break
            if who == pid:
                found = os.waitstatus_to_exitcode(status)
    return found


def _end(pid: int, *, adopting: bool) -> None:
    """Kill all descendants, again until there are none."""
    began = monotonic()
    while monotonic() - began < END_SECONDS:
        left = descendants(os.getpid())
        if not adopting or left is None:  # no Linux: what left the process group has its own lifeline
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            _reaped(pid)
            return
        if not left:
            return
        trackers = monotonic() - began < TRACKER_SECONDS
        for each in left:
            if not (trackers and _is_tracker(each)):
                with suppress(OSError):
                    os.kill(each, signal.SIGKILL)
        _reaped(pid)
        sleep(0.005)


def _is_tracker(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            return b"multiprocessing.resource_tracker" in file.read()
    except OSError:
        return False


def _prctl(option: int, value: int) -> bool:
    """Linux's prctl(2); False where there is none."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
