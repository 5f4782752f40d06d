#!/usr/bin/env python3
"""The figures of `autotune report` in Vega-Lite, and their compilation.

    scripts/vega_figures.py            writes figures.json and vega.js into src/autotune/report
    scripts/vega_figures.py --check    exit code 1 if figures.json is not what this file compiles to

A page holds its rows in tables; each figure is drawn from the table below it. Colours are variables of the style sheet,
which defines them for light, dark and paper. Needs vl-convert-python, which holds Vega and the compiler.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parents[1] / "src/autotune/report"
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
    """Mark text by a tick on the horizontal axis, and by a line through the figure on the vertical one."""
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


_ONE = {
    "data": {"values": [{}]},
    "mark": {"type": "rule", "stroke": "var(--line)", "strokeWidth": 1.5},
    "encoding": {"x": {"datum": 1}},
}
_ONE_ACROSS = {**_ONE, "encoding": {"y": {"datum": 1}}}

_BY_OPERATION = {
    "field": "label",
    "type": "nominal",
    "sort": {"field": "speedup", "op": "max", "order": "descending"},
    "axis": {"title": None, "grid": True, "bandPosition": 1},
}

GAIN = figure(
    _ONE,
    {
        "mark": {"type": "rule", "stroke": "var(--tuned)", "strokeWidth": 5, "opacity": 0.28},
        "encoding": {
            "x": times("low", along="x", title="times as fast as plain NumPy", orient="top", gridDash=[2, 3]),
            "x2": {"field": "high"},
        },
        "transform": [{"filter": "isValid(datum.low)"}],
    },
    {
        "mark": {"type": "point", "filled": True, "size": 52, "opacity": 1, "strokeWidth": 1.5},
        "encoding": {
            "x": times("speedup", along="x"),
            "fill": {
                "condition": {"test": "datum.status == 'tuned'", "value": "var(--tuned)"},
                "value": "var(--paper)",
            },
            "stroke": {
                "condition": [
                    {"test": "datum.status == 'tuned'", "value": "var(--tuned)"},
                    {"test": "datum.status == 'default-kept'", "value": "var(--default)"},
                ],
                "value": "var(--noisy)",
            },
            "shape": {
                "condition": [
                    {"test": "datum.status == 'noisy'", "value": "triangle-up"},
                    {"test": "datum.status == 'failed'", "value": "cross"},
                ],
                "value": "circle",
            },
            "tooltip": {"field": "tip"},
        },
    },
    height={"step": 26},
    encoding={"y": _BY_OPERATION, "yOffset": {"field": "place", "type": "quantitative", "scale": {"domain": [-1, 1]}}},
)

_BY_SHAPE = {"field": "shape", "type": "nominal"}

TIME = figure(
    {
        "mark": {"type": "line", "stroke": "var(--default)", "strokeDash": [4, 3], "strokeWidth": 1.5},
        "encoding": {"y": seconds("default_seconds"), "detail": _BY_SHAPE},
    },
    {
        "mark": {"type": "line", "stroke": "var(--tuned)", "strokeWidth": 2},
        "encoding": {"y": {"field": "seconds", "type": "quantitative"}, "detail": _BY_SHAPE},
    },
    {
        "mark": {"type": "point", "stroke": "var(--default)", "fill": "var(--paper)", "size": 34, "opacity": 1},
        "encoding": {"y": {"field": "default_seconds", "type": "quantitative"}, "tooltip": {"field": "tip"}},
    },
    {
        "transform": [{"filter": "datum.status == 'tuned'"}],
        "mark": {"type": "point", "filled": True, "fill": "var(--tuned)", "size": 46, "opacity": 1},
        "encoding": {"y": {"field": "seconds", "type": "quantitative"}, "tooltip": {"field": "tip"}},
    },
    {
        "transform": [{"filter": "datum.status == 'tuned'"}],
        "mark": {
            "type": "text",
            "dy": 14,
            "fontSize": 10.5,
            "fill": "var(--ink)",
            "stroke": "var(--paper)",
            "strokeWidth": 3,  # a halo: the style sheet paints it under the letters
            "strokeJoin": "round",
        },
        "encoding": {"y": {"field": "seconds", "type": "quantitative"}, "text": {"field": "choice"}},
    },
    encoding={"x": counts("size", "size")},
)


_CELL_TEXT = {
    "mark": {"type": "text", "fontSize": 11},
    "encoding": {
        "text": {"field": "speedup", "type": "quantitative", "format": ".2f"},
        "fill": {
            "condition": {
                "test": f"datum.speedup >= {GAINS[5]} || datum.speedup < {GAINS[0]}",
                "value": "var(--on-cell)",
            },
            "value": "var(--ink)",
        },
    },
}

HEAT = figure(
    {
        "mark": {"type": "rect", "cornerRadius": 3, "stroke": "var(--paper)", "strokeWidth": 2},
        "encoding": {"fill": cells("speedup"), "tooltip": {"field": "tip"}},
    },
    {
        "transform": [{"filter": "datum.chosen == 1"}],
        "mark": {"type": "rect", "cornerRadius": 3, "fill": None, "stroke": "var(--ink)", "strokeWidth": 2},
    },
    _CELL_TEXT,
    width={"step": 46},
    height={"step": 34},
    encoding={
        "x": {
            "field": "workers",
            "type": "ordinal",
            "axis": {"title": "workers", "labelAngle": 0, "domain": False, "ticks": False},
        },
        "y": {"field": "blas_threads", "type": "ordinal", "sort": "descending", "axis": {"title": "BLAS threads"}},
    },
    autosize="pad",
)

_BY_SIZE = {
    "field": "at",
    "type": "nominal",
    "sort": None,
    "scale": {"range": list(SERIES)},
    "legend": {"title": None, "symbolType": "circle"},
}

CHUNK = figure(
    _ONE_ACROSS,
    {
        "mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.8},
        "encoding": {"y": {"field": "speedup", "aggregate": "max", "type": "quantitative"}, "stroke": _BY_SIZE},
    },
    {
        "mark": {"type": "point", "filled": True, "size": 26, "opacity": 0.75},
        "encoding": {
            "y": times("speedup", title=None),
            "fill": {**_BY_SIZE, "legend": None},
            "tooltip": {"field": "tip"},
        },
    },
    {
        "transform": [{"filter": "datum.chosen == 1"}],
        "mark": {"type": "point", "filled": False, "size": 130, "strokeWidth": 1.8, "stroke": "var(--ink)"},
        "encoding": {"y": times("speedup", title=None)},
    },
    encoding={"x": counts("chunk", "elements per chunk")},
)

SEARCH = figure(
    _ONE_ACROSS,
    {
        "transform": [{"filter": "isValid(datum.speedup)"}],
        "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.45},
        "encoding": {
            "y": times("speedup", title=None),
            "fill": {**_BY_SIZE, "legend": None},
            "tooltip": {"field": "tip"},
        },
    },
    {
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.8},
        "encoding": {"y": {"field": "best", "type": "quantitative"}, "stroke": _BY_SIZE},
    },
    encoding={
        "x": {
            "field": "elapsed",
            "type": "quantitative",
            "scale": {"zero": True, "nice": False},
            "axis": {"title": "seconds of search and proof", "grid": False, "tickCount": 6},
        }
    },
)

_SHARE_AXIS = {
    "title": "of what the machine does at most",
    "format": ".0%",
    "orient": "top",
    "tickCount": 6,
    "gridDash": [2, 3],
}

LIMITS = figure(
    _ONE,
    {
        "mark": {"type": "rule", "stroke": "var(--tuned)", "strokeWidth": 2, "opacity": 0.5},
        "encoding": {
            "x": {"field": "default_drawn", "type": "quantitative", "axis": _SHARE_AXIS},
            "x2": {"field": "drawn"},
        },
    },
    {
        "mark": {"type": "point", "stroke": "var(--default)", "fill": "var(--paper)", "size": 46, "opacity": 1},
        "encoding": {"x": {"field": "default_drawn", "type": "quantitative"}, "tooltip": {"field": "tip"}},
    },
    {
        "transform": [{"filter": "datum.status == 'tuned'"}],
        "mark": {"type": "point", "filled": True, "fill": "var(--tuned)", "size": 52, "opacity": 1},
        "encoding": {"x": {"field": "drawn", "type": "quantitative"}, "tooltip": {"field": "tip"}},
    },
    height={"step": 20},
    encoding={
        "y": {
            "field": "label",
            "type": "nominal",
            "sort": {"field": "share", "op": "max", "order": "descending"},
            "axis": {"title": None, "grid": True},
        }
    },
)

NOISE = figure(
    {
        "transform": [{"filter": "isValid(datum.resolution)"}, {"aggregate": [], "groupby": ["resolution"]}],
        "mark": {"type": "rule", "stroke": "var(--noisy)", "strokeWidth": 1.5, "strokeDash": [5, 4]},
        "encoding": {"y": {"field": "resolution", "type": "quantitative"}},
    },
    {
        "mark": {"type": "point", "filled": True, "fill": "var(--tuned)", "size": 34, "opacity": 0.7},
        "encoding": {
            "x": seconds("default_seconds", along="x", title="time of one call"),
            "y": {
                "field": "half_width",
                "type": "quantitative",
                "scale": {"zero": True},
                "axis": {"title": None, "format": ".1%", "tickCount": 5},
            },
            "tooltip": {"field": "tip"},
        },
    },
)

MATRIX = figure(
    {
        "mark": {"type": "rect", "cornerRadius": 2, "stroke": "var(--paper)", "strokeWidth": 1.5},
        "encoding": {"fill": cells("speedup"), "tooltip": {"field": "tip"}},
    },
    _CELL_TEXT,
    width={"step": 38},
    height={"step": 22},
    encoding={
        "x": {
            "field": "profile",
            "type": "nominal",
            "sort": None,
            "axis": {
                "title": None,
                "orient": "top",
                "labelAngle": -40,
                "labelAlign": "left",
                "domain": False,
                "ticks": False,
                "labelLimit": 110,
                "labelOverlap": False,
            },
        },
        "y": {"field": "label", "type": "nominal", "sort": None, "axis": {"title": None}},
    },
    autosize="pad",
)

_BY_PROFILE = {**_BY_SIZE, "field": "profile"}

TIMES = figure(
    {
        "mark": {"type": "line", "strokeWidth": 1, "strokeDash": [4, 3], "opacity": 0.7},
        "encoding": {"y": seconds("default_seconds"), "stroke": _BY_PROFILE},
    },
    {
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {"y": {"field": "seconds", "type": "quantitative"}, "stroke": _BY_PROFILE},
    },
    {
        "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
        "encoding": {
            "y": {"field": "seconds", "type": "quantitative"},
            "fill": {**_BY_PROFILE, "legend": None},
            "tooltip": {"field": "tip"},
        },
    },
    encoding={"x": counts("size", "size"), "detail": _BY_SHAPE},
)

FIGURES: Mapping[str, Spec] = {
    "gain": GAIN,
    "time": TIME,
    "heat": HEAT,
    "chunk": CHUNK,
    "search": SEARCH,
    "limits": LIMITS,
    "noise": NOISE,
    "matrix": MATRIX,
    "times": TIMES,
}


def compile_figures() -> str:
    """Compile every figure to Vega, which needs no compiler in the page."""
    import vl_convert

    compiled = {name: vl_convert.vegalite_to_vega(figure) for name, figure in FIGURES.items()}
    return json.dumps(compiled, indent=None, sort_keys=True, separators=(",", ":")) + "\n"


def bundle_vega() -> str:
    """Return Vega as one script that sets `window.vegaEmbed`."""
    import vl_convert

    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # a browser would take these for the end of the script
    return re.sub(r"<(?=/script|!--)", r"\\x3c", code, flags=re.IGNORECASE)


def main() -> int:
    """Write the files, or check figures.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    figures = compile_figures()
    path = REPORT / "figures.json"
    if parser.parse_args().check:
        return int(path.read_text("utf-8") != figures)
    path.write_text(figures, "utf-8")
    (REPORT / "vega.js").write_text(bundle_vega(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
