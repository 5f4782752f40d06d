"""Marks a function of the user's as work to calibrate."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

_F = TypeVar("_F", bound=Callable[..., Any])

MARK = "__autotune_workload__"
"""Attribute of a marked function: the name under which its entries go into the profile."""


@overload
def workload(function: _F, /) -> _F: ...
@overload
def workload(*, name: str) -> Callable[[_F], _F]: ...
def workload(function: _F | None = None, /, *, name: str | None = None) -> _F | Callable[[_F], _F]:
    """Mark a function as work to calibrate: `autotune calibrate --workload FILE.py:function --sizes n=1000`.

    The function takes its sizes, and any of `blas_threads`, `workers` and `chunk`, as keyword arguments.
    Marking changes nothing about it. `name` is what its entries are found by, in `config` and `tuned`;
    without it the function's own name.
    """

    def mark(marked: _F) -> _F:
        setattr(marked, MARK, name or marked.__name__)
        return marked

    return mark if function is None else mark(function)
