"""`autotune explain`."""

import json

import click

from autotune.cli import messages
from autotune.cli.size_options import parse_size
from autotune.cli.terminal import console
from autotune.errors import BadSize
from autotune.model.catalogue import CATALOGUE, kind
from autotune.model.operation import DTYPES

SIZES = tuple(dict.fromkeys(name for row in CATALOGUE.values() for name in ("n", *row.size_names)))


def with_sizes(command: click.Command) -> click.Command:
    """Give a command an option for each size of the catalogue."""
    command.params[1:1] = [
        click.Option([f"--{name}"], type=click.IntRange(min=1), metavar="N", help=messages.SIZES[name])
        for name in SIZES
    ]
    return command


@with_sizes
@click.command()
@click.argument("operation", required=False)
@click.option("--size", "others", multiple=True, metavar="NAME=N", help="A size of a function of yours.")
@click.option("--dtype", type=click.Choice(DTYPES), default=DTYPES[0], show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
def explain(
    operation: str | None, others: tuple[str, ...], dtype: str, as_json: bool, **sizes: int | None
) -> None:
    """Say what applies here: each choice, its profile, how well that fits, and what was refused.

    With OPERATION, what is done for it; with sizes too, what is done for these, measured or in between.

    \b
    Examples:
      autotune explain
      autotune explain svd --n 500
    """
    import autotune

    asked = {name: value for name, value in sizes.items() if value is not None} | parse_size(others)
    if operation is None and asked:
        raise BadSize(messages.SIZES_WITHOUT_OPERATION)
    with autotune.apply():
        explanation = autotune.explain(operation, dtype=dtype, **asked) if operation else autotune.explain()
    if operation is not None and not any(row.entry for row in explanation.operations):
        known = {row.operation.partition(" ")[0] for row in autotune.explain().operations}
        if operation not in known:
            kind(operation)  # raises UnknownOperation, with the nearest names
    if as_json:
        click.echo(json.dumps(explanation.as_dict(), indent=2))
        return
    click.echo(explanation.text(console().width))
    if not explanation.operations and not explanation.failure:
        click.echo(messages.NOTHING_APPLIES, err=True)
