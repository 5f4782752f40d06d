"""A calibration measures the wait policy once, and its trials run under it."""

from dataclasses import replace

import pytest
from support.profile_builders import alone, of_this_machine

from autotune.bench.blas_wait import BlasWait
from autotune.bench.selftest import SelfTest
from autotune.controls.wait_policy import DEFAULT_EXPONENT, VARIABLE
from autotune.profiles import folders, profile_files
from autotune.search import runner
from autotune.search.request import Request

MEASURED = BlasWait(exponent=20, loops={"functions": 1_000_000}, seconds=3.0)


@pytest.fixture
def benches(monkeypatch, tmp_path):
    """The benches of the self-tests that were run; each of them takes a second."""
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))  # its lock, which no calibration of this host holds
    monkeypatch.delenv(VARIABLE, raising=False)
    benches = []
    monkeypatch.setattr(runner, "run_selftest", lambda bench, **_: benches.append(bench) or SelfTest(seconds=1))
    return benches


def measure(monkeypatch, answer):
    calls = []
    monkeypatch.setattr(runner, "measure_blas_wait", lambda *_, **wishes: calls.append(wishes) or answer)
    return calls


def examined(seconds, **wishes):
    tested = runner.examine(Request(budget_seconds=seconds, **wishes), report=lambda _: None)
    return tested.blas_wait, dict(tested.loops_after_blas), tested.seconds


def test_trials_run_with_what_was_measured(benches, monkeypatch):
    measure(monkeypatch, MEASURED)
    assert examined(600) == (20, {"functions": 1_000_000}, 4.0)
    assert benches[0].environ[VARIABLE] == "20"


def test_what_the_user_set_stays_in_trials(benches, monkeypatch):
    monkeypatch.setenv(VARIABLE, "24")
    measure(monkeypatch, MEASURED)
    examined(600)
    assert benches[0].environ[VARIABLE] == "24"


@pytest.mark.parametrize(("seconds", "wishes"), [(60, {}), (600, {"neighbours": 1}), (600, {"copies": 2})])
def test_with_little_time_or_in_company_an_earlier_result_holds(benches, monkeypatch, seconds, wishes):
    calls = measure(monkeypatch, MEASURED)
    assert examined(seconds, **wishes)[:2] == (None, {})
    assert VARIABLE not in benches[-1].environ
    earlier = replace(of_this_machine(), key=runner.this_key(), blas_wait=22, loops_after_blas={})
    profile_files.write(earlier, folders.user_profiles() / "mine.yaml")
    assert examined(seconds, **wishes)[:2] == (22, {})
    assert benches[-1].environ[VARIABLE] == "22"
    assert calls == []


def test_what_an_earlier_calibration_chose_is_not_measured_again(benches, monkeypatch):
    calls = measure(monkeypatch, MEASURED)
    loops = {"functions": 9}
    earlier = replace(of_this_machine(), key=runner.this_key(), blas_wait=22, loops_after_blas=loops)
    profile_files.write(earlier, folders.user_profiles() / "mine.yaml")
    assert examined(600)[:2] == (22, loops)
    assert calls == []


@pytest.mark.parametrize(("answer", "exponent"), [(MEASURED, 20), (None, DEFAULT_EXPONENT)])
def test_a_default_that_was_kept_is_measured_again(benches, monkeypatch, answer, exponent):
    measure(monkeypatch, answer)
    earlier = replace(of_this_machine(), key=runner.this_key(), blas_wait=DEFAULT_EXPONENT, loops_after_blas={})
    profile_files.write(earlier, folders.user_profiles() / "mine.yaml")
    assert examined(600)[0] == exponent
