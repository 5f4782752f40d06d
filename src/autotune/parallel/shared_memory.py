"""Arrays that several processes see.

On Linux nothing of them has a name for longer than the microseconds between its making and its removal: shared
memory, memory-mapped files and memfds are reached by the descriptor that a child inherits or is given at its start,
and by other processes of the user through /proc/PID/fd of the process that made them. So nothing is left behind when
owner or users end, whatever ends them. Where /proc is missing, or the kernel keeps this process's entry for root
(after setuid), an array that others must reach gets a name, as it does on other systems. What remains: a SIGKILL that
hits those microseconds leaves an empty file; an owner's death ends attaching (who has attached keeps the memory).
Elsewhere the name is removed when the array is closed; the resource tracker of multiprocessing does it if the owner
is killed, unless it is killed with it. The same holds everywhere for the locks by which process_map and executors of
processes talk to children that are spawned: a few dozen bytes each, as sem.mp-* in /dev/shm.
"""

import errno
import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import prod
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from autotune.errors import SharedMemoryError, UnsupportedPlatform, UsageError
from autotune.host.kernel_files import read
from autotune.host.memory_limit import available_bytes
from autotune.model.configuration import Method
from autotune.model.record import Record
from autotune.parallel.operands import shape_of
from autotune.parallel.shared_array import SharedArray, wrap

SHARING = (Method.INHERIT, Method.RAW_ARRAY, Method.ARRAY, Method.SHARED_MEMORY, Method.MEMMAP, Method.MEMFD)
"""Methods that share pages. The others copy, and only process_map can use them."""
SHM = "/dev/shm"  # noqa: S108 - where Linux keeps POSIX shared memory; names in it are random and exclusive

Release = Callable[[], object]


class Place(Protocol):
    """The place where another process finds the memory; pickles."""

    def open(self, size: int) -> Any:
        """Return the memory as a buffer."""


class Handle(Record):
    """Handle by which another process opens a shared array; pickles."""

    method: Method
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    place: Place


def shared(
    shape: int | tuple[int, ...], dtype: DTypeLike = np.float64, *, method: Method, for_strangers: bool = True
) -> SharedArray:
    """Make an array of zeros that other processes can open by its handle; a context manager that closes it.

    Without `for_strangers` only children are sure to reach it, to which its descriptor is handed. Raises UsageError
    for a method that copies or a dtype with objects, UnsupportedPlatform for one that this system does not have, and
    SharedMemoryError if there is too little room, before anything is written.
    """
    if method not in SHARING:
        raise UsageError(f"The method {method} copies; to share an array take one of {', '.join(SHARING)}.")
    kind = np.empty(0, dtype).dtype  # that of text without a length has one character, as in np.zeros
    if kind.hasobject:
        raise UsageError(f"An array of {kind} cannot be shared: its elements point into one process's memory.")
    sizes = shape_of(shape)
    if any(length < 0 for length in sizes):
        raise UsageError(f"A shape has no negative lengths: {sizes}.")
    size = max(1, prod(sizes) * kind.itemsize)
    try:
        check_memory(size, method)
        memory, place, release = _make(method, size, for_strangers=for_strangers)
    except TimeoutError:  # the program's own, of a handler of signals
        raise
    except (OSError, OverflowError) as error:
        raise SharedMemoryError(f"{size} bytes cannot be shared by {method}: {error}") from error
    return wrap(memory, sizes, kind, Handle(method, sizes, kind, place), release)


def _make(method: Method, size: int, *, for_strangers: bool) -> tuple[Any, Place, Release]:
    make = _MAKERS[method]
    if for_strangers and make in {_shared_memory, _memmap, _memfd} and not _is_reachable():
        # without /dev/shm, or an interpreter for the process that would remove the name: for children only
        with suppress(OSError):
            return create_named(size)
    return make(size)


def attach(handle: Handle) -> SharedArray:
    """Open the array behind a handle in this process; its memory is given back when it is closed or forgotten.

    Raises SharedMemoryError if the array is closed, its owner has ended, or the method works only in children.
    """
    if not isinstance(handle, Handle):
        raise UsageError(
            f"attach takes the handle of a shared array, not {type(handle).__name__}; a slice has none, nor has an "
            "array that is closed."
        )
    memory = handle.place.open(max(1, prod(handle.shape) * handle.dtype.itemsize))
    return wrap(memory, handle.shape, handle.dtype, handle, None)


class Inherited(Record):
    """Anonymous memory that children get by fork, known by a token in their copy of this module."""

    token: str

    def open(self, size: int) -> Any:
        del size
        try:
            return _inherited[self.token]
        except KeyError:
            raise SharedMemoryError(
                "This array is closed, or this process was not forked from its owner after it was made; the "
                "methods inherit, raw_array and array reach no other processes."
            ) from None


class HeapObject(Record):
    """An array of multiprocessing: itself on its way into a process that is being started, else its token."""

    token: str
    memory: Any

    def open(self, size: int) -> Any:
        return Inherited(self.token).open(size)

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.context import get_spawning_popen

        if get_spawning_popen() is None:
            return Inherited, (self.token,)
        return _arrive, (self.token, self.memory)


