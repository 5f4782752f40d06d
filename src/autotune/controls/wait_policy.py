"""Time that idle BLAS threads spin before they sleep.

After each call OpenBLAS's threads spin for 2^28 cycles (0.1 s), unless OPENBLAS_THREAD_TIMEOUT says another exponent
when the library is loaded, and leave other threads nothing of the CPUs meanwhile (OpenBLAS #1614, #5171).
MKL's spin for KMP_BLOCKTIME milliseconds, 200 by default.
"""

from collections.abc import Mapping

VARIABLE = "OPENBLAS_THREAD_TIMEOUT"
DEFAULT_EXPONENT = 28
SHORTEST, LONGEST = 4, 30
"""Exponents that OpenBLAS takes (openblas_env.c)."""

DEFAULT_SECONDS = 0.1
"""2^28 cycles at 2.7 GHz."""


def spin_seconds(environ: Mapping[str, str]) -> float:
    """Return for how long BLAS threads spin after a call, by the environment that the library was loaded in. Pure."""
    exponent = exponent_of(environ)
    return DEFAULT_SECONDS * 2.0 ** ((DEFAULT_EXPONENT if exponent is None else exponent) - DEFAULT_EXPONENT)


def exponent_of(environ: Mapping[str, str]) -> int | None:
    """Return the exponent that the user, or autotune, has set; None if there is none that OpenBLAS takes. Pure."""
    value = environ.get(VARIABLE, "")
    exponent = int(value) if value.isascii() and value.isdigit() and len(value) < 4 else 0
    return min(exponent, LONGEST) if exponent >= SHORTEST else None
