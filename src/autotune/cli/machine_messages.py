"""The sentences about this machine: doctor and nproc."""

from collections.abc import Iterable

from autotune.model.allocation import LIMITED_BY, Limit
from autotune.model.units import count_of


def machine(name: str | None, *, cpus: int, limit: Limit) -> str:
    return f"{name or 'Unknown CPU'}: {count_of(cpus, 'usable CPU')}{_limited(limit)}"


def libraries(blas: str | None, *, numpy: str | None) -> str:
    return f"BLAS {blas or 'unknown'}, NumPy {numpy or 'unknown'}"


LAYERS = {
    "named": "named by AUTOTUNE_PROFILE",
    "user": "this user's",
    "node": "this machine's daemon's",
    "system": "the administrator's",
    "cluster": "from the cluster's store",
    "shipped": "shipped with autotune",
}
ALL_WELL = "Nothing here makes NumPy slow."
THREADS_OF_YOURS = "environment; no profile exceeds it"
_PYTHONS = {"gil": "a GIL", "free-threaded": "free threading"}


def usable(cpus: int, limit: Limit) -> str:
    return f"CPUs that a program may keep busy: {cpus}{_limited(limit)}."


def _limited(limit: Limit) -> str:
    return f", limited by {LIMITED_BY[limit]}" if limit in LIMITED_BY else ""


def numpy_and_python(numpy: str | None, python: str | None) -> str:
    return f"NumPy {numpy or 'not installed'}, Python with {_PYTHONS[python or 'gil']}"


def cpu_limit(name: str, value: float | None, source: str) -> str:
    return f"{name}: {'not set' if value is None else format(value, 'g')} ({source})"


def setting(name: str, value: object, source: str) -> str:
    return f"{name}: {value} ({source})"


def other_packages(kind: str, names: Iterable[str]) -> str:
    return (
        f"Several distributions install the {kind} `autotune`: {', '.join(names)}. They overwrite each other's files; "
        "uninstall all of them, and install this one again."
    )


def core_state(refusal: str | None) -> str:
    if refusal is None:
        return "The C core is in use: calls and loops of unchanged programs can be tuned."
    return f"Calls and loops of unchanged programs run as NumPy makes them. {refusal}"


def wait_source(exponent: int | None, *, variable: str | None, is_default: bool) -> str:
    """State where the time-out of idle BLAS threads comes from; `variable` if the user set it."""
    if variable is not None:
        return f"{variable}; idle BLAS threads spin for 2^{exponent} cycles"
    if exponent is None:
        return "no profile has measured it; idle BLAS threads spin as long as their library lets them"
    if is_default:
        return "profile; no shorter time of idle BLAS threads was shown to cost nothing"
    return f"profile; idle BLAS threads spin for 2^{exponent} cycles under `autotune run` and apply()"
