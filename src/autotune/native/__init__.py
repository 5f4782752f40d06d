"""The C core: a pool of threads, whole-array loops, and BLAS thread counts switched around calls.

It is optional. `core()` is the compiled module, or a sentence why this process runs without it. Nothing else of the
package imports `_core`.
"""

import atexit
import os
import sys
from functools import cache
from typing import Any

from autotune.host.numeric_libraries import python_build, series

TRIED_NUMPY = frozenset({"2.0", "2.1", "2.2", "2.3", "2.4", "2.5"})
"""Versions of NumPy whose own tests pass with everything of the core in force."""
TRIED_PYTHON = ((3, 11), (3, 14))
"""Oldest and newest CPython that the tests of the core pass with, and whose structures `definition.c` reads."""
SWITCH = "AUTOTUNE_NATIVE"
"""Environment variable: 0 turns the core off, `force` turns it on for versions that were not tried."""
_NOT_BUILT = (
    "This installation has no C core: the C compiler or the headers of Python were missing when it was built. "
    "Install both (Debian: gcc, python3-dev) and install autotune again."
)


def core() -> Any:
    """Return the compiled module (`_core.pyi`), or a sentence why it is not used. Loads NumPy, if it was not loaded."""
    switched_off = _switched_off()
    if switched_off is not None:
        return switched_off
    loaded = _load()
    if isinstance(loaded, str) or os.environ.get(SWITCH) == "force":
        return loaded
    from numpy import __version__

    return _untried_reason(__version__) or loaded


def refusal(numpy: str | None = None) -> str | None:
    """Return why core() would refuse, or None, without loading the core or NumPy, whose version is `numpy`."""
    from importlib.util import find_spec

    switched_off = _switched_off()
    if switched_off is not None:
        return switched_off
    if find_spec("autotune.native._core") is None:
        return _NOT_BUILT
    if os.environ.get(SWITCH) == "force":
        return None
    if numpy is None:  # importing importlib.metadata takes 20 ms
        from importlib.metadata import version

        numpy = version("numpy")
    return _untried_reason(numpy)


def _switched_off() -> str | None:
    """Return why the core is off even if it is installed; None if it may be on."""
    if os.environ.get(SWITCH, "") == "0":
        return f"{SWITCH}=0 turns the C core off."
    if python_build() == "free-threaded":  # to load the core would give this Python its GIL back
        return "The C core was not tried with a free-threaded Python, and is off."
    return None


def loaded_core() -> Any:
    """Return the compiled module if this process has loaded it already."""
    return sys.modules.get("autotune.native._core")


@cache
def _load() -> Any:
    import numpy as np  # noqa: F401 - the core is loaded into the NumPy that the program has

    try:
        from autotune.native import _core
    except ImportError as error:
        if (error.name or "").startswith("autotune"):
            return _NOT_BUILT
        return f"The C core cannot be loaded: {error}"
    # before the interpreter ends: threads that still run loops go on with NumPy's own
    atexit.register(_core.stop, True)
    return _core


def _untried_reason(numpy: str) -> str | None:
    """Return why this Python, or this version of NumPy, is left alone, as a sentence; None if it was tried."""
    if sys.implementation.name != "cpython":
        return f"The C core was not tried with {sys.implementation.name}; {SWITCH}=force uses it even so."
    oldest, newest = TRIED_PYTHON
    if not oldest <= sys.version_info[:2] <= newest:
        version = ".".join(map(str, sys.version_info[:2]))
        return f"The C core was not tried with Python {version}; {SWITCH}=force uses it even so."
    if series(numpy) not in TRIED_NUMPY:
        return (
            f"The C core was not tried with NumPy {numpy} (but with {min(TRIED_NUMPY)} to "
            f"{max(TRIED_NUMPY)}); {SWITCH}=force uses it even so."
        )
    return None
