"""`autotune.calibrate`: the user's own function, from a program or a notebook."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from math import inf

from autotune.bench.user_workload import from_function
from autotune.errors import BadBudget, BadSize, UsageError
from autotune.model.catalogue import is_whole
from autotune.model.constraints import LARGEST_SIZE
from autotune.model.profile import Profile
from autotune.profiles.entry_merge import keep, own_path
from autotune.search.events import ignore
from autotune.search.request import Effort, Request
from autotune.search.runner import calibrate_machine


def calibrate(
    function: Callable[..., object],
    *,
    sizes: Mapping[str, int | Sequence[int]],
    name: str | None = None,
    budget_seconds: float | None = None,
    effort: str = "normal",
    seed: int = 0,
) -> Profile:
    """Tune a function on this machine, and keep the result in the user's profile under its name.

    `sizes` are the keyword arguments that say how large the work is; several values of several names form the
    product. The knobs that the function takes (`blas_threads`, `workers`, `chunk`) are tuned, and BLAS threads
    are set around it in any case. A function without a file travels to the trials by cloudpickle.

    Returns what was measured now. Afterwards `config(name, n=...)` and `tuned(name, n=...)` find it, once
    `apply()` or the next program has read the profile. Scope of effect: runs trial processes for
    `budget_seconds` (default: 315, quick 75), holds the host's lock, writes one profile. Raises BadWorkload,
    BadSize, BadBudget, HostBusy; OSError if the profile can be written nowhere.
    """
    workload = from_function(function, name)
    if effort not in set(Effort):
        raise UsageError(f"effort is one of {', '.join(Effort)}, not {effort!r}.")
    if budget_seconds is not None and not 0 < budget_seconds < inf:
        raise BadBudget(f"A budget is a number of seconds, not {budget_seconds}.")
    request = Request(
        sizes=_product(sizes),
        effort=Effort(effort),
        budget_seconds=budget_seconds,
        seed=seed,
        workload=workload,
    )
    for size in request.sizes:
        workload.refuse(size)
    outcome = calibrate_machine(request, report=ignore)
    keep(outcome.profile, own_path(outcome.profile.key), sizes_named=True)
    if not outcome.finished:
        raise KeyboardInterrupt
    return outcome.profile


def _product(sizes: Mapping[str, int | Sequence[int]]) -> tuple[Mapping[str, int], ...]:
    if not sizes:
        raise BadSize('A function needs sizes to be measured at, such as sizes={"n": [1000, 4000]}.')
    lists = {
        name: [_size(name, one) for one in (value if isinstance(value, Iterable) else [value])]
        for name, value in sizes.items()
    }
    return tuple(dict(zip(lists, values, strict=True)) for values in product(*lists.values()))


def _size(name: str, value: int) -> int:
    if not is_whole(value) or not 1 <= value <= LARGEST_SIZE:
        raise BadSize(f"{name} must be a whole number from 1 to {LARGEST_SIZE}, not {value!r}.")
    return int(value)
