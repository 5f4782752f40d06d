"""The measured configuration for a stretch of code, or for the calls of a function."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from math import prod
from typing import Any, ParamSpec, TypeVar

from autotune.controls.apply_configuration import ConfigurationScope
from autotune.errors import BadSize, UnsupportedPlatform
from autotune.model.catalogue import Family, row_of
from autotune.model.configuration import Configuration
from autotune.model.operation import WORKLOAD_MARK
from autotune.runtime.lookup_configuration import config
from autotune.runtime.naming import as_operation, dtype_name, is_name
from autotune.runtime.process_state import state

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Sizes = Callable[..., Mapping[str, int]]


def tuned(operation: str, /, *, dtype: Any = None, sizes: _Sizes | None = None, **fixed: int) -> "Tuned":
    """Run code with the configuration measured for an operation, in a `with` or as a decorator.

    Parameters
    ----------
    operation : str
        A name of the catalogue, or a function of yours that was calibrated.
    dtype : dtype, optional
        By default that of the first array of a decorated call, else float64.
    sizes : callable, optional
        For a decorator: called with the call's own arguments, returns the sizes as a dict. Without it they are those
        of the first array (of the first two, for a matrix product), and a call without an array runs as it is.
    **fixed : int
        Sizes in elements, for a `with` or for all calls of the decorated function.

    Returns
    -------
    Tuned
        A context manager, whose value is the Configuration in force (None for plain NumPy), and a decorator. One object
        serves many scopes, nested ones and several threads too.

    Raises
    ------
    BadSize
        For a size that the operation does not have, and for a function of yours without any.

    Notes
    -----
    Scope of effect: BLAS threads of the process while any such scope is active, of which the smallest count holds;
    the count before it comes back when the last one ends, in whatever order and threads they run. The same holds for
    the threads of other loaded pools where `openmp_threads` was measured: OpenMP for the calling thread, torch, numba,
    numexpr, `scipy.fft`. Limits of the user or another library hold. Entering and leaving costs some 5 us, less than
    one without an entry.

    Examples
    --------
    >>> import numpy as np
    >>> import autotune
    >>> a = np.eye(3)
    >>> with autotune.tuned("svd", n=3):
    ...     s = np.linalg.svd(a, compute_uv=False)
    >>> @autotune.tuned("qr")
    ... def triangle(matrix):
    ...     return np.linalg.qr(matrix)[1]
    >>> triangle(a).shape
    (3, 3)

    """
    if fixed and (operation, dtype or "float64", *fixed.items()) not in state.answers:
        as_operation(operation, dtype or "float64", fixed)  # a wrong size is said here and not at each call
    if not fixed and sizes is None and row_of(operation) is None:
        raise BadSize(f"{operation} is not in the catalogue: give its sizes, or a `sizes` function.")
    return Tuned(operation, dtype, sizes, fixed)


def tuned_call(function: Callable[..., _R], /, *args: Any, **keywords: Any) -> _R:
    """Call a function of yours with what its calibration found.

    The function is called with the knobs that it takes by name (`blas_threads`, `workers`, `chunk`) as they were
    measured for its sizes, in a scope with the measured threads. It need not repeat its defaults anywhere.

    Parameters
    ----------
    function : callable
        The function that was calibrated, by `autotune.calibrate(function, ...)` or `calibrate --workload`.
    *args, **keywords
        Its arguments. The sizes that it was calibrated by have to be keywords; a knob that is given stays as it is.

    Returns
    -------
    object
        What the function returns.

    Notes
    -----
    Scope of effect: as `tuned()`, for this call. Where nothing was measured for these sizes, the function is called as
    it stands.

    Examples
    --------
    >>> import autotune
    >>> def step(*, n, workers=1):
    ...     return n * workers
    >>> autotune.tuned_call(step, n=1000)
    1000

    """
    name = getattr(function, WORKLOAD_MARK, getattr(function, "__name__", ""))
    chosen = _for_sizes(name, keywords)
    if chosen is None:
        return function(*args, **keywords)
    from inspect import signature

    takes = signature(function).parameters
    knobs = {knob: value for knob, value in chosen.as_dict().items() if knob in takes}
    return _call_within(chosen, function, args, {**knobs, **keywords})


def _for_sizes(name: str, keywords: Mapping[str, Any]) -> Configuration | None:
    """Return what was measured for a function of this name at those of its keywords that are sizes.

    None where a keyword is no size, or no dtype of NumPy's: what it means is the function's own matter.
    """
    resolution = state.resolution()
    if resolution is None or not is_name(name):
        return None
    try:
        dtype = dtype_name(keywords.get("dtype", "float64"))
    except (TypeError, ValueError):
        return None
    for measured in resolution.measured_sizes(name, dtype):
        sizes = {size: keywords[size] for size in measured.size if size in keywords}
        if sizes.keys() == measured.size.keys():
            with suppress(BadSize):
                return config(name, dtype=dtype, **sizes)
    return None


class Tuned:
    """Scope that tuned() returns."""

    def __init__(self, operation: str, dtype: Any, sizes: _Sizes | None, fixed: dict[str, int]) -> None:
        self._operation = operation
        self._dtype = dtype
        self._sizes = sizes
        self._fixed = fixed
        self._entered = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        # joblib, loky and Dask send a decorated function of the main module with all that it refers to
        return Tuned, (self._operation, self._dtype, self._sizes, self._fixed)

    def __enter__(self) -> Configuration | None:
        if not self._fixed:
            raise BadSize(f"tuned({self._operation!r}) needs its sizes to be used in a `with`.")
        chosen = config(self._operation, dtype=self._dtype or "float64", **self._fixed)
        scope = None if chosen is None else enter(chosen)
        try:
            self._entered.scopes.append(scope)
        except AttributeError:
            self._entered.scopes = [scope]
        return chosen

    def __exit__(self, *error: object) -> None:
        scope = self._entered.scopes.pop()
        if scope is not None:
            scope.__exit__(*error)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Return the function, with each call in a scope of its own."""
        if _suspends(function):
            raise TypeError("tuned() cannot decorate a function that suspends: the scope would outlast it.")

        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            chosen = self._for_call(args, kwargs)
            return function(*args, **kwargs) if chosen is None else _call_within(chosen, function, args, kwargs)

        return call

    def _for_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Configuration | None:
        arrays = [value for value in (*args, *kwargs.values()) if hasattr(value, "shape")]
        dtype = self._dtype or (arrays[0].dtype if arrays else "float64")
        if self._sizes is not None:
            sizes: Mapping[str, int] | None = self._sizes(*args, **kwargs)
        elif self._fixed:
            sizes = self._fixed
        else:
            sizes = sizes_of(self._operation, arrays)
        return None if sizes is None else config(self._operation, dtype=dtype, **sizes)


