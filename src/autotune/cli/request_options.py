"""Words of a command line as a Request, and the Request of an interrupted calibration."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from autotune.cli import messages, units
from autotune.cli.size_options import parse_sizes
from autotune.errors import BadWorkload, UsageError
from autotune.model.catalogue import ALIASES, CATALOGUE, Kind, kind
from autotune.search.request import Effort, Request

if TYPE_CHECKING:
    from autotune.bench.user_workload import UserWorkload

FIELDS: Mapping[str, tuple[str, ...]] = {"operations": ("operations", "sizes"), "budget": ("budget_seconds",)}
"""Fields of a Request that an option decides, where they have other names."""


def make_request(
    operations: Iterable[str],
    sizes: Iterable[str] = (),
    *,
    dtypes: tuple[str, ...] = (),
    effort: str = "normal",
    budget: str | None = None,
    until_decided: bool = False,
    seed: int = 0,
    cpus: str | None = None,
    neighbours: int = 0,
    copies: int = 1,
    workload: "UserWorkload | None" = None,
) -> Request:
    """Make the request that the words of a command line ask for.

    A word with an equals sign is a size: the shell cuts `--sizes m=100,200 n=5` in two. Raises
    UnknownOperation, BadSize, BadBudget, or BadWorkload if operations are named beside the user's function.
    Says on standard error what an alias stands for.
    """
    words = list(operations)
    for word in words:
        if word in ALIASES:
            click.echo(messages.tuned_together(word, ALIASES[word]), err=True)
    names = tuple(dict.fromkeys(kind(word).name for word in words if "=" not in word))
    texts = " ".join([*sizes, *(word for word in words if "=" in word)]).split()
    if workload is not None and names:
        raise BadWorkload(messages.workload_alone(names[0]))
    kinds = [workload.kind] if workload is not None else [CATALOGUE[name] for name in names or CATALOGUE]
    return Request(
        operations=names,
        sizes=_common_sizes(texts, kinds),
        dtypes=tuple(dict.fromkeys(dtypes)),
        effort=Effort(effort),
        budget_seconds=None if budget is None else units.budget(budget),
        until_decided=until_decided,
        seed=seed,
        cpus=cpus,
        neighbours=neighbours,
        copies=copies,
        workload=workload,
        asked_at=datetime.now(UTC).isoformat(),
    )


def interrupted_request(journal: Path, asked: Request) -> Request:
    """Read the request of the interrupted calibration from its journal.

    Raises UsageError if there is none, or if an option on the command line asks for something else: its sessions
    would answer another question.
    """
    from autotune.search.journal import Header

    header = Header.read(journal)
    if header is None or header.request.asked_at is None:  # or it was asked from a program, not from here
        raise UsageError(messages.NOTHING_TO_RESUME)
    context = click.get_current_context()
    differing = [
        option
        for option, value in context.params.items()
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE
        and value not in {(), None}
        and any(
            getattr(asked, name) != getattr(header.request, name)
            for name in FIELDS.get(option, (option,))
            if hasattr(asked, name)
        )
    ]
    if differing:
        raise UsageError(messages.resumed_differs(differing))
    return header.request


def _common_sizes(texts: list[str], kinds: Iterable[Kind]) -> tuple[Mapping[str, int], ...]:
    """The sizes asked for and no others: what is left out follows, for each operation, from these."""
    asked_for = {text.partition("=")[0] for text in texts}
    filled = [parse_sizes(texts, each) for each in kinds]  # all of them: each refuses what it does not have
    return tuple({name: size[name] for name in size if name in asked_for} for size in filled[0])
