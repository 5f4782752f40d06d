"""The configuration of an operation, looked up with remembered answers, and the CPUs that it is held to."""

import os
from typing import TYPE_CHECKING, Any

from autotune.runtime.naming import as_operation, dtype_name
from autotune.runtime.process_state import state

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.profiles.resolve import Resolution


def config(operation: str, /, *, dtype: Any = "float64", **sizes: int) -> "Configuration | None":
    """Return the measured configuration for an operation; None: plain NumPy, with no knob touched.

    Parameters
    ----------
    operation : str
        A name of the catalogue, one of its aliases ("dot", "mean"), or a function of yours that was calibrated.
    dtype : dtype
        Other dtypes than float64, float32, complex128 and complex64 have no measurements.
    **sizes : int
        Sizes in elements; a size left out equals `n`.

    Returns
    -------
    Configuration or None
        `blas_threads x workers`, and `openmp_threads x workers`, are within the CPUs that this process may use.

    Raises
    ------
    BadSize
        For a size that the operation does not have.
    UnknownOperation
        For text that cannot be a name. A name that is neither in the catalogue nor in a profile is logged once, by the
        logger "autotune".

    Notes
    -----
    Works without `apply()` too, and changes nothing. The first look-up reads the profiles (about 10 ms), the first
    of each size takes some 20 us, and any other less than one.

    Examples
    --------
    >>> import autotune
    >>> chosen = autotune.config("svd", n=500)
    >>> threads = None if chosen is None else chosen.blas_threads

    """
    question = (operation, dtype, *sizes.items())
    try:
        answer = state.answers[question]
    except KeyError:  # not asked before
        return _look_up(operation, dtype, sizes)
    except TypeError:  # something that has no hash: a size, which is reported there, or a record's dtype
        return _look_up(str(operation), dtype_name(dtype), sizes)
    if state.demand is not None:
        state.demand.count(question)
    return answer


def usable_cpus() -> int:
    """Return the number of CPUs that this process may keep busy.

    Returns
    -------
    int
        At least 1: the CPUs of the affinity mask and cpuset, at most the tightest CPU quota of all control groups
        (rounded up) and $AUTOTUNE_CPUS, divided by the processes that share them.

    Notes
    -----
    Read anew at each call, since quotas change while a process runs; takes tens of microseconds. Nothing is changed.
    ``autotune nproc --why`` prints each limit. ``os.cpu_count`` and ``os.process_cpu_count`` count no quota, so that
    pools sized by them are throttled in containers.

    Examples
    --------
    >>> import autotune
    >>> autotune.usable_cpus() >= 1
    True

    """
    from autotune.host.usable_cpus import usable_cpus

    return usable_cpus()[0]


def clamp_to_limits(choice: "Configuration", usable_cpus: int) -> "Configuration":
    """Clamp a choice to the usable CPUs, and its workers to what the user's OMP_NUM_THREADS allows."""
    from autotune.controls.thread_variables import worker_limit
    from autotune.model.configuration import clamp

    limit = None if choice.workers is None else worker_limit(os.environ)
    return clamp(choice, usable_cpus if limit is None else min(usable_cpus, limit))


def unmeasured_workers() -> tuple[int, int]:
    """Return workers, and BLAS threads in each, for work of which nothing was measured.

    Together they are as many as the usable CPUs, with no more workers than the user's OMP_NUM_THREADS.
    """
    from autotune.controls.thread_variables import worker_cpus
    from autotune.host.usable_cpus import usable_cpus

    resolution = state.resolution()
    usable = usable_cpus()[0] if resolution is None else resolution.usable_cpus
    workers = worker_cpus(os.environ, usable)
    return workers, usable // workers


def _look_up(name: str, dtype: Any, sizes: dict[str, int]) -> "Configuration | None":
    resolution = state.resolution()
    operation = as_operation(name, dtype, sizes)
    answers = state.answers
    match = None if resolution is None or operation is None else resolution.find(operation)
    answer = None
    if resolution is not None and match is not None and not match.entry.choice.is_default:
        answer = clamp_to_limits(match.entry.choice, resolution.usable_cpus)
        threads = answer.blas_threads or answer.openmp_threads
        if threads is not None and state.setting.reproducible:
            answer = None
    if operation in state.overrides:
        overriding = state.overrides[operation]
        answer = None if overriding.is_default else overriding
    is_new = match is None and operation is not None and name not in state.reported
    if is_new and not _is_known(name, resolution):
        state.reported.add(name)
        _log_unknown(name)
    if state.demand is None and resolution is not None and "AUTOTUNE_RECORD" in os.environ:
        from autotune.runtime.applied import record_requests

        record_requests()
    if state.demand is not None and operation is not None:
        state.demand.meet((name, dtype, *sizes.items()), operation, covered=match is not None)
    if answers is state.answers:  # else an apply() came in between, and the answer may be the old one's
        state.remember((name, dtype, *sizes.items()), answer)
    return answer


def _is_known(name: str, resolution: "Resolution | None") -> bool:
    """Return whether the name is in the catalogue, or in an entry that is used here."""
    from autotune.model.catalogue import row_of

    entries = () if resolution is None else resolution.entries()
    return row_of(name) is not None or any(match.entry.operation.name == name for match in entries)


def _log_unknown(name: str) -> None:
    """Log that a name is neither in the catalogue nor in a profile.

    It may be misspelt, or a function of a program that runs on machines where it was not calibrated, so it is no error.
    """
    import logging

    from autotune.model.catalogue import nearest_names

    near = nearest_names(name)
    logging.getLogger("autotune").warning(
        "No operation is named %r, and no profile here knows a function of that name: plain NumPy runs.%s",
        name,
        f" Did you mean {', '.join(near)}?" if near else "",
    )
