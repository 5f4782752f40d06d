# ruff: noqa: PTH101, PTH105, PTH108, PTH114, PTH116, PTH118, PTH119, PTH120, PTH123 - pathlib takes 4 ms to load
"""Reading of files that other users could have written, and writing that no reader or power cut meets half-way.

`read_file` checks the file that it has opened, so that it cannot be exchanged in between: its kind, its size, its
owner, who else may write to it, and, where the rule asks for that, the same of its folder. Three cases need more than
the owner and the mode:

- In a user namespace (rootless containers) the files of root and of every user who is not mapped show the overflow
  uid. Such a file counts as root's if this process can write neither to it nor to its folder, and no one may
  according to the mode.
- On a file system that is mounted read-only here (ConfigMaps, images) the mode says nothing: no one can write.
- A file of a group without other members (a user's private group, or a group of a Kubernetes volume that has no
  account) is written by its owner and by this process only.
"""

import errno
import os
import stat
from contextlib import suppress
from typing import NoReturn

from autotune.model.record import Record

_OVERFLOW_UID = "/proc/sys/kernel/overflowuid"
_UID_MAP = "/proc/self/uid_map"


class FileRule(Record):
    """Requirements of a file. Owners are checked on POSIX systems only."""

    max_bytes: int
    any_owner: bool = False
    """Accept any owner and mode, as for display; otherwise the file must belong to root or this user."""
    owners: frozenset[int] = frozenset()
    """Further user ids that are accepted."""
    group_may_write: bool = False
    check_folder: bool = False
    """Check the mode of the folder, too: who can write there can exchange the file."""
    check_folder_owner: bool = False
    """Check the owner of the folder, too. Without this an exchanged file must still have an accepted owner."""
    follow_links: bool = False
    """Follow a symbolic link; with `check_folder` both its folder and that of its target are checked."""
    secret: bool = False
    """Refuse a file that other users can read."""
    single_name: bool = False
    """Refuse a file that has another hard link."""


class FileContent(Record):
    """The bytes of a file and its only possible writer."""

    data: bytes
    owner: int | None = None
    """Numeric user id; None where files have no owner, or where other users may write too."""


def read_file(path: str | os.PathLike[str], rule: FileRule) -> FileContent:
    """Read a file that meets the rule.

    Never waits for a pipe. Raises UntrustedFile with a sentence if the file does not meet the rule, and OSError if it
    cannot be read.
    """
    path = os.fspath(path)
    checks_owner = os.name == "posix" and not rule.any_owner
    if os.path.islink(path):
        if not rule.follow_links:
            _refuse("it is a symbolic link; only the file itself is read.", path)
        if checks_owner and rule.check_folder:
            _check_folder(path, rule)
        path = os.path.realpath(path)
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags)
    try:
        status = os.fstat(handle)
        _check_file(status, path, rule)
        if checks_owner and rule.check_folder:
            _check_folder(path, rule)
        with open(handle, "rb", closefd=False) as file:
            data = file.read(rule.max_bytes + 1)
    finally:
        os.close(handle)
    if len(data) > rule.max_bytes:  # it has grown since
        _refuse(f"it is larger than {_size_text(rule.max_bytes)}.", path)
    single_writer = os.name == "posix" and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return FileContent(data, status.st_uid if single_writer else None)


