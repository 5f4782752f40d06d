"""What all figures share: colours, scales, axes and the frame, in Vega-Lite. Colours are names of the style
sheet's, so that light, dark and paper are its business.
"""

from typing import Any

Spec = dict[str, Any]

GAINS = (0.5, 0.8, 0.95, 1.05, 1.25, 1.6, 2.5)
"""Speed-ups at which a cell changes its colour."""
CELLS = tuple(f"var(--cell-{place})" for place in range(len(GAINS) + 1))
SERIES = tuple(f"var(--series-{place})" for place in range(8))

CONFIG: Spec = {
    "background": None,
    "padding": 2,
    "font": "system-ui, sans-serif",
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "gridColor": "var(--grid)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 150,
        "labelOverlap": "greedy",
        "tickSize": 4,
    },
    "axisX": {"labelBound": 14, "labelSeparation": 6},
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
    "legend": {
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "orient": "bottom",
        "columns": 2,
        "symbolStrokeWidth": 2,
        "labelLimit": 220,
    },
    "range": {"category": list(SERIES), "ordinal": list(SERIES)},
}

_DIGIT = "round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))"


def _written(along: str, digits: str = "1, 2, 5") -> str:
    """Is a tick of a log axis written? The round ones are; all are where it spans less than a factor of two."""
    return f"domain('{along}')[1] < 2 * domain('{along}')[0] || indexof([{digits}], {_DIGIT}) >= 0"


def _log(field: str, along: str, title: str | None, label: str) -> Spec:
    """What is written has a tick on the axis across, and a line through the figure on the upright one."""
    shown = {"condition": {"test": _written(along), "value": 1}, "value": 0}
    marks = {"grid": False, "tickOpacity": shown} if along == "x" else {"gridOpacity": shown}
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 26},
        "axis": {"title": title, "labelExpr": label, **marks},
    }


def counts(field: str, title: str) -> Spec:
    """Elements, across: 2k stands for 2000."""
    label = f"{_written('x')} ? format(datum.value, datum.value < 1000 ? 'd' : '.3~s') : ''"
    return _log(field, "x", title, label)


def seconds(field: str, *, along: str = "y", title: str | None = None) -> Spec:
    """Times, in the unit that suits each tick."""
    label = (
        f"!({_written(along)}) ? '' : "
        "datum.value >= 1 ? format(datum.value, '~g') + ' s' : datum.value >= 1e-3 ? format(datum.value * 1e3, '~g')"
        " + ' ms' : datum.value >= 1e-6 ? format(datum.value * 1e6, '~g') + ' µs' : format(datum.value * 1e9, '~g')"
        " + ' ns'"
    )
    return _log(field, along, title, label)


def times(field: str, *, along: str = "y", **axis: Any) -> Spec:
    """Speed-ups: 3 is round too, and 0.9 never takes the place of 1."""
    label = f"{_written(along, '1, 2, 3, 5')} ? format(datum.value, '~r') + '×' : ''"
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 16},
        "axis": {"labelExpr": label, **axis},
    }


def figure(*layers: Spec, height: Any = 190, encoding: Spec | None = None, **rest: Any) -> Spec:
    """A figure of layers; `encoding` is what all have in common that draw rows, which reference lines do not."""
    drawn = [
        layer if "data" in layer else {**layer, "encoding": {**(encoding or {}), **layer.get("encoding", {})}}
        for layer in layers
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"name": "rows"},
        "width": 400,  # the page sets its column's
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": CONFIG,
        "layer": drawn,
        **rest,
    }


def cells(field: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"type": "threshold", "domain": list(GAINS), "range": list(CELLS)},
        "legend": None,
    }
