"""Which configuration an operation has."""

from typing import TYPE_CHECKING, Any

from autotune.runtime.state import state

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.model.operation import Operation


def config(operation: str, /, *, dtype: Any = "float64", **sizes: int) -> "Configuration | None":
    """The measured configuration for an operation; None: plain NumPy, with no knob touched.

    `operation` is a name of the catalogue, one of its aliases ("dot", "mean") or a function of yours that
    was calibrated; `sizes` are its sizes in elements, of which those left out equal `n`. dtypes other than
    float64 and float32 have no measurements, so the answer is None. `blas_threads x workers` is within the
    CPUs that this process may use.

    It works without apply() too, and changes nothing. The first look-up reads the profiles (about 10 ms),
    the first of each size takes some 20 us, and any other less than one. Raises BadSize for a size that the
    operation does not have.
    """
    question = (operation, dtype, *sizes.items())
    try:
        answer = state.known[question]
    except KeyError:  # not asked before
        return _looked_up(operation, dtype, sizes)
    except TypeError:  # something that has no hash: a size, which is said there, or a record's dtype
        return _looked_up(str(operation), _name_of(dtype), sizes)
    if answer is None and state.demand is not None:
        state.demand.count(question)
    return answer


def _looked_up(operation: str, dtype: Any, sizes: dict[str, int]) -> "Configuration | None":
    from autotune.controls.configured import clamp

    resolution = state.resolution()
    named = meant(operation, dtype, sizes)
    known = state.known
    entry = None if resolution is None or named is None else resolution.find(named)
    answer = None
    if resolution is not None and entry is not None and not entry.tuning.choice.is_default:
        answer = clamp(entry.tuning.choice, resolution.usable_cpus)
        if answer.blas_threads is not None and state.setting.reproducible:
            answer = None
    if entry is None and named is not None and state.demand is not None:
        state.demand.meet((operation, dtype, *sizes.items()), named)
    if known is state.known:  # else an apply() came in between, and the answer may be the old one's
        state.learn((operation, dtype, *sizes.items()), answer)
    return answer


def meant(name: str, dtype: Any, sizes: dict[str, int]) -> "Operation | None":
    """The operation with all its sizes; None for a dtype that is not measured. Raises BadSize."""
    from autotune.model import catalogue
    from autotune.model.operation import DTYPES

    known_as = dtype if isinstance(dtype, str) else _name_of(dtype)
    return catalogue.operation(name, dtype=known_as, **sizes) if known_as in DTYPES else None


def _name_of(dtype: Any) -> str:
    import numpy as np

    return str(np.dtype(dtype))
