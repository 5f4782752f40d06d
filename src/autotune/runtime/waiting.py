"""Wait policy of this process's BLAS threads: the profile's, as far as it can be set."""

import os
import sys
from typing import TYPE_CHECKING

from autotune.controls import thread_variables, wait_policy
from autotune.controls.import_hooks import when_imported
from autotune.native import loaded_core
from autotune.profiles.resolve import resolve_before_numpy

if TYPE_CHECKING:
    from autotune.profiles.resolve import Named, Resolution

_SCIPYS_BLAS = ("scipy.linalg._fblas", "scipy.linalg._flapack")
"""Modules with which SciPy's wheel brings a BLAS of its own."""


def import_numpy(named: "Named", processes: int | None) -> None:
    """Import NumPy, unless it has been, where only so its BLAS threads wait as the profile says."""
    if "numpy" in sys.modules or wait_policy.exponent_of(os.environ) is not None:
        return
    resolution = resolve_before_numpy(named, processes=processes)
    exponent = None if resolution is None else resolution.wait.exponent
    if exponent is not None and exponent != wait_policy.DEFAULT_EXPONENT:
        with wait_policy.process.loading(exponent):
            import numpy as np  # noqa: F401 - its library reads the variable


def wait_as_profile_says(resolution: "Resolution") -> str:
    """Have the BLAS libraries wait as the profile says. Return the outcome as a sentence; empty if there is none."""
    chosen = wait_policy.exponent_of(os.environ)
    if chosen is not None:
        who = "autotune run" if wait_policy.VARIABLE in thread_variables.exported_names(os.environ) else "The user"
        return f"{who} has idle BLAS threads sleep after 2^{chosen} cycles."
    exponent = resolution.wait.exponent
    if exponent is None:
        return ""
    if exponent == wait_policy.DEFAULT_EXPONENT:
        return "Idle BLAS threads spin as long as their library lets them: no shorter time was shown to cost nothing."
    refusal = wait_policy.process.set_late(exponent)
    if refusal is None:
        when_imported(_SCIPYS_BLAS, lambda: _set_for_scipy(exponent))
        return f"Idle BLAS threads sleep after 2^{exponent} cycles."
    return (
        f"Idle BLAS threads spin for 0.1 s, and no loop is cut meanwhile: the profile's 2^{exponent} cycles came too "
        f"late, since {refusal} Start the program with `autotune run`, or call apply() before NumPy is imported."
    )


def _set_for_scipy(exponent: int) -> None:
    """Have SciPy's library wait as NumPy's does; where it cannot, loops wait for its threads, too."""
    if wait_policy.process.set_late(exponent) is not None:
        wait_policy.process.exponent = None
        native = loaded_core()
        if native is not None:
            native.blas_spins(wait_policy.spin_seconds(None))
