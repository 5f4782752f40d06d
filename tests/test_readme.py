"""The README shows the commands and files that exist."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from autotune.cli import VERBS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def examples():
    """The programs that pages show as they are; test_examples runs them."""
    return {path.read_text("utf-8") for path in (ROOT / "examples").rglob("*.py")}


def blocks(language):
    samples = ((page, block) for page in PAGES for block in FENCE.findall(page.read_text("utf-8")))
    return [
        pytest.param(text, id=f"{page.stem}-{number}")
        for number, (page, (name, text)) in enumerate(samples)
        if name == language and text not in examples()
    ]


def command_lines():
    """Every `autotune VERB ...` that a page shows, in a console or in a sentence."""
    for page in PAGES:
        yield from re.findall(r"\bautotune ([a-z]+)\b([^`\n#)]*)", "\n".join(code_of(page.read_text("utf-8"))))


def code_of(text):
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return [*(span for span in spans if span.startswith("autotune ")), *(body for _, body in FENCE.findall(text))]


@pytest.mark.real
@pytest.mark.parametrize("code", blocks("python"))
def test_every_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
    example = tmp_path / "example.py"
    example.write_text(code, "utf-8")
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_verb_and_option_that_a_page_shows_exists():
    shown = [(verb, rest.split(" -- ")[0]) for verb, rest in command_lines() if verb != "import"]
    assert shown
    unknown = {
        (verb, option)
        for verb, rest in shown
        for option in re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest)
        if option not in options(verb)
    }
    assert unknown == set()


def test_the_readme_shows_every_verb():
    text = (ROOT / "README.md").read_text("utf-8")
    assert {verb for verb in VERBS if f"autotune {verb}" not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    targets = [link for link in LINK.findall(page.read_text("utf-8")) if not link.startswith("http")]
    assert [link for link in targets if not (page.parent / link).exists()] == []


def options(verb):
    assert verb in VERBS, f"`autotune {verb}` is shown but does not exist"
    command = getattr(import_module(f"autotune.cli.{verb}"), verb)
    assert isinstance(command, click.Command)
    every = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    return {name for each in every for parameter in each.params for name in parameter.opts} | {"--help"}


def test_the_readme_is_short_and_begins_with_an_example():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= 900
    assert len(text.partition("```")[0].split()) <= 120


def test_every_path_that_contributing_names_exists():
    paths = re.findall(r"`((?:src|tests|scripts|docs)/[\w./-]+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
