"""threadpoolctl, imported without its side effect."""

import os
from types import ModuleType

_SIDE_EFFECT = "KMP_DUPLICATE_LIB_OK"


def threadpoolctl() -> ModuleType:
    """The module. Importing it exports KMP_DUPLICATE_LIB_OK=True, which child processes would inherit.

    The variable lets two copies of Intel's OpenMP run in one process; whether they may is the user's choice,
    so the environment is left as it was found.
    """
    before = os.environ.get(_SIDE_EFFECT)
    import threadpoolctl

    if before is None:
        os.environ.pop(_SIDE_EFFECT, None)
    return threadpoolctl  # type: ignore[no-any-return]
