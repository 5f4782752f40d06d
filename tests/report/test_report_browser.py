"""The page in a real browser: it draws, complains of nothing, and shows the profile's numbers."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from autotune.model.entry import Status
from autotune.report.page import page

FIGURES = json.loads(files("autotune.report").joinpath("figures.json").read_text("utf-8"))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.real, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]


class Page(HTMLParser):
    """Figures of a drawn page: their kind, whether an SVG is in their plot, and the rows of their table."""

    def __init__(self, text):
        super().__init__()
        self.figures = []
        self.drawn = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "html":
            self.drawn = attrs.get("data-drawn")
        elif tag == "figure":
            self.figures.append({"kind": attrs["data-kind"], "marks": 0, "fields": [], "rows": []})
        elif tag == "path" and self.figures:
            self.figures[-1]["marks"] += 1
        elif tag == "th" and attrs.get("scope") == "col" and self.figures:
            self.figures[-1]["fields"].append(attrs["data-field"])
        elif tag == "tr" and self.figures:
            self.figures[-1]["rows"].append([])
        elif tag in {"th", "td"} and self.figures and self.figures[-1]["rows"]:
            self.figures[-1]["rows"][-1].append(attrs.get("data-v"))

    def rows(self, kind):
        """Rows as dictionaries, of the first figure of a kind."""
        figure = next(figure for figure in self.figures if figure["kind"] == kind)
        return [dict(zip(figure["fields"], row, strict=True)) for row in figure["rows"][1:]]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Opens a page of subjects; returns what the browser made of it and what it said."""
    folder = tmp_path_factory.mktemp("browser")

    def open_page(*subjects):
        path = folder / f"page-{len(subjects)}.html"
        path.write_text(page(subjects), encoding="utf-8")
        words = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'user'}")
        words += ("--enable-logging=stderr", "--virtual-time-budget=60000", "--dump-dom", path.as_uri())
        done = subprocess.run(
            [BROWSER, *words], capture_output=True, text=True, timeout=300, check=True, encoding="utf-8"
        )
        return Page(done.stdout), re.findall(r"CONSOLE.*", done.stderr), path

    return open_page


@pytest.fixture(scope="module")
def subjects_page(opened, subject):
    """The page of the subject, opened once."""
    return opened(subject)


def test_every_figure_is_drawn_without_a_word_on_the_console(subjects_page):
    page, said, path = subjects_page
    assert said == []
    assert page.drawn is not None
    assert {figure["kind"] for figure in page.figures} == FIGURES.keys() - {"matrix", "times"}
    assert [figure["kind"] for figure in page.figures if not figure["marks"]] == []
    assert path.stat().st_size < 5e6


def test_the_numbers_are_the_profiles(subjects_page, subject):
    page, _, _ = subjects_page
    shown = {(row["default_seconds"], row["speedup"]) for row in page.rows("gain")}
    expected = {
        (repr(entry.evidence.default_seconds), repr(entry.evidence.speedup if entry.status is Status.TUNED else 1.0))
        for entry in subject.profile.entries
    }
    assert shown == expected


def test_twenty_profiles_are_drawn(opened, subject):
    from dataclasses import replace

    page, said, _ = opened(*(replace(subject, label=f"node-{number}", sessions=()) for number in range(20)))
    assert (said, page.drawn is not None) == ([], True)
    assert [figure["kind"] for figure in page.figures if not figure["marks"]] == []


def test_paper_gets_every_figure_before_any_was_scrolled_to(subject, tmp_path):
    """A page that draws nothing by itself prints the same as one that has drawn all."""
    whole = page([subject])
    (tmp_path / "drawn.html").write_text(whole, encoding="utf-8")
    (tmp_path / "idle.html").write_text(whole.replace("\ndrawAll();\n", "\n"), encoding="utf-8")
    words = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}")
    bytes_of = {}
    for name in ("drawn", "idle"):
        paper = tmp_path / f"{name}.pdf"
        words_here = (*words, f"--print-to-pdf={paper}", (tmp_path / f"{name}.html").as_uri())
        subprocess.run([BROWSER, *words_here], capture_output=True, timeout=300, check=True)
        bytes_of[name] = paper.stat().st_size
    assert bytes_of["idle"] == pytest.approx(bytes_of["drawn"], rel=0.05)