def _arrive(token: str, memory: Any) -> Inherited:
    _inherited[token] = memory
    return Inherited(token)


class Descriptor(Record):
    """A file without a name, open in its owner. The inode tells it from a later file with the same number."""

    process: int
    number: int
    inode: tuple[int, int]

    def open(self, size: int) -> Any:
        for number in (_passed.get(self.inode, self.number), self.number):
            with suppress(OSError):
                if _inode(number) == self.inode:  # inherited by fork, handed over, or our own
                    return mmap.mmap(number, size)
        try:
            number = os.open(f"/proc/{self.process}/fd/{self.number}", os.O_RDWR | os.O_CLOEXEC)
        except PermissionError as error:
            raise SharedMemoryError(
                f"The kernel does not let this process open memory of process {self.process}: {error}. They belong to "
                "different users, or one of them has changed its user (setuid). Pass the handle when the process is "
                "started, or make the array after that change."
            ) from error
        except OSError as error:
            raise SharedMemoryError(f"The shared array of process {self.process} is gone: {error}") from error
        try:
            if _inode(number) != self.inode:
                raise SharedMemoryError(f"The shared array of process {self.process} is closed.")
            return mmap.mmap(number, size)
        finally:
            os.close(number)

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.context import get_spawning_popen

        fields = self.process, self.number, self.inode
        if get_spawning_popen() is None or sys.platform == "win32":
            return Descriptor, fields
        from multiprocessing.reduction import DupFd

        try:
            return _receive_descriptor, (*fields, DupFd(self.number))
        except OSError:  # it is not open here: a handle that this process was given itself
            return Descriptor, fields


def _receive_descriptor(process: int, number: int, inode: tuple[int, int], duplicate: Any) -> Descriptor:
    _passed[inode] = duplicate.detach()
    return Descriptor(process, number, inode)


_passed: dict[tuple[int, int], int] = {}
"""Descriptors that the owner handed to this process, by inode."""


def send_handle(handle: Handle, connection: Connection) -> None:
    """Send a handle to a child that runs already, with the descriptor that it needs."""
    connection.send(handle)
    if isinstance(handle.place, Descriptor):
        from multiprocessing.reduction import send_handle

        send_handle(connection, handle.place.number, 0)  # the process is of interest to Windows only


def receive_handle(connection: Connection) -> Handle:
    handle: Handle = connection.recv()
    if isinstance(handle.place, Descriptor):
        from multiprocessing.reduction import recv_handle

        _passed[handle.place.inode] = recv_handle(connection)
    return handle


class Named(Record):
    """POSIX shared memory with a name, or a tagged mapping on Windows."""

    name: str

    def open(self, size: int) -> Any:
        if sys.platform == "win32":
            return mmap.mmap(-1, size, tagname=self.name)
        import _posixshmem  # type: ignore[import-not-found] # SharedMemory(name) would have the tracker destroy it when this process ends

        try:
            number = _posixshmem.shm_open(self.name, os.O_RDWR, mode=0o600)
        except OSError as error:
            raise SharedMemoryError(f"The shared array {self.name} is gone: {error}") from error
        return _map_and_close(number, size)


class File(Record):
    """A file with a name."""

    path: str

    def open(self, size: int) -> Any:
        try:
            return _map_and_close(os.open(self.path, os.O_RDWR), size)
        except OSError as error:
            raise SharedMemoryError(f"The shared array {self.path} is gone: {error}") from error


_inherited: dict[str, Any] = {}


def _inherit(size: int) -> tuple[Any, Place, Release]:
    if not hasattr(os, "fork"):
        raise UnsupportedPlatform("The method inherit needs fork, which this system does not have.")
    memory, token = mmap.mmap(-1, size), secrets.token_hex(8)
    _inherited[token] = memory
    return memory, Inherited(token), partial(_inherited.pop, token, None)


def _heap_array(size: int) -> tuple[Any, Place, Release]:
    from multiprocessing.sharedctypes import Array

    # without its lock, as RawArray is: a process that attaches could not take it, it has a name in /dev/shm where
    # processes are spawned, and making it would fix the program's start method
    memory, token = Array("b", size, lock=False), secrets.token_hex(8)
    _inherited[token] = memory
    return memory, HeapObject(token, memory), partial(_inherited.pop, token, None)


def _shared_memory(size: int) -> tuple[Any, Place, Release]:
    if not sys.platform.startswith("linux"):
        return create_named(size)
    check_room(SHM, size)
    return _share_nameless(f"{SHM}/autotune-{secrets.token_hex(8)}", size)


def _memmap(size: int) -> tuple[Any, Place, Release]:
    folder = tempfile.gettempdir()
    check_room(folder, size)
    path = os.path.join(folder, f"autotune-{secrets.token_hex(8)}")  # noqa: PTH118 - pathlib costs 5 ms here
    if sys.platform.startswith("linux"):
        return _share_nameless(path, size)
    number, remove = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), partial(os.unlink, path)
    return _map_named(number, size, remove), File(path), _by_owner(remove)


