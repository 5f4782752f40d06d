"""The documentation is built from the sources, and nothing in it leads nowhere."""

import re
import shutil
import subprocess
import sys
from html import unescape
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks.documentation_tables import TABLES, figure, put_tables, replaced, row
from benchmarks.run_all import BENCHMARKS, newest

import autotune
from autotune import errors
from autotune.cli import VERBS

ROOT = Path(__file__).parents[1]

PACKAGES = ("sphinx", "myst_parser", "pydata_sphinx_theme", "sphinx_click", "numpydoc", "sphinx_copybutton")
needs_sphinx = pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason="needs the dependency group docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once. Warnings and dead links fail it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/build_docs.py", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@needs_sphinx
@pytest.mark.real
def test_the_reference_describes_every_public_name(site):
    page = (site / "reference/python.html").read_text("utf-8")
    assert [
        name for name in vars(autotune)["_HOMES"] if not re.search(rf'id="autotune\.(errors\.)?{name}"', page)
    ] == []
    public = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert [name for name in public if f'id="autotune.errors.{name}"' not in page and name != "Sequence"] == []


@needs_sphinx
@pytest.mark.real
def test_the_reference_says_what_each_verb_says(site):
    page = unescape((site / "reference/command.html").read_text("utf-8"))
    assert [verb for verb in VERBS if f'id="autotune-{verb}"' not in page] == []


@needs_sphinx
@pytest.mark.real
def test_a_dead_link_is_told(tmp_path):
    from build_docs import dead_links

    (tmp_path / "other.html").write_text('<p id="here">', "utf-8")
    (tmp_path / "page.html").write_text(
        '<a href="other.html#here"><a href="other.html#gone"><a href="gone.html"><a href="https://example.com/gone">',
        "utf-8",
    )
    assert list(dead_links(tmp_path)) == [("page.html", "other.html#gone"), ("page.html", "gone.html")]


def test_every_public_name_has_a_docstring():
    assert [name for name in vars(autotune)["_HOMES"] if not getattr(autotune, name).__doc__] == []


def test_the_tables_are_those_of_the_newest_results(tmp_path):
    (tmp_path / "docs").mkdir()
    pages = {path for path, *_ in TABLES}
    for path in pages:
        shutil.copy(ROOT / path, tmp_path / path)
    put_tables(tmp_path, newest())
    assert [path for path in pages if (tmp_path / path).read_bytes() != (ROOT / path).read_bytes()] == []


def test_the_table_of_operations_is_that_of_the_catalogue():
    from build_docs import OPERATIONS, operations_table

    page = (ROOT / "docs/reference/operations.md").read_text("utf-8")
    table = page.partition(OPERATIONS[0])[2].partition(OPERATIONS[1])[0]
    assert table.splitlines() == list(operations_table())


def test_every_benchmark_of_the_project_is_described_and_rerun():
    support = {
        "__init__",
        "run_all",
        "documentation_tables",
        "draw_figures",
        "paired_runs",
        "hardware_bounds",
        "foreign_tests",
        "pnumpy_peer",
        "many_core",
        "score_search",
        "search_families",
        "searchers",
        "advise_programs",
    }
    files = (ROOT / "scripts/benchmarks").glob("*.py")
    there = {path.stem for path in files if not path.stem.startswith("runtime_")} - support
    page = (ROOT / "docs/benchmarks.md").read_text("utf-8")
    assert {name for name in there if f"`scripts/benchmarks/run {name}" in page} == there
    assert {words[0] for words in BENCHMARKS.values()} - support == there


def test_a_page_without_marks_gets_no_table():
    with pytest.raises(ValueError, match="no marks for gains"):
        replaced("A page.", "gains", "| a |")


def test_a_gain_carries_its_interval():
    result = {"name": "log_out", "ratio": 1.714, "low": 1.6749, "high": 1.7551}
    assert figure(result) == "1.71 (1.67 to 1.76)"
    assert row({"benchmarks": {"figures": {"results": [result]}}}, "figures", "log_out") == result
    assert row({"benchmarks": {}}, "figures", "log_out") is None
