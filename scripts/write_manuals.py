#!/usr/bin/env python3
"""Write the manual pages and the shell completions of `autotune` from the help of its verbs; meson.build runs it.

    scripts/write_manuals.py --names     prints the name of each manual page
    scripts/write_manuals.py FOLDER      writes the pages, autotune.bash, _autotune (zsh) and autotune.fish

It needs click and the sources.
"""

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

if __name__ == "__main__":  # these sources, and not an older version that is installed
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import click
from click.shell_completion import ShellComplete, get_completion_class

from autotune._version import __version__
from autotune.cli.program import program

COMPLETIONS = {"bash": "autotune.bash", "zsh": "_autotune", "fish": "autotune.fish"}
"""The file of each shell: zsh finds it by its name."""

Page = tuple[str, click.Context]
"""The name of a page, and the command that it is about."""


def main(words: list[str]) -> int:
    """Print the names of the pages, or write everything into a folder."""
    pages = list(commands("autotune", root()))
    if words == ["--names"]:
        print("\n".join(f"{name}.1" for name, _ in pages))
        return 0
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(words[0])
    for name, context in pages:
        text = manual(name, context, [page for page, _ in pages])
        (folder / f"{name}.1").write_text(text, "utf-8")
    for shell, file in COMPLETIONS.items():
        (folder / file).write_text(completion(shell), "utf-8")
    return 0


def root() -> click.Context:
    """Return the context of the command `autotune` itself."""
    return click.Context(program, info_name="autotune", **program.context_settings)


def commands(name: str, context: click.Context) -> Iterator[Page]:
    """Yield a command and every command below it."""
    yield name, context
    if isinstance(context.command, click.Group):
        for verb in context.command.list_commands(context):
            command = context.command.get_command(context, verb)
            assert command is not None
            yield from commands(f"{name}-{verb}", click.Context(command, info_name=verb, parent=context))


def manual(name: str, context: click.Context, pages: list[str]) -> str:
    """Return the manual page of a command, in the macros of man(7)."""
    command = context.command
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{name.upper()}" "1" "" "autotune {__version__}" "autotune"',
        ".SH NAME",
        f"{plain(name)} \\- {plain(command.get_short_help_str(200).rstrip('.'))}",
        ".SH SYNOPSIS",
        f"\\fB{plain(context.command_path)}\\fP {plain(usage)}",
        ".SH DESCRIPTION",
    ]
    for text in paragraphs(command.help or ""):
        lines += block(text)
    records = (option.get_help_record(context) for option in command.get_params(context))
    options = [record for record in records if record and record[1]]  # arguments have no text
    lines += [".SH OPTIONS"] if options else []
    for names, text in options:
        lines += [".TP", f"\\fB{plain(names)}\\fP", plain(text)]
    below = [page for page in pages if page.rpartition("-")[0] == name]
    if below and isinstance(command, click.Group):
        lines.append(".SH VERBS")
        for verb in command.list_commands(context):
            inner = command.get_command(context, verb)
            assert inner is not None
            lines += [".TP", f"\\fB{plain(verb)}\\fP", plain(inner.get_short_help_str(200))]
    for text in paragraphs(command.epilog or ""):
        lines += block(text)
    above = [page for page in (name.rpartition("-")[0],) if page]
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{plain(page)}\\fP(1)" for page in [*above, *below])]
    return "\n".join(lines) + "\n"


def paragraphs(text: str) -> list[str]:
    r"""Split a help text; a paragraph that begins with click's `\b` is kept as it is."""
    return [part for part in cleandoc(text).replace("\f", "").split("\n\n") if part.strip()]


def block(text: str) -> list[str]:
    """Return the lines of a paragraph; a literal paragraph that begins with a title is a section."""
    if not text.startswith("\b"):
        return [".PP", plain(" ".join(text.split()))]
    title, *lines = text.removeprefix("\b\n").splitlines()
    if not title.endswith(":"):
        return [".PP", ".nf", *map(plain, [title, *lines]), ".fi"]
    return [f'.SH "{plain(title.rstrip(":").upper())}"', ".nf", *map(plain, lines), ".fi"]


def plain(text: str) -> str:
    """Return text without characters that mean something to troff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{text}" if text.startswith(".") else text


def completion(shell: str) -> str:
    """Return the script that completes the command's words in a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    # not kind.source(): bash's asks the installed bash for its version, which is not that of the user's machine
    return ShellComplete.source(kind(program, {}, "autotune", "_AUTOTUNE_COMPLETE"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
