"""Modules that are imported later are noticed, and nothing of the import system changes."""

import sys
from importlib import import_module
from itertools import count

import pytest

from autotune.controls import import_hooks
from autotune.controls.import_hooks import expect_no_longer, when_imported

NUMBERS = count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose two private modules come one after the other, as a name that was never imported."""
    name = f"arriving_{next(NUMBERS)}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(f"import {name}.first\nimport {name}.second\nimport {name}.third\n")
    (folder / "first.py").write_text("x = 1\n")
    (folder / "second.py").write_text(f"import {name}.inner\ny = 2\n")
    (folder / "inner.py").write_text("")
    (folder / "third.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    yield name
    sys.meta_path[:] = before


def test_modules_are_noticed_when_all_of_them_have_run_to_their_end(package):
    seen = []
    modules = (f"{package}.first", f"{package}.second")
    when_imported(
        modules, lambda: seen.append((f"{package}.third" in sys.modules, hasattr(sys.modules[modules[1]], "y")))
    )
    assert seen == []
    import_module(package)
    assert seen == [(False, True)]
    import_module("json.tool")
    assert seen == [(False, True)]


def test_modules_that_are_there_are_noticed_at_once_and_nothing_is_left(package):
    import_module(package)
    before, seen = list(sys.meta_path), []
    when_imported((f"{package}.first",), lambda: seen.append(1))
    assert seen == [1]
    assert sys.meta_path == before


def test_what_is_no_longer_expected_does_not_happen(package):
    when_imported((f"{package}.first",), lambda: pytest.fail("it was taken off"))
    expect_no_longer((f"{package}.first",))
    expect_no_longer((f"{package}.second",))
    import_module(package)


def test_there_is_one_watch_however_often_something_is_expected(package):
    for _ in range(5):
        when_imported((f"{package}.first",), lambda: None)
    assert sum(isinstance(finder, import_hooks._Watch) for finder in sys.meta_path) == 1
