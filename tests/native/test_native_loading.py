"""The core is off, with a sentence, wherever it was not tried."""

import runpy
import sys
import sysconfig
from pathlib import Path

import pytest
from support.native import CORE, needs_core
from support.profile_builders import make_entry, of_this_machine

import autotune
from autotune import native
from autotune.profiles import folders, profile_files


@pytest.fixture(autouse=True)
def no_wish(monkeypatch):
    monkeypatch.delenv(native.SWITCH, raising=False)


@pytest.mark.parametrize("wish", [None, "force"])
def test_a_free_threaded_python_runs_without_it_whatever_is_wished(monkeypatch, wish):
    if wish is not None:
        monkeypatch.setenv(native.SWITCH, wish)
    monkeypatch.setattr(native, "python_build", lambda: "free-threaded")
    assert "free-threaded" in native.core()
    assert native.refusal() == native.core()


@pytest.mark.parametrize(("no_gil", "answer"), [(1, "false"), (0, "true"), (None, "true")])
def test_it_is_built_for_the_stable_abi_of_a_python_that_has_one(monkeypatch, capsys, no_gil, answer):
    script = Path(__file__).resolve().parents[2] / "scripts" / "list_package.py"
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": no_gil}.get)
    monkeypatch.setattr(sys, "argv", [str(script), "--stable-abi"])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip() == answer


@needs_core
@pytest.mark.parametrize(("name", "tried"), [("TRIED_PYTHON", ((3, 8), (3, 9))), ("TRIED_NUMPY", frozenset({"1.26"}))])
def test_versions_that_were_not_tried_run_without_it_unless_it_is_forced(monkeypatch, name, tried):
    monkeypatch.setattr(native, name, tried)
    refusal = native.core()
    assert "not tried" in refusal
    assert "AUTOTUNE_NATIVE=force" in refusal
    assert native.refusal() is not None  # so that `calibrate` measures no loops
    monkeypatch.setenv(native.SWITCH, "force")
    assert native.core() is CORE
    assert native.refusal() is None


def test_it_can_be_turned_off(monkeypatch):
    monkeypatch.setenv(native.SWITCH, "0")
    assert "AUTOTUNE_NATIVE=0" in native.core()
    assert native.refusal() == native.core()


@needs_core
@pytest.mark.parametrize("limit", ["AUTOTUNE_CPUS", "OMP_NUM_THREADS"])
def test_with_one_cpu_no_loop_is_met(monkeypatch, tmp_path, limit):
    from support.profile_builders import alone

    alone(monkeypatch, tmp_path)
    monkeypatch.setenv(limit, "1")
    choice = {"workers": 2, "chunk": 1000}
    entries = [make_entry(name, choice=choice, n=10_000) for name in ("loop_add", "loop_sqrt")]
    profile_files.write(of_this_machine(*entries), folders.user_profiles() / "mine.yaml")
    with autotune.apply():
        assert autotune.explain().loops is None
