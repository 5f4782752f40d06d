"""The profile's wait policy for a process that has not loaded NumPy yet.

Which profile fits depends on NumPy's BLAS, whose threads read their time-out as they start: then it is too late for
what the profile says. So the last answer is kept in the cache, with everything that it depends on and that can be read
without NumPy.
"""

import os
import zlib
from typing import TYPE_CHECKING

from autotune.profiles import compiled_copy
from autotune.profiles.compiled_copy import Compiled
from autotune.profiles.folders import cache_dir
from autotune.profiles.resolve import inputs_without_numpy

if TYPE_CHECKING:
    from autotune.profiles.resolve import Named


def read_wait(named: "Named" = None, *, processes: int | None = None) -> int | None:
    """Return the exponent that the profiles for these circumstances hold; None if it is not known without NumPy."""
    copy = compiled_copy.load(_path(named))
    if copy is None or copy.made_from != inputs_without_numpy(named, processes):
        return None
    return copy.wait.exponent


def keep_wait(exponent: int | None, named: "Named" = None, *, processes: int | None = None) -> None:
    """Keep an exponent for processes that begin in these circumstances later."""
    path, made_from = _path(named), inputs_without_numpy(named, processes)
    copy = compiled_copy.load(path)
    if copy is None or (copy.made_from, copy.wait.exponent) != (made_from, exponent):
        wait = compiled_copy.Wait(exponent, {})
        compiled_copy.save(path, Compiled(made_from, (None, ""), wait, b""))


def _path(named: "Named") -> str:
    who = repr(named if named is None else os.fspath(named)).encode()
    return f"{cache_dir()}/wait-{zlib.crc32(who):08x}.json"