def enter(configuration: Configuration) -> ConfigurationScope:
    """Begin a scope of this configuration. Where memory cannot be retained, the other knobs still apply."""
    resolution = state.resolution()
    usable = configuration.cpus if resolution is None else resolution.usable_cpus
    scope = ConfigurationScope(configuration, usable_cpus=usable)
    try:
        scope.__enter__()
    except UnsupportedPlatform:
        scope = ConfigurationScope(configuration.replace(allocator=None), usable_cpus=usable)
        scope.__enter__()
    return scope


def _call_within(
    configuration: Configuration, function: Callable[..., _R], args: Sequence[Any], keywords: Mapping[str, Any]
) -> _R:
    scope = enter(configuration)
    try:
        return function(*args, **keywords)
    finally:
        scope.__exit__(None, None, None)


def sizes_of(operation: str, arrays: Sequence[Any]) -> dict[str, int] | None:
    """Return the sizes of a catalogue's operation on these arrays; None if they are empty or do not determine them."""
    row = row_of(operation)
    if row is None or not arrays:
        return None
    shape = [int(length) for length in arrays[0].shape]
    if row.size_names == ("n",) and row.family is not Family.LINALG:
        values = {"n": prod(shape)}
    elif len(shape) >= 2:
        last = arrays[1].shape if "k" in row.size_names and len(arrays) > 1 else shape
        stack = prod(shape[:-2])
        values = {"m": shape[-2], "k": shape[-1], "n": int(last[-1]), "count": stack, "tasks": stack}
        values |= {"rows": shape[-2], "columns": shape[-1]}
    else:
        return None
    sizes = {name: values[name] for name in row.size_names}
    return sizes if min(sizes.values()) > 0 else None


def _suspends(function: Callable[..., object]) -> bool:
    from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

    return any(kind(function) for kind in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction))
