"""A Configuration put into force, and clamped to the CPUs that may be used."""

from contextlib import contextmanager
from functools import partial
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.controls import allocator, blas, thread_pools
from autotune.controls.apply_configuration import ConfigurationScope
from autotune.controls.blas import BlasThreads
from autotune.controls.blas_setters import Library
from autotune.model.configuration import Allocator, Configuration, Method, clamp

COUNTS = st.none() | st.integers(1, 4096)
CONFIGURATIONS = st.builds(
    Configuration,
    blas_threads=COUNTS,
    openmp_threads=COUNTS,
    workers=COUNTS,
    chunk=COUNTS,
    method=st.none() | st.sampled_from(Method),
    allocator=st.none() | st.sampled_from(get_args(Allocator)),
)
CPUS = st.integers(1, 512)


@contextmanager
def retained(state):
    state["retaining"] = True
    try:
        yield
    finally:
        state["retaining"] = False


@pytest.fixture
def process(monkeypatch):
    """BLAS threads, OpenMP threads and retained memory of a process of eight CPUs, as one dictionary."""
    state = {"threads": 8, "openmp": 8, "retaining": False}
    library = Library(
        api="openblas",
        path="libopenblas",
        get=lambda: state["threads"],
        put=lambda count: state.update(threads=count),
        ceiling=8,
    )
    threads = BlasThreads(lambda: [library])
    openmp = Library(
        api="openmp",
        path="libgomp",
        get=lambda: state["openmp"],
        put=lambda count: state.update(openmp=count),
        ceiling=8,
    )
    monkeypatch.setattr(thread_pools, "limit", BlasThreads(lambda: [openmp]).limit)
    monkeypatch.setattr(blas, "limit", threads.limit)
    monkeypatch.setattr(allocator, "Retained", partial(retained, state))
    return state


BEFORE = {"threads": 8, "openmp": 8, "retaining": False}


@given(CONFIGURATIONS, CPUS)
def test_a_clamped_configuration_fits_the_cpus(configuration, cpus):
    assert clamp(configuration, cpus).cpus <= cpus


@given(CONFIGURATIONS, CPUS)
def test_clamping_changes_nothing_that_fits(configuration, cpus):
    clamped = clamp(configuration, cpus)
    assert (clamped is configuration) == (configuration.cpus <= cpus)
    assert clamp(clamped, cpus) is clamped


@given(CONFIGURATIONS, CPUS)
def test_clamping_only_lowers_counts_and_touches_no_other_knob(configuration, cpus):
    clamped, before = clamp(configuration, cpus).as_dict(), configuration.as_dict()
    assert clamped.keys() == before.keys()
    for knob, value in before.items():
        if knob in {"blas_threads", "openmp_threads", "workers"}:
            assert 1 <= clamped[knob] <= value
        else:
            assert clamped[knob] == value


@pytest.mark.parametrize(
    ("blas_threads", "workers", "cpus", "clamped"),
    [(4, None, 2, (2, None)), (None, 8, 3, (None, 3)), (2, 4, 4, (1, 4)), (4, 2, 6, (3, 2)), (8, 8, 1, (1, 1))],
)
def test_workers_are_kept_and_each_gets_an_equal_share_of_the_cpus(blas_threads, workers, cpus, clamped):
    result = clamp(Configuration(blas_threads=blas_threads, workers=workers), cpus)
    assert (result.blas_threads, result.workers) == clamped


def test_no_usable_cpu_is_refused():
    with pytest.raises(ValueError, match="At least one CPU"):
        clamp(Configuration(), 0)


def test_a_configuration_is_in_force_within_and_gone_after(process):
    with ConfigurationScope(Configuration(blas_threads=2, openmp_threads=3, allocator="retain"), usable_cpus=8):
        assert process == {"threads": 2, "openmp": 3, "retaining": True}
    assert process == BEFORE


def test_an_exception_leaves_the_process_as_before(process):
    chosen = Configuration(blas_threads=2, openmp_threads=3, allocator="retain")
    tuned = ConfigurationScope(chosen, usable_cpus=8)
    with pytest.raises(ZeroDivisionError), tuned:
        raise ZeroDivisionError
    assert process == BEFORE


def test_the_default_touches_nothing(process):
    with ConfigurationScope(Configuration(), usable_cpus=8):
        assert process == BEFORE


def test_what_is_in_force_is_clamped_and_handed_over(process):
    with ConfigurationScope(Configuration(blas_threads=8, workers=2), usable_cpus=4) as in_force:
        assert in_force == Configuration(blas_threads=2, workers=2)
        assert process["threads"] == 2


def test_openmp_threads_of_all_workers_fit_the_cpus(process):
    with ConfigurationScope(Configuration(openmp_threads=8, workers=2), usable_cpus=4) as in_force:
        assert in_force == Configuration(openmp_threads=2, workers=2)
        assert process["openmp"] == 2
    assert process == BEFORE


def test_one_object_serves_nested_and_repeated_blocks(process):
    tuned = ConfigurationScope(Configuration(blas_threads=2), usable_cpus=8)
    for _ in range(2):
        with tuned:
            with tuned:
                assert process["threads"] == 2
            assert process["threads"] == 2
        assert process == BEFORE
