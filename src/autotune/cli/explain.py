"""`autotune explain`."""

import click

from autotune.cli import messages
from autotune.cli.in_force import not_covered
from autotune.cli.options import dtype_option, parse_size, split_words
from autotune.cli.program import FAILED
from autotune.cli.terminal import json_option, note, print_json, print_lines, width
from autotune.errors import BadSize
from autotune.model.catalogue import ALIASES, CATALOGUE, row_of


@click.command()
@click.argument("words", nargs=-1, metavar="[OPERATION] [NAME=N]...")
@dtype_option
@json_option
def explain(words: tuple[str, ...], dtype: str, as_json: bool) -> int:
    """Say what applies here: each choice, its profile, how well that fits, and what was refused.

    With OPERATION, what is done for it and why; with sizes too, what is done for these, measured or in between.

    \b
    Examples:
      autotune explain
      autotune explain svd n=500
    """
    import autotune

    names, texts = split_words(words)
    sizes = parse_size(texts)
    if len(names) > 1 or (texts and not names):
        raise BadSize("Name one operation, then its sizes: autotune explain svd n=500.")
    with autotune.apply():
        explanation = autotune.explain(*names, dtype=dtype, **sizes)
        measured = [row.operation for row in autotune.explain().operations]
    subject, missing = [ALIASES.get(name, name) for name in names], None
    is_told = any(row.entry for row in explanation.operations) or (explanation.hint and row_of(*names) is None)
    if not explanation.failure and not is_told:
        missing = not_covered(subject, texts, measured, dtype=dtype) if names else messages.NOTHING_APPLIES
    if as_json:
        print_json("explain/1", explanation.as_dict())
    else:
        print_lines(explanation.text(width()).splitlines())
    if missing is not None:
        note(missing)
    has_name = {*CATALOGUE, *(operation.partition(" ")[0] for operation in measured)}
    return FAILED if missing is not None and not has_name.issuperset(subject) else 0
