"""The libraries with threads of their own that are loaded: OpenBLAS directly, others by threadpoolctl.

The wheels of NumPy and SciPy bring OpenBLAS. Where no other BLAS is loaded, threadpoolctl, which takes 4 ms to load, is
not needed. It is imported without its side effect, and asks without the linker's lock.
"""

import ctypes
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any

_SIDE_EFFECT = "KMP_DUPLICATE_LIB_OK"

_OPENBLAS = ("libopenblas", "libscipy_openblas", "openblas")
_OTHER_BLAS = ("libmkl_rt", "libblis", "libflexiblas")
"""Beginnings of the names of libraries, as threadpoolctl knows them."""
_LAYERS = {1: "pthreads", 2: "openmp"}
"""Threading layers by the value of openblas_get_parallel."""


_DESCRIPTION = ("user_api", "internal_api", "filepath", "version", "threading_layer", "architecture", "ilp64")


class OpenBlas:
    """A loaded OpenBLAS, described by the attributes that a controller of threadpoolctl has."""

    user_api = "blas"
    internal_api = "openblas"

    def __init__(self, path: str) -> None:
        """Raises OSError if the file cannot be opened, AttributeError if it is no OpenBLAS."""
        self.filepath = path
        # the library is in the process already; RTLD_NOLOAD makes sure that asking loads nothing
        self.dynlib = ctypes.CDLL(path, mode=getattr(os, "RTLD_NOLOAD", 0))
        config = self._text("get_config") or ""
        words = config.split()
        self.version = words[1] if words[:1] == ["OpenBLAS"] and len(words) > 1 else None
        self.ilp64 = "USE64BITINT" in words if words else None
        self.architecture = self._text("get_corename")
        layer = openblas_function(self.dynlib, "get_parallel")
        self.threading_layer = "unknown" if layer is None else _LAYERS.get(layer(), "disabled")
        own = openblas_function(self.dynlib, "get_num_threads")
        if own is None:
            raise AttributeError("It has no function of OpenBLAS.")
        self.get_num_threads = self.dynlib["omp_get_max_threads"] if self.threading_layer == "openmp" else own
        """Return the number of threads of a call."""

    def info(self) -> dict[str, Any]:
        """Return the description as threadpoolctl does, and whether the library's integers are 64 bits wide."""
        return {name: getattr(self, name) for name in _DESCRIPTION} | {"num_threads": self.get_num_threads()}

    def _text(self, name: str) -> str | None:
        function = openblas_function(self.dynlib, name)
        if function is None:
            return None
        function.restype = ctypes.c_char_p
        text = function()
        return None if text is None else str(text, "utf-8", "replace")


def openblas_function(library: Any, name: str) -> Any:
    """Look up OpenBLAS's function under the prefix and suffix that this build gives it; None if it has none."""
    for before in ("scipy_", ""):
        for after in ("64_", "", "_64"):
            with suppress(AttributeError):
                # not by `library.name`, whose object threadpoolctl shares
                return library[f"{before}openblas_{name}{after}"]
    return None


def blas_controllers() -> list[Any]:
    """Return a description of each BLAS library loaded now: an OpenBlas, or a controller of threadpoolctl."""
    mapped = mapped_libraries(b"blas", b"libmkl_rt", b"libblis")
    needs_threadpoolctl = mapped is None or _files_beginning(mapped, _OTHER_BLAS)
    controllers = controller().lib_controllers if needs_threadpoolctl else ()
    others = {lib.filepath: lib for lib in controllers if lib.user_api == "blas"}
    paths = list(others) if mapped is None else _files_beginning(mapped, (*_OPENBLAS, *_OTHER_BLAS))
    described = [_library_at(path, others.get(path)) for path in paths]
    return [library for library in described if library is not None]


def _library_at(path: str, other: Any) -> Any:
    if other is None or other.internal_api == "openblas":
        with suppress(OSError, AttributeError, UnicodeError):  # closed since, or named so but another library
            return OpenBlas(path)
    return other


def _files_beginning(paths: Iterable[str], beginnings: tuple[str, ...]) -> list[str]:
    """Return the files whose name begins so."""
    return [path for path in paths if path.rpartition("/")[2].lower().startswith(beginnings)]


def threadpoolctl() -> ModuleType:
    """Return the module. Importing it exports KMP_DUPLICATE_LIB_OK=True, which child processes would inherit.

    The variable lets two copies of Intel's OpenMP run in one process; whether they may is the user's choice,
    so the environment is left as it was found.
    """
    before = os.environ.get(_SIDE_EFFECT)
    import threadpoolctl

    if before is None:
        os.environ.pop(_SIDE_EFFECT, None)
    return threadpoolctl  # type: ignore[no-any-return]


def controller() -> Any:
    """Return a ThreadpoolController of the libraries loaded now.

    Until 3.8, threadpoolctl asks the linker, which calls back into Python under a lock of its own. A thread that
    imports a compiled module at that moment holds the GIL and waits for this lock, and neither ever goes on (seen at
    once with 3.5 and 3.6, glibc 2.36). Where the kernel lists the files that are mapped, that is read instead, as
    threadpoolctl itself does from 3.8 on.
    """
    return _kind()()


@cache
def _kind() -> Callable[[], Any]:
    class PoolController(threadpoolctl().ThreadpoolController):  # type: ignore[misc] # it has no types
        def _find_libraries_with_dl_iterate_phdr(self) -> None:
            mapped = mapped_libraries()
            if mapped is None:
                super()._find_libraries_with_dl_iterate_phdr()
                return
            for path in mapped:
                # closed since, or not to be named to ctypes
                with suppress(OSError, UnicodeError):
                    self._make_controller_from_path(path)

    return PoolController


def _lines_with(text: bytes, parts: Iterable[bytes]) -> list[bytes]:
    """Return the lines that hold one of the parts, without splitting all others."""
    lines: dict[int, bytes] = {}
    for part in parts:
        place = text.find(part)
        while place >= 0:
            start, end = text.rfind(b"\n", 0, place) + 1, text.find(b"\n", place)
            lines[start] = text[start:end]
            place = text.find(part, end)
    return [lines[start] for start in sorted(lines)]


def mapped_libraries(*parts: bytes) -> list[str] | None:
    """Return the shared libraries mapped into this process, in order; None if nothing lists them (proc_pid_maps(5)).

    With parts of names, only files with one of them: the whole list takes a fifth of a millisecond.
    """
    try:
        with open("/proc/self/maps", "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes 4 ms to load
            maps = file.readall()
    except TimeoutError:  # the program's own, of a handler of signals
        raise
    except OSError:
        return None
    lines = _lines_with(maps, parts) if parts else maps.splitlines()
    paths = dict.fromkeys(line[line.find(b"/") :] for line in lines if b".so" in line)
    return [os.fsdecode(path) for path in paths if not path.endswith(b" (deleted)")]
