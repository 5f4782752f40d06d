"""A calibration measures the wait policy once, and its trials run under it."""

from dataclasses import replace

import pytest
from support.profile_builders import alone, of_this_machine

from autotune.bench.blas_wait import BlasWait
from autotune.bench.selftest import SelfTest
from autotune.controls.wait_policy import VARIABLE
from autotune.profiles import folders, profile_files
from autotune.search import runner
from autotune.search.request import Request

MEASURED = BlasWait(exponent=20, loops={"functions": 1_000_000}, seconds=3.0)


@pytest.fixture
def benches(monkeypatch, tmp_path):
    """The benches of the self-tests that were run; each of them takes a second."""
    alone(monkeypatch, tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    benches = []
    monkeypatch.setattr(
        runner, "run_selftest", lambda bench, **_: benches.append(bench) or SelfTest(seconds=1)
    )
    return benches


def measure(monkeypatch, answer):
    asked = []
    monkeypatch.setattr(runner, "measure_blas_wait", lambda *_, **wishes: asked.append(wishes) or answer)
    return asked


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
    asked = measure(monkeypatch, MEASURED)
    assert examined(seconds, **wishes)[:2] == (None, {})
    assert VARIABLE not in benches[-1].environ
    earlier = replace(of_this_machine(), key=runner.this_key(), blas_wait=22, loops_after_blas={})
    profile_files.write(earlier, folders.user_profiles() / "mine.yaml")
    assert examined(seconds, **wishes)[:2] == (22, {})
    assert benches[-1].environ[VARIABLE] == "22"
    assert asked == []


def test_a_measurement_that_fails_leaves_the_earlier_result(benches, monkeypatch):
    measure(monkeypatch, None)
    earlier = replace(
        of_this_machine(), key=runner.this_key(), blas_wait=22, loops_after_blas={"functions": 9}
    )
    profile_files.write(earlier, folders.user_profiles() / "mine.yaml")
    assert examined(600)[:2] == (22, {"functions": 9})


@pytest.mark.parametrize(("budget", "seconds"), [(120, 8.0), (500, 15.0), (36_000, 20.0)])
def test_it_takes_a_small_share_of_the_budget(benches, monkeypatch, budget, seconds):
    asked = measure(monkeypatch, MEASURED)
    examined(budget)
    assert asked[0]["seconds"] == seconds
