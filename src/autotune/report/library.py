"""Vega, the plotting library, and its compiler, out of the Python package that brings them: no network."""

import re
from functools import cache
from importlib import import_module
from typing import Any

from autotune.errors import EnvironmentProblem


def javascript() -> str:
    """Vega as one script for a page. Takes two seconds. Raises EnvironmentProblem without the package."""
    code: str = _package().javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return re.sub(
        r"<(?=/script|!--)", r"\\x3c", code, flags=re.IGNORECASE
    )  # or a browser takes it for the end


def compiled(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure that was written in Vega-Lite as Vega, which needs no compiler in the page."""
    spec: dict[str, Any] = _package().vegalite_to_vega(figure)
    return spec


@cache
def _package() -> Any:
    try:
        return import_module("vl_convert")
    except ImportError as problem:
        raise EnvironmentProblem(
            "A page needs vl-convert-python, which brings the plotting library: pip install "
            '"numpy-autotune[report]". `autotune report --json` and `--csv` need nothing.'
        ) from problem
