"""`autotune.calibrate`: the user's own function, from a program or a notebook."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import product
from math import inf
from typing import Any

from autotune.bench.user_workload import from_function
from autotune.errors import BadBudget, BadSize, UsageError
from autotune.model.catalogue import is_whole
from autotune.model.constraints import LARGEST_SIZE
from autotune.model.profile import Profile
from autotune.profiles.entry_merge import keep, own_path
from autotune.runtime import applied
from autotune.search.events import Event, Listener, ignore
from autotune.search.progress_text import Board
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
    report: Listener | None = None,
) -> Profile:
    """Tune a function on this machine, and keep the result in the user's profile under its name.

    Parameters
    ----------
    function : callable
        Takes its sizes as keyword arguments. Those of the knobs `blas_threads`, `workers` and `chunk` that it takes
        are tuned; the threads of BLAS and of other pools (`openmp_threads`) are set around it
        where a first trial sees them at work. A function without a file travels to the trials by
        cloudpickle.
    sizes : dict of str to int or sequence of int
        The arguments that say how large the work is; several values of several names form the product.
    name : str, optional
        The name of the entries; by default the function's own.
    budget_seconds : float, optional
        Seconds that the calibration may take; by default 322, with effort "quick" 86, with "thorough" 3600.
    effort : {"quick", "normal", "thorough"}
        Effort of the search.
    seed : int
        Seed of the search.
    report : callable, optional
        Called with each event of the calibration (`autotune.search.events`). By default a line in the notebook's cell
        shows them; outside a notebook nothing does.

    Returns
    -------
    Profile
        The entries that were measured now. `config(name, n=...)` and `tuned(name, n=...)` use them from now on, also
        after an earlier `apply()`.

    Raises
    ------
    BadWorkload, BadSize, BadBudget
        For a function, size or budget that cannot be measured.
    HostBusy
        If another calibration runs on this host.
    MissingPackage
        Without the extra [calibrate].
    OSError
        If the profile can be written nowhere.

    Notes
    -----
    Scope of effect: runs trial processes for the budget, holds the host's lock, writes one profile. A file in its place
    that is no valid profile is kept under another name, `*.refused`.

    Examples
    --------
    >>> import autotune
    >>> def work(n, workers=1): ...
    >>> profile = autotune.calibrate(work, sizes={"n": [1000, 4000]})  # doctest: +SKIP

    """
    workload = from_function(function, name)
    if effort not in set(Effort):
        raise UsageError(f"effort is one of {', '.join(Effort)}, not {effort!r}.")
    if budget_seconds is not None and not 0 < budget_seconds < inf:
        raise BadBudget(f"A budget is a number of seconds, not {budget_seconds}.")
    request = Request(
        sizes=all_sizes(sizes), effort=Effort(effort), budget_seconds=budget_seconds, seed=seed, workload=workload
    )
    for size in request.sizes:
        workload.refuse(size)
    outcome = calibrate_machine(request, report=report or notebook_progress())
    keep(outcome.profile, own_path(outcome.profile.key))
    applied.refresh()
    if not outcome.finished:
        raise KeyboardInterrupt
    return outcome.profile


def all_sizes(sizes: Mapping[str, int | Sequence[int]]) -> tuple[Mapping[str, int], ...]:
    """Return every combination of the values of each size."""
    if not sizes:
        raise BadSize('A function needs sizes to be measured at, such as sizes={"n": [1000, 4000]}.')
    lists = {
        name: [_size(name, number) for number in (value if isinstance(value, Iterable) else [value])]
        for name, value in sizes.items()
    }
    return tuple(dict(zip(lists, values, strict=True)) for values in product(*lists.values()))


def _size(name: str, value: int) -> int:
    if not is_whole(value) or not 1 <= value <= LARGEST_SIZE:
        raise BadSize(f"{name} must be a whole number from 1 to {LARGEST_SIZE}, not {value!r}.")
    return int(value)


def notebook_progress() -> Listener:
    """Return the listener that shows the events in the current cell; outside a notebook, one that ignores them."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:  # a terminal, or no IPython at all
        return ignore
    from IPython.display import HTML, display

    board = Board()
    cell: Any = None

    def show(event: Event) -> None:
        nonlocal cell
        board.take(event)
        line = HTML(f"<pre>autotune: {escape(board.line(event))}</pre>")
        if cell is None:
            cell = display(line, display_id=True)
        else:
            cell.update(line)

    return show