def is_private(status: os.stat_result) -> bool:
    """Return whether a file or folder belongs to this user and no one else can write to it."""
    if os.name != "posix":
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def replace_file(path: str | os.PathLike[str], data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new.

    With `durable` a power cut loses neither. Raises OSError with the old file untouched, also for a device or a pipe.
    """
    path = os.fspath(path)
    _check_replaceable(path)
    temporary = write_temporary(os.path.dirname(path), data, mode, name=os.path.basename(path), durable=durable)
    try:
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(os.path.dirname(path))


def _check_replaceable(path: str) -> None:
    """Raise OSError for a device, pipe or socket: root could put a file in the place of /dev/null."""
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise FileExistsError(errno.EEXIST, "it is no file but a device or a pipe", path)


def write_temporary(folder: str | os.PathLike[str], data: bytes, mode: int, *, name: str, durable: bool = True) -> str:
    """Write a new hidden file, named after a file and this process, and return its path. Raises OSError."""
    from binascii import hexlify

    unique = f".{name[:64]}.{os.getpid()}-{hexlify(os.urandom(6)).decode()}.tmp"
    path = os.path.join(os.fspath(folder), unique)
    try:
        with open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
            file.write(data)
            file.flush()
            if durable:
                _sync(file.fileno())
        with suppress(PermissionError):  # a file system without modes (FAT, some shares)
            os.chmod(path, mode)  # after the umask
    except BaseException as problem:
        with suppress(OSError):
            os.unlink(path)
        if isinstance(problem, OSError) and problem.filename is None:
            problem.filename = path  # a full disk, which else could be that of any stream
        raise
    return path


def _sync(handle: int) -> None:
    """Write a file to its disk, where its file system has such an order: some in user space have none (fsync(2))."""
    try:
        os.fsync(handle)
    except OSError as problem:
        if problem.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make a rename durable, where a folder can be synced: Windows and some network file systems cannot."""
    with suppress(OSError):
        handle = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check_file(status: os.stat_result, path: str, rule: FileRule) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        _refuse(f"it is {kind}.", path)
    if rule.single_name and status.st_nlink != 1:
        _refuse("it has another name elsewhere.", path)
    if os.name == "posix" and not rule.any_owner:
        _check_owner(status, "it", path, rule)
        _check_mode(status, "it", path, rule)
    if os.name == "posix" and rule.secret and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _refuse("other users may read it; `chmod 600` keeps it secret.", path)
    if status.st_size > rule.max_bytes:
        _refuse(f"it is larger than {_size_text(rule.max_bytes)}.", path)


def _check_folder(path: str, rule: FileRule) -> None:
    """Refuse a folder whose files others could exchange. In a sticky one, such as /tmp, only an owner can."""
    folder = os.path.dirname(path) or "."
    status = os.stat(folder)
    if rule.check_folder_owner:
        _check_owner(status, "its folder", folder, rule)
    if not status.st_mode & stat.S_ISVTX:
        _check_mode(status, "its folder", folder, rule)


def _check_owner(status: os.stat_result, what: str, path: str, rule: FileRule) -> None:
    if status.st_uid in {0, os.geteuid(), *rule.owners}:
        return
    places = [path] if stat.S_ISDIR(status.st_mode) else [path, os.path.dirname(path) or "."]
    if not _is_unmapped_root(status.st_uid) or any(map(_may_write, places)):
        _refuse(f"{what} belongs to user {status.st_uid}, who is neither you nor root.", path)


def _check_mode(status: os.stat_result, what: str, path: str, rule: FileRule) -> None:
    writers = status.st_mode & (stat.S_IWOTH | (0 if rule.group_may_write else stat.S_IWGRP))
    if not writers or _is_read_only(path):
        return
    if writers & stat.S_IWOTH or not _has_no_other_members(status.st_gid):
        who = "everybody" if writers & stat.S_IWOTH else "its group"
        _refuse(f"{what} can be written by {who}; `chmod go-w` makes it trustworthy.", path)


def _refuse(reason: str, path: str) -> NoReturn:
    from autotune.errors import UntrustedFile  # a millisecond that apply() does without

    raise UntrustedFile(reason, path)


def _is_unmapped_root(uid: int) -> bool:
    """Return whether files of root show this uid, since this user namespace does not map root."""
    try:
        with open(_OVERFLOW_UID, "rb") as file:
            overflow = int(file.read())
        with open(_UID_MAP, "rb") as file:
            outside = [int(line.split()[1]) for line in file]
    except (OSError, ValueError, IndexError):
        return False
    return uid == overflow and 0 not in outside


def _may_write(path: str) -> bool:
    """Return whether this process, or someone else by the mode, may write to a file or folder."""
    if _is_read_only(path):
        return False
    effective = os.access in os.supports_effective_ids
    is_open = os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(is_open) or os.access(path, os.W_OK, effective_ids=effective)


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _has_no_other_members(gid: int) -> bool:
    """Return whether a group has no account, or is this user's private group (of the user's name)."""
    import grp
    import pwd

    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return gid in os.getgroups()
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    is_private = (group.gr_name, gid) == (user.pw_name, user.pw_gid)
    return is_private and set(group.gr_mem) <= {user.pw_name}


def _size_text(size: int) -> str:
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size} bytes"
