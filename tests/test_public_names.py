"""Each public name is documented in numpydoc's sections, with an example that runs."""

import doctest
import inspect
import re

import pytest

import autotune

NAMES = sorted(set(vars(autotune)["_HOMES"]) - {"AutotuneError"})


@pytest.mark.parametrize("name", NAMES)
def test_a_public_function_has_all_sections(name):
    function = getattr(autotune, name)
    text = inspect.getdoc(function)
    headings = re.findall(r"^(\w+)\n-+$", text, re.MULTILINE)
    parameters = inspect.signature(function).parameters
    expected = {"Examples", *(["Parameters"] if parameters else [])}
    assert expected <= set(headings)
    assert [given for given in parameters if not re.search(rf"\b{given}\b", text)] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_function_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
    function = getattr(autotune, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
