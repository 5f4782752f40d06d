"""Options of a calibration, and the Request that they make."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from autotune.cli import messages
from autotune.cli.options import parse_duration, parse_sizes, split_words, workload_option
from autotune.cli.terminal import note
from autotune.errors import BadWorkload, UsageError
from autotune.model.catalogue import ALIASES, CATALOGUE, Kind, kind
from autotune.model.operation import DTYPES
from autotune.model.policy import CPU_SLACK
from autotune.search.request import Effort, Objective, Request

if TYPE_CHECKING:
    from autotune.bench.user_workload import UserWorkload
    from autotune.model.profile import Key

FIELDS: Mapping[str, tuple[str, ...]] = {
    "words": ("operations", "sizes"),
    "budget": ("budget_seconds",),
    "output": (),  # another place for the same measurements
}
"""Fields of a Request that an option decides, where they have other names."""

effort_option = click.option(
    "--effort",
    type=click.Choice([*map(str, Effort)]),
    default=str(Effort.NORMAL),
    show_default=True,
    help="quick: one size each; thorough: more sizes, float32 too.",
)
objective_option = click.option(
    "--objective",
    type=click.Choice([*map(str, Objective)]),
    default=str(Objective.TIME),
    show_default=True,
    help=f"cpu: fewest CPU seconds, of all that is within {CPU_SLACK:.0%} of the fastest.",
)
budget_option = click.option("--budget", metavar="TIME", help="Time allowed, such as 90s, 5m or 1h30m.")


def request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments and options that make a Request."""
    for option in (  # the last is the first of the help
        workload_option("Tune a function of yours (or package.module:function)."),
        click.option(
            "--copies",
            type=click.IntRange(1, 4096),
            default=1,
            metavar="K",
            help="Run K copies of each trial at once, for K ranks or web workers that share the CPUs.",
        ),
        click.option(
            "--neighbours",
            type=click.IntRange(0, 4096),
            default=0,
            metavar="K",
            help="Measure next to K busy processes, for a machine that others always use too.",
        ),
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Same timings and seed, same profile."
        ),
        objective_option,
        budget_option,
        effort_option,
        click.option(
            "--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="float64 unless said otherwise."
        ),
        click.argument("words", nargs=-1, metavar="[OPERATION]... [NAME=N,N]..."),
    ):
        command = option(command)
    return command


def make_request(
    words: Iterable[str],
    *,
    dtypes: tuple[str, ...] = (),
    effort: str = "normal",
    budget: str | None = None,
    objective: str = "time",
    workload: "UserWorkload | None" = None,
    **fields: Any,
) -> Request:
    """Make the Request of a command line; a word with an equals sign is a size, and `fields` are those of the Request.

    Raises UnknownOperation, BadSize, BadBudget, or BadWorkload if operations are named together with the user's
    function. Says on standard error what an alias stands for.
    """
    names, sizes = split_words(words)
    for name in names:
        if name in ALIASES:
            note(messages.tuned_together(name, ALIASES[name]))
    operations = tuple(dict.fromkeys(kind(name).name for name in names))
    if workload is not None and operations:
        raise BadWorkload(f"--workload tunes your function alone; calibrate {operations[0]} with a command of its own.")
    kinds = [workload.kind] if workload is not None else [CATALOGUE[name] for name in operations or CATALOGUE]
    return Request(
        operations=operations,
        sizes=_common_sizes(sizes, kinds),
        dtypes=tuple(dict.fromkeys(dtypes)),
        effort=Effort(effort),
        objective=Objective(objective),
        budget_seconds=None if budget is None else parse_duration(budget),
        workload=workload,
        asked_at=datetime.now(UTC).isoformat(),
        **fields,
    )


def interrupted_request(key: "Key", request: Request) -> Request:
    """Read the request of the interrupted calibration of a key from its journal.

    Raises UsageError if there is none, or if an option on the command line asks for something else: its sessions
    would answer another question.
    """
    from autotune.search.journal import Header, journal_path

    header = Header.read(journal_path(key))
    if header is None or header.request.asked_at is None:  # or it was asked from a program, not from here
        raise UsageError(
            "There is no calibration of this machine to go on with. Run `autotune calibrate` without --resume."
        )
    begun = header.request.with_pools()
    context = click.get_current_context()
    differing = [
        option
        for option, value in context.params.items()
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE
        and value not in {(), None}
        and any(
            getattr(request, name) != getattr(begun, name)
            for name in FIELDS.get(option, (option,))
            if hasattr(request, name)
        )
    ]
    if differing:
        raise UsageError(
            f"The interrupted calibration was asked something else: {', '.join(differing)}. "
            "Give --resume alone to go on with it, or leave --resume out to begin anew."
        )
    return replace(begun, output=request.output or begun.output)


def _common_sizes(texts: list[str], kinds: Iterable[Kind]) -> tuple[Mapping[str, int], ...]:
    """Return the given sizes alone: each operation fills in the others from these."""
    names = {text.partition("=")[0] for text in texts}
    # all of them: each refuses sizes that it does not have
    filled = [parse_sizes(texts, each) for each in kinds]
    return tuple({name: size[name] for name in size if name in names} for size in filled[0])
