"""AUTOTUNE_DISABLE=1 switches everything off, whatever a profile says."""

import numpy as np
import pytest
from click.testing import CliRunner
from support.profile_builders import alone, make_entry, of_this_machine

import autotune
from autotune.cli.program import program
from autotune.controls import blas
from autotune.profiles import folders, profile_files
from autotune.runtime.process_settings import ProcessChoice, Setting, process_choice
from autotune.runtime.process_state import state

SIZE = 300_000


@pytest.fixture(params=["1", "yes", "true"])
def disabled(request, monkeypatch, tmp_path):
    """A profile with a choice for everything, and the switch."""
    alone(monkeypatch, tmp_path)
    made = of_this_machine(
        make_entry("svd", choice={"blas_threads": 1}, safe=(1,), m=50, n=50),
        make_entry("log", choice={"workers": 1, "chunk": 1000}, n=SIZE),
        make_entry("sum", choice={"workers": 1, "chunk": 1000}, n=SIZE),
        make_entry("batch_matmul", choice={"workers": 1, "blas_threads": 1}, n=50, tasks=100),
        make_entry("temporaries", choice={"allocator": "retain"}, n=SIZE),
    )
    profile_files.write(made, folders.user_profiles() / "mine.yaml")
    state.replace_setting(Setting())
    assert autotune.config("log", n=SIZE) is not None
    monkeypatch.setenv("AUTOTUNE_DISABLE", request.param)
    monkeypatch.setattr("autotune.profiles.profile_files.read", None)  # not even looked at
    state.replace_setting(Setting())
    yield
    state.replace_setting(Setting())


def test_apply_changes_nothing_and_says_why(disabled):
    before = blas.current()
    with autotune.apply(children=True, allocator="retain", per_call=True, guard=True, record=True) as applied:
        assert (applied.blas_threads, applied.why) == (None, "AUTOTUNE_DISABLE switches autotune off.")
        assert (blas.current(), state.per_call, state.demand) == (before, None, None)
        assert (state.setting.exported, state.setting.allocator) == ({}, None)


def test_nothing_is_looked_up(disabled):
    assert autotune.config("svd", n=50) is None
    assert process_choice() == ProcessChoice(None, "AUTOTUNE_DISABLE switches autotune off.")
    with autotune.tuned("svd", n=50) as choice:
        assert choice is None or choice.is_default


def test_explain_says_that_it_is_switched_off(disabled):
    explanation = autotune.explain()
    assert (explanation.failure, explanation.operations) == ("AUTOTUNE_DISABLE switches autotune off.", ())
    assert str(explanation) == "NumPy runs as it would without autotune: AUTOTUNE_DISABLE switches autotune off."


def test_arrays_and_tasks_are_worked_on_as_by_plain_numpy(disabled):
    x = np.linspace(1.0, 2.0, SIZE)
    assert np.array_equal(autotune.map_blocks(np.log, x), np.log(x))
    assert autotune.reduce_blocks(np.add, x) == pytest.approx(np.sum(x))
    with autotune.executor("batch_matmul", n=50) as pool:
        assert (pool.workers, pool.blas_threads) == (1, None)
        assert list(pool.map(abs, [-1, 2])) == [1, 2]


def test_strict_does_not_raise_for_a_switch_of_the_users(disabled):
    assert autotune.apply(strict=True).blas_threads is None


def test_the_command_line_exports_nothing(disabled):
    result = CliRunner().invoke(program, ["env"])
    assert "export" not in result.stdout
    assert "AUTOTUNE_DISABLE" in CliRunner().invoke(program, ["explain"]).stdout


@pytest.mark.parametrize("off", ["", "0"])
def test_an_empty_switch_or_zero_switches_nothing_off(off, monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("AUTOTUNE_DISABLE", off)
    state.replace_setting(Setting())
    assert autotune.explain().failure is None
    state.replace_setting(Setting())
