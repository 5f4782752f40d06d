"""The figures of docs/believe.md, made from a results file with Vega-Lite, as SVG files. For run_all.

Lines and words are grey, and the ground is clear, so that they read on light and on dark pages.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vl_convert

GREY = "#808488"
BLUE, ORANGE, GREEN, VIOLET = "#3b7dd8", "#d9822b", "#2f9e6e", "#9061c2"
LABELS = {"labelColor": GREY, "titleColor": GREY, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
CONFIG = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {**LABELS, "domainColor": GREY, "tickColor": GREY, "gridColor": GREY, "gridOpacity": 0.2},
    "legend": {**LABELS, "symbolSize": 90},
    "header": LABELS,
}
SEARCHERS = {"autotune": BLUE, "round-robin": GREEN, "tpe": VIOLET, "random": ORANGE}
ROW: Mapping[str, Any] = {"type": "nominal", "title": None, "header": {"labelAngle": 0, "labelAlign": "left"}}
SMALLEST = 0.0001
"""Regret that is drawn for none at all: the axis has no zero."""

Rows = list[Mapping[str, Any]]


def put_figures(folder: Path, results: Mapping[str, Any]) -> None:
    """Draw what the results hold; a figure that was not measured stays as it is."""
    folder.mkdir(exist_ok=True)
    for name, (benchmark, figure) in FIGURES.items():
        rows = results["benchmarks"].get(benchmark, {}).get("results")
        if rows:
            svg = vl_convert.vegalite_to_svg({**figure(rows), "config": CONFIG})
            (folder / f"{name}.svg").write_text(svg + "\n", "utf-8")


def regret(rows: Rows) -> dict[str, Any]:
    """Draw the distance of searches from the optimum, for each noise, from the median to the 95th percentile."""
    values = [
        {
            "noise": row["noise"],
            "searcher": row["searcher"],
            "median": max(row["median_regret"], SMALLEST),
            "p95": max(row["p95_regret"], SMALLEST),
        }
        for row in rows
    ]
    names = list(SEARCHERS)
    across = {
        "type": "quantitative",
        "scale": {"type": "log", "domain": [SMALLEST, 2]},
        "title": "slower than the best configuration: median (dot) to 95th percentile",
        "axis": {"format": "~%", "values": [0.0001, 0.001, 0.01, 0.1, 1]},
    }
    down = {"field": "searcher", "type": "nominal", "sort": names, "title": None}
    colour = {
        "field": "searcher",
        "type": "nominal",
        "scale": {"domain": names, "range": list(SEARCHERS.values())},
        "legend": None,
    }
    return {
        "data": {"values": values},
        "facet": {"row": {**ROW, "field": "noise", "sort": list(dict.fromkeys(row["noise"] for row in rows))}},
        "spacing": 8,
        "spec": {
            "width": 520,
            "height": 70,
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.5},
                    "encoding": {
                        "x": {"field": "median", **across},
                        "x2": {"field": "p95"},
                        "y": down,
                        "color": colour,
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
                    "encoding": {"x": {"field": "median", "type": "quantitative"}, "y": down, "color": colour},
                },
            ],
        },
    }


FIGURES = {"regret": ("simulated", regret)}
"""Each figure with the benchmark that it shows."""
