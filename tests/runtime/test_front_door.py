"""The public names: few, lazy, documented."""

import pytest
from support.programs import printed

import autotune


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'tune'"):
        _ = autotune.tune


def test_every_public_name_is_listed_and_documented():
    for name in dir(autotune):
        assert getattr(autotune, name).__doc__, name


def test_a_mark_changes_nothing_about_a_function():
    def work(n):
        return n

    assert autotune.workload(work) is work
    assert work.__autotune_workload__ == "work"
    assert autotune.workload(name="other")(work).__autotune_workload__ == "other"
    assert work(3) == 3


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'enum'"), PermissionError(13, "Permission denied")]
)
def test_apply_that_cannot_be_loaded_applies_nothing_and_says_why(monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.delitem(vars(autotune), "apply", raising=False)
    monkeypatch.setattr("importlib.import_module", fail)
    with autotune.apply(reductions=True) as applied:
        assert (applied.blas_threads, applied.in_force) == (None, False)
    assert str(applied) == f"NumPy runs as it would without autotune: {type(error).__name__}: {error}"
    with pytest.raises(type(error)):
        autotune.apply(strict=True)
    with pytest.raises(type(error)):
        _ = autotune.__getattr__("explain")


@pytest.mark.real
def test_importing_autotune_loads_nothing_but_itself():
    code = "import sys; before = set(sys.modules); import autotune; print(*sorted(set(sys.modules) - before))"
    assert printed(code).split() == ["autotune"]
