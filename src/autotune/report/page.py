"""The self-contained HTML page. Pure, except that it reads its style, script and figures from files of this package.

Sections are in the order of a reader's questions: the machine, the speed-ups, the distance to the machine's limits, the
uncertainty, and then each operation. A page of several profiles compares them and leaves out how each was searched.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from autotune._version import __version__
from autotune.report import html, rows
from autotune.report.comparison import comparison
from autotune.report.operation_sections import operations
from autotune.report.overview import facts, gain, header, limits, noise
from autotune.report.rows import Subject

_FOOTER = (
    f"<footer>autotune {html.text(__version__)}. Every figure is drawn from the table below it. Ratios of times were "
    "taken side by side in fresh processes; how, and why the default is kept, is told in the README.</footer>"
    "<noscript><p>The figures need JavaScript; the tables hold all of their numbers.</p></noscript>"
)


def page(subjects: Sequence[Subject], *, library: str | None = None, specs: Mapping[str, Any] | None = None) -> str:
    """Write the page. `library` is Vega as a script and `specs` its figures, both the shipped ones unless given.

    All text from profiles is escaped; nothing is loaded from anywhere.
    """
    library = _asset("vega.js") if library is None else library
    specs = json.loads(_asset("figures.json")) if specs is None else specs
    body = _single(subjects[0]) if len(subjects) == 1 else comparison(subjects)
    cpu = subjects[0].profile.provenance.cpu or "Unknown CPU"
    title = cpu if len(subjects) == 1 else f"{len(subjects)} profiles compared"
    figures = json.dumps({name: specs[name] for name in specs if f'data-kind="{name}"' in body})
    figures = figures.replace("<", "\\u003c")  # or a browser could take a text for the end of the script
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{html.text(title)}</title>",
            '<link rel="icon" href="data:,">',  # or a browser asks for one
            f"<style>\n{_asset('page.css')}</style>\n</head>\n<body>",
            body,
            _FOOTER,
            f'<script type="application/json" id="figures">{figures}</script>',
            f"<script>{library}</script>\n<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n",
        )
    )


def _asset(name: str) -> str:
    return files("autotune.report").joinpath(name).read_text("utf-8")


def _single(subject: Subject) -> str:
    entries = [html.display_row(row) for row in rows.entries(subject)]
    parts = [header(subject, entries)]
    if entries:
        parts += [gain(entries), limits(entries), noise(entries, subject), *operations(subject, entries)]
    else:
        parts.append("<p>The profile has no entries: it changes nothing.</p>")
    parts.append(facts(subject))
    return f"<main>\n{''.join(parts)}\n</main>"
