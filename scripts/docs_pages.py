"""Pages of the documentation that are made from elsewhere in the repository. A hook of MkDocs (mkdocs.yml names it).

The README is the first page, so that nothing is said twice; its links are turned to where the pages are. The command
line's page is what the command itself says.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from mkdocs.structure.files import File, Files

from autotune.cli.program import program

ROOT = Path(__file__).resolve().parents[1]

ELSEWHERE = {
    "index.md": "README.md",
    "architecture.md": "src/autotune/README.md",
    "profiles.md": "profiles/README.md",
    "changes.md": "CHANGELOG.md",
}
"""Pages of the site, and the files that they are."""

EXAMPLES = "examples"
SCHEMAS = "src/autotune/profiles"

EVERY_VERB = "<!-- every verb: scripts/docs_pages.py -->"
COLUMNS = 80

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, the examples that pages link to, and each JSON Schema at its `$id`. MkDocs calls it."""
    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text("utf-8")))
    for example in sorted((ROOT / EXAMPLES).rglob("*.*")):
        name = example.relative_to(ROOT).as_posix()
        if "__pycache__" not in name:
            files.append(File.generated(config, name, content=example.read_bytes()))
    for schema in (ROOT / SCHEMAS).glob("*.schema.json"):
        text = schema.read_text("utf-8")
        address = urlsplit(json.loads(text)["$id"]).path.removeprefix("/")
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001 - MkDocs' signature
    """Turn links to where things are in the site, and put the verbs where they belong. MkDocs calls it."""
    name = page.file.src_uri
    text = turned(markdown, ELSEWHERE.get(name, f"docs/{name}"), name)
    if EVERY_VERB not in text:
        return text
    return text.replace(EVERY_VERB, "\n\n".join(helps(program, click.Context(program, info_name="autotune"))))


def turned(text: str, path: str, page: str) -> str:
    """The text of a file of the repository, its links turned into links from a page of the site."""
    pages = {source: name for name, source in ELSEWHERE.items()}

    def target(link: re.Match[str]) -> str:
        place, mark, anchor = link[1].partition("#")
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), place))
        there = pages.get(meant) or meant.removeprefix("docs/")
        return posixpath.relpath(there, posixpath.dirname(page) or ".") + mark + anchor

    return LINK.sub(target, text)


def helps(command: click.Command, context: click.Context) -> Iterator[str]:
    """A section for a command, and those of its own verbs after it."""
    depth = context.command_path.count(" ") + 2
    context.terminal_width = context.max_content_width = COLUMNS
    yield f"{'#' * depth} {context.command_path}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            if verb is not None:
                yield from helps(verb, click.Context(verb, info_name=name, parent=context))
