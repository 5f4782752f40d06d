"""The profile's wait policy for a process that has not loaded NumPy yet.

Which profile fits depends on NumPy's BLAS, whose threads read their time-out as they start: then it is too late for
what the profile says. So the last answer is kept in the cache, with everything that it depends on and that can be read
without NumPy.
"""

import os
import zlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from autotune.profiles import compiled_copy
from autotune.profiles.compiled_copy import Compiled
from autotune.profiles.folders import cache_dir
from autotune.profiles.resolve import surroundings

if TYPE_CHECKING:
    from autotune.profiles.resolve import Named

KERNEL_CHOICES = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "BLIS_ARCH_TYPE")
"""Variables by which a BLAS library runs other kernels, which a profile has to fit."""


def read_wait(named: "Named" = None, *, processes: int | None = None) -> int | None:
    """Return the exponent that the profiles for these circumstances hold; None if it is not known without NumPy."""
    copy = compiled_copy.load(_path(named))
    if copy is None or copy.made_from != _made_from(named, processes):
        return None
    return copy.wait.exponent


def keep_wait(exponent: int | None, named: "Named" = None, *, processes: int | None = None) -> None:
    """Keep an exponent for processes that begin in these circumstances later."""
    path, made_from = _path(named), _made_from(named, processes)
    copy = compiled_copy.load(path)
    if copy is None or (copy.made_from, copy.wait.exponent) != (made_from, exponent):
        wait = compiled_copy.Wait(exponent, {})
        compiled_copy.save(path, Compiled(made_from, (None, ""), wait, b""))


def _path(named: "Named") -> str:
    who = repr(named if named is None else os.fspath(named)).encode()
    return f"{cache_dir()}/wait-{zlib.crc32(who):08x}.json"


def _made_from(named: "Named", processes: int | None) -> list[Any]:
    spec = find_spec("numpy")
    installed = os.stat(spec.origin) if spec and spec.origin else None  # noqa: PTH116 - pathlib takes 4 ms to load
    numpy = installed and [installed.st_ino, installed.st_ctime_ns]
    return [surroundings(named, processes), numpy, [os.environ.get(name) for name in KERNEL_CHOICES]]
