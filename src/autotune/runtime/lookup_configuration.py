"""Which configuration an operation has."""

from typing import TYPE_CHECKING, Any

from autotune.runtime.applied import state

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.model.operation import Operation
    from autotune.profiles.resolve import Resolution


def config(operation: str, /, *, dtype: Any = "float64", **sizes: int) -> "Configuration | None":
    """The measured configuration for an operation; None: plain NumPy, with no knob touched.

    `operation` is a name of the catalogue, one of its aliases ("dot", "mean") or a function of yours that
    was calibrated; `sizes` are its sizes in elements, of which those left out equal `n`. dtypes other than
    float64 and float32 have no measurements, so the answer is None. `blas_threads x workers` is within the
    CPUs that this process may use.

    It works without apply() too, and changes nothing. The first look-up reads the profiles (about 10 ms),
    the first of each size takes some 20 us, and any other less than one. Raises BadSize for a size that the
    operation does not have, and UnknownOperation for what cannot be a name; a name that is neither in the
    catalogue nor in a profile is said once, by the logger "autotune".
    """
    question = (operation, dtype, *sizes.items())
    try:
        answer = state.known[question]
    except KeyError:  # not asked before
        return _looked_up(operation, dtype, sizes)
    except TypeError:  # something that has no hash: a size, which is said there, or a record's dtype
        return _looked_up(str(operation), _name_of(dtype), sizes)
    if state.demand is not None:
        state.demand.count(question)
    return answer


def _looked_up(operation: str, dtype: Any, sizes: dict[str, int]) -> "Configuration | None":
    from autotune.controls.apply_configuration import clamp

    resolution = state.resolution()
    named = meant(operation, dtype, sizes)
    known = state.known
    entry = None if resolution is None or named is None else resolution.find(named)
    answer = None
    if resolution is not None and entry is not None and not entry.entry.choice.is_default:
        answer = clamp(entry.entry.choice, resolution.usable_cpus)
        if answer.blas_threads is not None and state.setting.reproducible:
            answer = None
    unknown = entry is None and named is not None and operation not in state.said
    if unknown and not _is_known(operation, resolution):
        state.said.add(operation)
        _say_unknown(operation)
    if state.demand is not None and named is not None:
        state.demand.meet((operation, dtype, *sizes.items()), named, covered=entry is not None)
    if known is state.known:  # else an apply() came in between, and the answer may be the old one's
        state.learn((operation, dtype, *sizes.items()), answer)
    return answer


def meant(name: str, dtype: Any, sizes: dict[str, int]) -> "Operation | None":
    """The operation with all its sizes; None for a dtype that is not measured. Raises BadSize."""
    from autotune.model import catalogue
    from autotune.model.operation import DTYPES

    if not is_name(name):
        catalogue.kind(str(name))  # raises UnknownOperation, which holds the nearest names
    known_as = dtype if isinstance(dtype, str) else _name_of(dtype)
    return catalogue.operation(name, dtype=known_as, **sizes) if known_as in DTYPES else None


def is_name(name: str) -> bool:
    """Can there be entries of this name? Those of the catalogue are known; users' functions have a form."""
    from autotune.model.catalogue import row_of

    if row_of(name) is not None:
        return True
    import re

    from autotune.model.operation import NAME

    return isinstance(name, str) and re.fullmatch(NAME, name) is not None


def _is_known(name: str, resolution: "Resolution | None") -> bool:
    """Is the name in the catalogue, or in some entry that holds here?"""
    from autotune.model.catalogue import row_of

    entries = () if resolution is None else resolution.entries()
    return row_of(name) is not None or any(one.entry.operation.name == name for one in entries)


def _say_unknown(name: str) -> None:
    """That a name is neither in the catalogue nor in a profile: a misspelling, or a function never calibrated.

    It may be either, so it is no error: a program with functions of its own runs on machines where they were
    not measured.
    """
    import logging
    from difflib import get_close_matches

    from autotune.model.catalogue import ALIASES, CATALOGUE

    near = get_close_matches(name, [*CATALOGUE, *ALIASES], n=3, cutoff=0.5)
    logging.getLogger("autotune").warning(
        "No operation is named %r, and no profile here knows a function of that name: plain NumPy runs.%s",
        name,
        f" Did you mean {', '.join(near)}?" if near else "",
    )


def _name_of(dtype: Any) -> str:
    import numpy as np

    return str(np.dtype(dtype))
