"""threadpoolctl, imported without its side effect, and without the linker's lock."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any

_SIDE_EFFECT = "KMP_DUPLICATE_LIB_OK"


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
                with suppress(
                    OSError, UnicodeError
                ):  # it has been closed since, or cannot be named to ctypes
                    self._make_controller_from_path(path)

    return PoolController


def mapped_libraries() -> list[str] | None:
    """Return the shared libraries mapped into this process (proc_pid_maps(5)), in order; None if nothing lists them."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 - pathlib takes 4 ms to load
            places = [line.rstrip("\n").partition("/") for line in lines]
    except OSError:
        return None
    paths = dict.fromkeys(slash + rest for _, slash, rest in places if ".so" in rest)
    return [path for path in paths if not path.endswith(" (deleted)")]
