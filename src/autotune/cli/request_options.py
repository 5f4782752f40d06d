"""The words of a command line as a Request."""

from collections.abc import Iterable, Mapping

import click

from autotune.cli import messages, units
from autotune.cli.size_options import parse_sizes
from autotune.errors import BadWorkload
from autotune.model.catalogue import ALIASES, CATALOGUE, Kind, kind
from autotune.search.request import Effort, Request


def asked(
    operations: Iterable[str],
    sizes: Iterable[str] = (),
    *,
    dtypes: tuple[str, ...] = (),
    effort: str = "normal",
    budget: str | None = None,
    seed: int = 0,
    neighbours: int = 0,
    copies: int = 1,
    workload: Kind | None = None,
) -> Request:
    """The request that the words of a command line make.

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
    kinds = [workload] if workload is not None else [CATALOGUE[name] for name in names or CATALOGUE]
    return Request(
        operations=names,
        sizes=_common_sizes(texts, kinds),
        dtypes=tuple(dict.fromkeys(dtypes)),
        effort=Effort(effort),
        budget_seconds=None if budget is None else units.budget(budget),
        seed=seed,
        neighbours=neighbours,
        copies=copies,
        workload=workload,
    )


def _common_sizes(texts: list[str], kinds: Iterable[Kind]) -> tuple[Mapping[str, int], ...]:
    """The sizes asked for and no others: what is left out follows, for each operation, from these."""
    asked_for = {text.partition("=")[0] for text in texts}
    filled = [parse_sizes(texts, each) for each in kinds]  # all of them: each refuses what it does not have
    return tuple({name: size[name] for name in size if name in asked_for} for size in filled[0])
