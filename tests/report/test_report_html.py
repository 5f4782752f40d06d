"""Parts of a page: whatever the text, it stays text; whatever the number, it stays exact."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from autotune.report.html import HtmlColumn, HtmlTable, figure, section, text


class Cells(HTMLParser):
    """The text and the exact value of every cell."""

    def __init__(self, html):
        super().__init__()
        self.cells, self.tags = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in {"td", "th"}:
            self.cells.append([dict(attrs).get("data-v"), ""])

    def handle_data(self, data):
        if self.cells:
            self.cells[-1][1] += data


def table(*rows):
    columns = [HtmlColumn("name", "name"), HtmlColumn("value", "value", "{:.1f}".format)]
    return HtmlTable("A table", columns, [dict(zip(("name", "value"), row, strict=True)) for row in rows])


@given(st.text(max_size=40))
def test_any_text_stays_text(words):
    html = section("x", "A title", "", table((words, 1.0)).html(), text(words))
    assert Cells(html).tags.count("td") == 1
    assert "<script" not in html.lower().replace("&lt;script", "")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_exact_next_to_its_rounded_form(value):
    cells = Cells(table(("a", value)).html()).cells
    assert float(cells[-1][0]) == value


def test_an_unknown_value_is_an_empty_cell():
    value, words = Cells(table(("a", None)).html()).cells[-1]
    assert (value, words.strip()) == (None, "")


def test_a_figure_says_how_many_rows_it_leaves_out():
    html = figure("gain", "A title", table(*(("a", 1.0) for _ in range(5))), "words", most=3)
    assert "The first 3 of 5 rows are drawn." in html
    assert 'aria-label="A title. words"' in html
