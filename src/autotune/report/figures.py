"""Every kind of figure, in Vega-Lite; its rows come from the table beside it."""

from collections.abc import Mapping

from autotune.report.chart import GAINS, SERIES, Spec, cells, counts, figure, seconds, times

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
    encoding={
        "y": _BY_OPERATION,
        "yOffset": {"field": "place", "type": "quantitative", "scale": {"domain": [-1, 1]}},
    },
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
        "mark": {
            "type": "point",
            "stroke": "var(--default)",
            "fill": "var(--paper)",
            "size": 34,
            "opacity": 1,
        },
        "encoding": {
            "y": {"field": "default_seconds", "type": "quantitative"},
            "tooltip": {"field": "tip"},
        },
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
        "y": {
            "field": "blas_threads",
            "type": "ordinal",
            "sort": "descending",
            "axis": {"title": "BLAS threads"},
        },
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
        "encoding": {
            "y": {"field": "speedup", "aggregate": "max", "type": "quantitative"},
            "stroke": _BY_SIZE,
        },
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
        "mark": {
            "type": "point",
            "stroke": "var(--default)",
            "fill": "var(--paper)",
            "size": 46,
            "opacity": 1,
        },
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
