"""A calibration of a user's function sees the thread pools at work in it, once, and tunes their threads."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from support.fake_bench import FakeBench
from support.profile_builders import alone

from autotune.bench.selftest import SelfTest
from autotune.bench.user_workload import UserWorkload
from autotune.host.usable_cpus import usable_cpus
from autotune.model.configuration import Configuration
from autotune.search import runner
from autotune.search.journal import Header, journal_path
from autotune.search.request import Request

pytestmark = pytest.mark.skipif(usable_cpus()[0] < 2, reason="with one CPU there is nothing to choose")

OWN = UserWorkload(name="own", sizes=("rows",))
REQUEST = Request(workload=OWN, sizes=({"rows": 100}, {"rows": 9000}, {"rows": 1000}), budget_seconds=60)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine on which one OpenMP thread is twice as fast; its pools are those of `pools`."""
    alone(monkeypatch, tmp_path)
    seen = SimpleNamespace(pools=("blas", "openmp"), trials=[])

    class Bench(FakeBench):
        scrubbed = ()
        environ = {}  # noqa: RUF012 - never changed

        def __init__(self, **_):
            super().__init__(lambda _, chosen, __: 0.05 if chosen.openmp_threads == 1 else 0.1)

        def pools_at_work(self, operation, seconds):
            seen.trials.append(operation.size["rows"])
            return seen.pools

    monkeypatch.setattr(runner, "ProcessBench", Bench)
    monkeypatch.setattr(runner, "host_lock", nullcontext)
    monkeypatch.setattr(runner, "run_selftest", lambda *_, **__: SelfTest(seconds=1.0))
    return seen


def calibrated(request=REQUEST, **more):
    """The choices of a calibration."""
    outcome = runner.calibrate_machine(request, report=lambda _: None, **more)
    return {entry.choice for entry in outcome.profile.entries}


def test_threads_of_a_pool_that_is_at_work_are_tuned(machine):
    (chosen,) = calibrated()
    assert chosen == Configuration(openmp_threads=1)


def test_where_no_other_pool_is_at_work_only_blas_threads_are_tried(machine):
    machine.pools = ("blas",)
    assert calibrated() == {Configuration()}


def test_where_no_pool_is_at_work_there_is_nothing_to_set(machine):
    machine.pools = ()
    outcome = runner.calibrate_machine(REQUEST, report=lambda _: None)
    (reason,) = {entry.reason for entry in outcome.profile.entries}
    assert "no threads of a library were at work" in reason


def test_the_largest_size_tells_which_pools_are_at_work(machine):
    calibrated()
    assert machine.trials == [9000]


def test_a_resumed_calibration_goes_on_with_the_pools_that_were_seen(machine):
    calibrated()
    calibrated(resume=True)
    assert len(machine.trials) == 1
    header = Header.read(journal_path(runner.this_key()))
    assert header.request.workload.pools == ("blas", "openmp")


def test_operations_of_the_catalogue_need_no_such_trial(machine):
    calibrated(Request(operations=("sqrt",), sizes=({"n": 1_000_000},), budget_seconds=60))
    assert machine.trials == []
