"""Thread pools that a user's function keeps busy."""

from pathlib import Path

import pytest

from autotune.bench.process_bench import ProcessBench
from autotune.bench.thread_activity import busy_pools
from autotune.bench.user_workload import UserWorkload
from autotune.host.usable_cpus import schedulable_cpus
from autotune.model.operation import Operation

FUNCTIONS = Path(__file__).parent / "workloads" / "pooled.py"


def test_all_loaded_pools_are_named_once_where_other_threads_worked():
    assert busy_pools(["torch", "openmp", "openmp"], own_seconds=1.0, total_seconds=1.8) == ("openmp", "torch")


def test_loaded_pools_that_do_next_to_nothing_are_not_at_work():
    assert busy_pools(["openmp"], own_seconds=0.96, total_seconds=1.0) == ()


def test_a_call_too_short_to_be_timed_has_no_pool_at_work():
    assert busy_pools(["openmp"], own_seconds=0.0, total_seconds=0.0) == ()


def seen(source):
    """The pools that a trial of a function sees at work."""
    workload = UserWorkload(name="own", source=source, sizes=("rows",))
    bench = ProcessBench(workloads={"own": workload})
    try:
        return bench.pools_at_work(Operation(name="own", sizes=(("rows", 5000),)))
    finally:
        bench.close()


@pytest.mark.real
@pytest.mark.skipif(schedulable_cpus() < 2, reason="an OpenMP pool of one CPU has no other threads")
def test_a_trial_sees_the_openmp_pool_of_a_fit():
    pytest.importorskip("sklearn")
    assert "openmp" in seen(f"{FUNCTIONS}:fit")


@pytest.mark.real
def test_a_loaded_pool_that_rests_is_not_at_work():
    pytest.importorskip("sklearn")
    assert seen(f"{FUNCTIONS}:total") == ()


@pytest.mark.real
@pytest.mark.skipif(schedulable_cpus() < 2, reason="BLAS has one thread on one CPU")
def test_a_trial_sees_the_threads_of_blas():
    assert seen(f"{FUNCTIONS.parent / 'behaving.py'}:product") == ("blas",)


@pytest.mark.real
def test_of_a_function_that_fails_blas_is_presumed(tmp_path):
    assert seen(f"{tmp_path}/missing.py:fit") == ("blas",)
