"""Copies of a trial that run at once."""

import os

import pytest
from support.behaving_work import behaving, case_of

from autotune.bench.process_bench import ProcessBench
from autotune.model.catalogue import operation
from autotune.model.configuration import Configuration
from autotune.model.measurement import Case, FailureKind, TrialPlan

TWO, THREE = Configuration(workers=2), Configuration(workers=3)

pytestmark = pytest.mark.real


def _run(name, *configurations, copies, log):
    environ = {**os.environ, "AUTOTUNE_TEST_LOG": str(log)}
    bench = ProcessBench(workloads=behaving(name), copies=copies, environ=environ)
    return bench.run(TrialPlan(cases=(case_of(name, *configurations),), rounds=1, seconds=0.0)).measurements


def test_every_copy_runs_the_arm_that_is_timed(tmp_path):
    _run("telling", TWO, copies=3, log=tmp_path / "log")

    calls = {tuple(line.split()) for line in (tmp_path / "log").read_text().splitlines()}
    assert len({pid for pid, _ in calls}) == 3
    assert {(pid, workers) for pid, _ in calls for workers in "12"} == calls


def test_a_choice_at_which_a_copy_dies_fails_and_the_others_get_their_turn(tmp_path):
    default, failed, other = _run("dying_copies", TWO, THREE, copies=2, log=tmp_path / "log")

    assert failed.failure.kind is FailureKind.PROTOCOL
    assert "A copy that ran at the same time ended" in failed.failure.reason
    assert len(default.seconds) == len(other.seconds) == 1


def test_linear_algebra_of_the_catalogue_is_measured_in_copies():
    case = Case(operation=operation("cholesky", n=64), configurations=(Configuration(blas_threads=1),))

    session = ProcessBench(copies=2).run(TrialPlan(cases=(case,), rounds=2, seconds=0.0))

    assert [trial.failure for trial in session.measurements] == [None, None]