def _memfd(size: int) -> tuple[Any, Place, Release]:
    if not hasattr(os, "memfd_create"):
        raise UnsupportedPlatform("The method memfd needs memfd_create, which only Linux has.")
    return _share_descriptor(os.memfd_create("autotune", os.MFD_CLOEXEC), size, os.ftruncate)


def create_named(size: int) -> tuple[Any, Place, Release]:
    """Make shared memory with a name of at most 31 bytes, slash included, which is what macOS allows."""
    name = f"/autotune-{secrets.token_hex(8)}"
    if sys.platform == "win32":
        return mmap.mmap(-1, size, tagname=name), Named(name), lambda: None
    import _posixshmem
    from multiprocessing import resource_tracker

    number = _posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600)
    with suppress(OSError):  # after setuid() the interpreter may be unreadable, and the tracker cannot start
        resource_tracker.register(name, "shared_memory")

    def remove() -> None:
        _posixshmem.shm_unlink(name)
        with suppress(OSError):
            resource_tracker.unregister(name, "shared_memory")

    return _map_named(number, size, remove), Named(name), _by_owner(remove)


def _is_reachable() -> bool:
    """May other processes of this user open this one's descriptors through /proc?

    The kernel gives the entry of a process that has changed its user to root.
    """
    try:
        return os.stat("/proc/self/fd").st_uid == os.geteuid()  # noqa: PTH116 - pathlib costs 5 ms here
    except OSError:
        return not sys.platform.startswith("linux")


def check_memory(size: int, method: Method) -> None:
    """Raise SharedMemoryError if this process can get less memory: pages count when they are written, in the middle
    of the program, and then the kernel kills it.
    """
    free = available_bytes()
    if free is not None and size > free and (method is not Method.MEMMAP or _is_in_memory(tempfile.gettempdir())):
        raise SharedMemoryError(
            f"This process can get {free} bytes of memory more, by the machine and its control group, and the array "
            f"needs {size}."
        )


def _is_in_memory(folder: str) -> bool:
    """Does the folder's file system keep its files in memory?"""
    device = os.stat(folder).st_dev  # noqa: PTH116 - pathlib costs 5 ms here
    number = f"{os.major(device)}:{os.minor(device)}"
    lines = (line.split() for line in (read("/proc/self/mountinfo") or "").splitlines())
    return any(
        fields[2] == number and fields[fields.index("-") + 1] in {"tmpfs", "ramfs"} for fields in lines if "-" in fields
    )


def check_room(folder: str, size: int) -> None:
    """Raise SharedMemoryError if the folder's file system has less room; writing would end in a bus error."""
    if not hasattr(os, "statvfs"):
        return
    try:
        status = os.statvfs(folder)
    except OSError as error:
        raise SharedMemoryError(f"{folder} cannot hold a shared array: {error}") from error
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise SharedMemoryError(
            f"{folder} has {free} bytes free, and the array needs {size}. Take the method memfd, which needs "
            "no room there, or enlarge it (docker run --shm-size)."
        )


def _share_nameless(path: str, size: int) -> tuple[Any, Place, Release]:
    number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.unlink(path)  # noqa: PTH108 - pathlib costs 5 ms here
    return _share_descriptor(number, size, _reserve)


def _reserve(number: int, size: int) -> None:
    """Take the room now, on Linux. If others took it before the first write, that would end in a bus error.

    Costs no more than the first write saves by it (80 MB in /dev/shm: 8 ms of 48).
    """
    os.ftruncate(number, size)
    if not sys.platform.startswith("linux"):
        return
    try:
        os.posix_fallocate(number, 0, size)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:  # a file system that cannot
            raise


def _map_named(number: int, size: int, remove: Release) -> mmap.mmap:
    """Map a new file that has a name; remove it if that fails."""
    try:
        _reserve(number, size)
        return mmap.mmap(number, size)
    except BaseException:
        remove()
        raise
    finally:
        os.close(number)


def _share_descriptor(number: int, size: int, prepare: Callable[[int, int], object]) -> tuple[Any, Place, Release]:
    try:
        prepare(number, size)
        memory = mmap.mmap(number, size)
    except BaseException:
        os.close(number)
        raise
    return memory, Descriptor(os.getpid(), number, _inode(number)), partial(os.close, number)


def _inode(number: int) -> tuple[int, int]:
    status = os.fstat(number)
    return status.st_dev, status.st_ino


def _map_and_close(number: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(number, size)
    finally:
        os.close(number)


def _by_owner(remove: Release) -> Release:
    """Keep the name in a forked child, which inherits the array and its release."""
    owner = os.getpid()

    def release() -> None:
        if os.getpid() == owner:
            remove()

    return release


_MAKERS: dict[Method, Callable[[int], tuple[Any, Place, Release]]] = {
    Method.INHERIT: _inherit,
    Method.RAW_ARRAY: _heap_array,
    Method.ARRAY: _heap_array,
    Method.SHARED_MEMORY: _shared_memory,
    Method.MEMMAP: _memmap,
    Method.MEMFD: _memfd,
}
