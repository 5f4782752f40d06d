"""The page's script and figures travel with the package."""

import sys
from importlib.resources import files
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

REPORT = files("autotune.report")


def test_the_shipped_figures_are_those_that_the_script_compiles_to():
    pytest.importorskip("vl_convert", reason="needs vl-convert-python")
    from vega_figures import compile_figures

    assert REPORT.joinpath("figures.json").read_text("utf-8") == compile_figures()


def test_the_script_cannot_end_its_element():
    assert "</script" not in REPORT.joinpath("vega.js").read_text("utf-8").lower()


def test_the_licences_of_the_script_come_along():
    licences = REPORT.joinpath("vega-licenses.txt").read_text("utf-8")
    assert "BSD 3-Clause" in licences
    assert "ISC License" in licences
