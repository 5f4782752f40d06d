"""Lock of the host: one calibration at a time, since two would measure each other.

The kernel frees the lock when its process dies, however that happens, and says which process holds it, so that the
lock file holds no text that could be stale or forged.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from autotune.errors import EnvironmentProblem, HostBusy, NoTemporaryFolder
from autotune.host.identity import host_id

SHARED_FOLDERS = ("/run/lock", "/tmp")  # noqa: S108  # filelock follows no links and truncates nothing
"""Folders in which every user of a host may make a file; the first that exists and is writable. TMPDIR is left out: it
differs between users."""


@contextmanager
def host_lock(*, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    """Hold this host's lock within the `with`.

    Scope of effect: all users and processes of the host (of the container, where /run/lock and /tmp are its
    own). `AUTOTUNE_STATE_DIR` names another folder and `AUTOTUNE_HOST_ID` another host. Not re-entrant.
    Raises HostBusy, which names the holder, and EnvironmentProblem where no lock can be made.
    """
    path = lock_path(os.environ if environ is None else environ)
    lock = FileLock(path, timeout=0, mode=0o666)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as problem:
        raise HostBusy(holder(path)) from problem
    except (OSError, NotImplementedError) as problem:
        raise EnvironmentProblem(
            f"The lock {path}, which keeps two calibrations apart, cannot be made: {problem}. "
            "Name a folder that can be written to in AUTOTUNE_STATE_DIR."
        ) from problem
    try:
        yield
    finally:
        lock.release()


def lock_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the lock: the same for all users of a host, unless `AUTOTUNE_STATE_DIR` names a folder."""
    try:
        temporary = tempfile.gettempdir()  # what trials need, too
    except FileNotFoundError as problem:
        raise NoTemporaryFolder(problem.strerror or str(problem)) from None
    folder = environ.get("AUTOTUNE_STATE_DIR") or next(
        (shared for shared in SHARED_FOLDERS if os.access(shared, os.W_OK | os.X_OK)), temporary
    )
    return Path(folder) / f"autotune-{host_id()}.lock"


def holder(path: Path) -> str:
    """Describe the process that holds the lock: id, user, start and command, as far as the system tells."""
    import psutil  # loaded only where the lock is held

    pid = _holding_process(path)
    if pid is None:
        return f"a process that the system does not name (it holds {path})"
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        since = datetime.fromtimestamp(process.create_time()).astimezone()
        command = "".join(filter(str.isprintable, " ".join(process.cmdline())))[:200]
        return f"process {pid} of {process.username()}, running since {since:%Y-%m-%d %H:%M:%S} ({command})"
    return f"process {pid}"


def _holding_process(path: Path) -> int | None:
    """Look up the holder in /proc/locks (proc_locks(5)); None on other systems, and for one in another container."""
    with suppress(OSError):
        inode = path.stat().st_ino
        match = re.search(
            rf"FLOCK +ADVISORY +WRITE (\d+) [0-9a-f]+:[0-9a-f]+:{inode} ", Path("/proc/locks").read_text()
        )
        return int(match[1]) or None if match else None
    return None
