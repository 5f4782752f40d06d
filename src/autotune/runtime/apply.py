"""The public function apply()."""

import os
from typing import Literal

from autotune.runtime.applied import Applied, Wishes, put_into_force
from autotune.runtime.process_settings import is_disabled
from autotune.runtime.process_state import state


def apply(
    *,
    profile: str | os.PathLike[str] | None = None,
    strict: bool = False,
    processes: int | None = None,
    children: bool = False,
    allocator: Literal["default", "retain"] | None = None,
    per_call: bool = True,
    reductions: bool = False,
    reproducible: bool = False,
    guard: bool = False,
    learn: bool = False,
    record: bool | None = None,
    watch: bool = False,
) -> Applied:
    """Put the measured choices into force for this process, at once; in a `with`, until its end.

    NumPy is imported if it has not been. Each call of linear algebra and each product runs with the BLAS threads
    measured for its operation, dtype and size; long loops of ufuncs run on the CPUs that were measured to be faster,
    with results that are equal to the bit; and the BLAS library gets the number of threads that makes some measured
    sizes faster and none slower. Without a profile BLAS is only kept to the CPUs that the process may use.

    Parameters
    ----------
    profile : path, optional
        A profile, or a folder of profiles, that goes before all others. By default $AUTOTUNE_PROFILE. Where it is not
        used, the outcome and a warning of the logger `autotune` say why.
    strict : bool
        Raise an error where NumPy would otherwise stay as it is, with the reason in `why` and explain().
    processes : int, optional
        Number of processes that share the CPUs, where the environment does not say so.
    children : bool
        Export the thread count to child processes, by those variables of the BLAS libraries that the user has
        not set.
    allocator : {"default", "retain"}, optional
        "retain" lets glibc keep freed memory for reuse, at the price of that memory; "default" undoes it.
    per_call : bool
        False: set the BLAS thread count of the process, and leave single calls and loops alone. Else numpy.linalg, `@`,
        matmul, dot, inner, vdot and ndarray.dot, and scipy.linalg once it is imported, are switched at 0.1 to 0.2 us a
        call, and simultaneous calls share the CPUs. It needs the C core, and replaces no public object. With a
        version of NumPy or SciPy that was not tried, calls stay plain, and explain() says so.
    reductions : bool
        Also compute sums and products of floating-point numbers (and mean, var, std) in fixed blocks on several CPUs:
        their last bits differ from plain NumPy's, and do not depend on the number of CPUs. Needs NumPy 2.3 or newer.
    reproducible : bool
        Keep one BLAS thread count for everything, the current one: the count decides the bits of results. Entries
        with another count are not used, in this and later profiles; workers and chunks, which change no bits, are.
        `reductions` is off.
    guard : bool
        Run one in a hundred calls longer than 1 ms with the default: an entry that loses against it is dropped, and
        explain() says what was saved.
    learn : bool
        Try other thread counts for calls, and workers and slices for loops, longer than 20 us that no entry covers,
        while the program runs; use what is proved to be faster in pairs of adjacent calls, under the guard. At most
        1 % of the time of these calls is spent on losing candidates. explain() says what is learned. Off with
        `reproducible`.
    record : bool, optional
        Count the calls, with and without an entry, for the daemon, in one small file that is written when the
        process ends. None: as $AUTOTUNE_RECORD says.
    watch : bool
        Use new profiles and a new CPU quota within a minute, for programs that run for a long time. A thread looks for
        them; calls pay nothing.

    Returns
    -------
    Applied
        A context manager that says what was done, and can undo it.

    Raises
    ------
    ProfileError, UsageError, UnsupportedPlatform
        With `strict` only.

    Notes
    -----
    Scope of effect: this process, including BLAS libraries that are loaded later. Limits set by the user or
    another library hold. Calling it again reads profiles and CPU quota again, and replaces the former call.
    It never measures, never opens a connection, and costs some 10 to 40 ms, once.

    Examples
    --------
    >>> import autotune
    >>> with autotune.apply() as applied:
    ...     why = str(applied)

    """
    wishes = Wishes(
        profile=profile,
        processes=processes,
        children=children,
        allocator=allocator,
        per_call=per_call,
        reductions=reductions,
        reproducible=reproducible,
        guard=guard,
        learn=learn,
        record=record,
    )
    applied = put_into_force(wishes, strict=strict)
    if watch and not is_disabled():
        from autotune.runtime.profile_watch import ProfileWatch

        ProfileWatch(applied, wishes).start()
    return applied


def apply_from_start(*, reductions: bool, learn: bool = False, report: str | None = None) -> None:
    """Apply for `autotune run`, once the program has loaded NumPy; later apply() calls keep to it.

    At its end the process writes a report into the folder that `report` names.
    """
    state.initial_reductions, state.initial_learn = reductions, learn
    state.report_folder, state.is_started_by_run = report, True
    apply()
