"""Names of operations as callers write them: their form, their catalogue operation, and functions marked with one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from autotune.model.operation import Operation
    from autotune.native._core import Calls
    from autotune.runtime.guard import Dropped
    from autotune.runtime.learner import Learned

_F = TypeVar("_F", bound=Callable[..., Any])


def as_operation(name: str, dtype: Any, sizes: dict[str, int]) -> "Operation | None":
    """Return the operation with all its sizes; None for a dtype that is never measured.

    Raises BadSize for a size that the operation does not have, and UnknownOperation for an impossible name.
    """
    from autotune.model import catalogue
    from autotune.model.operation import DTYPES

    row = catalogue.row_of(name)
    if not is_name(name):
        catalogue.kind(str(name))  # raises UnknownOperation, which holds the nearest names
    dtype = dtype if isinstance(dtype, str) else dtype_name(dtype)
    dtypes = DTYPES if row is None else row.dtypes
    return catalogue.operation(name, dtype=dtype, **sizes) if dtype in dtypes else None


def operation_of(calls: "Calls | Dropped | Learned") -> "Operation | None":
    """Return the operation of calls; None for those that are never measured."""
    return as_operation(calls.operation, calls.dtype, dict(calls.sizes))


def is_name(name: str) -> bool:
    """Return whether an entry may have this name: a catalogue name, or one that a user's function may have."""
    from autotune.model.catalogue import row_of

    if row_of(name) is not None:
        return True
    import re

    from autotune.model.constraints import NAME

    return isinstance(name, str) and re.fullmatch(NAME, name) is not None


def dtype_name(dtype: Any) -> str:
    """Return NumPy's name of a dtype, such as "float64"."""
    import numpy as np

    return str(np.dtype(dtype))


@overload
def workload(function: _F, /) -> _F: ...
@overload
def workload(*, name: str) -> Callable[[_F], _F]: ...
def workload(function: _F | None = None, /, *, name: str | None = None) -> _F | Callable[[_F], _F]:
    """Mark a function as work to calibrate: `autotune calibrate --workload FILE.py:function n=1000`.

    The function takes its sizes, and any of `blas_threads`, `workers` and `chunk`, as keyword arguments.
    Marking leaves its behaviour unchanged.

    Parameters
    ----------
    function : callable
        The function, when the decorator is used without parentheses.
    name : str, optional
        The name of its entries, for `config` and `tuned`; by default the function's own name.

    Returns
    -------
    callable
        The same function.

    Examples
    --------
    >>> import autotune
    >>> @autotune.workload
    ... def smooth(n, workers=1):
    ...     return [0.0] * n
    >>> smooth(n=2)
    [0.0, 0.0]

    """
    from autotune.model.operation import WORKLOAD_MARK

    def mark(marked: _F) -> _F:
        setattr(marked, WORKLOAD_MARK, name or marked.__name__)
        return marked

    return mark if function is None else mark(function)
