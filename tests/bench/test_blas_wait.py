"""The exponent of the BLAS threads' time-out is chosen by calls in a row and by loops right after a call."""

import itertools
import os
from contextlib import nullcontext
from dataclasses import replace
from random import Random

import pytest
from support.native import needs_core

from autotune.bench.blas_wait import (
    LEAST_SETS,
    MOST_SETS,
    ROUNDS,
    BlasWait,
    choose,
    loops_that_gain,
    measure_blas_wait,
    spin_trial,
)
from autotune.controls.wait_policy import DEFAULT_EXPONENT, VARIABLE
from autotune.model.software import Software


class FakeClock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def fake_trial(factor, clock, seconds, loops):
    """Calls take `factor` times as long as with the default; None: the process dies."""

    def ask(what):
        clock.now += seconds
        if factor is None:
            raise BrokenPipeError
        if what == "loops":
            return loops
        product, qr = factor() if callable(factor) else (factor, factor)
        return {"product": 1e-3 * product, "QR": 2e-3 * qr}

    return nullcontext(ask)


def chosen(slowdowns, *, loops=None, seconds=100.0, turn_seconds=0.1, count=None):
    """Choose by slow-downs: how many times as long calls take as with the default, by exponent."""
    clock = FakeClock()
    started = []

    def start(exponent):
        started.append(exponent)
        return fake_trial(slowdowns.get(exponent, 1.0), clock, turn_seconds, loops or {})

    selected = choose(start, seconds=seconds, clock=clock, pause=lambda: None)
    assert selected is None or selected.seconds == clock.now
    if count is not None:
        count.append(started.count(None))
    return selected and replace(selected, seconds=0.0)


def test_the_shortest_time_out_at_which_calls_in_a_row_lose_nothing_is_chosen():
    assert chosen({20: 1.0, 22: 1.0}) == BlasWait(exponent=20)
    assert chosen({20: 1.1, 22: 1.0}) == BlasWait(exponent=22)


def test_the_default_is_kept_where_calls_lose_by_every_other():
    assert chosen({20: 1.1, 22: 1.06}) == BlasWait(exponent=DEFAULT_EXPONENT)


def test_a_machine_too_noisy_to_tell_keeps_the_default():
    random = Random(0)
    assert chosen({20: lambda: (random.uniform(0.5, 1.7),) * 2, 22: 1.2}) == BlasWait(exponent=DEFAULT_EXPONENT)


def test_a_few_disturbed_turns_change_nothing():
    turns = itertools.cycle([(1.0, 1.0)] * 5 + [(3.0, 3.0)])
    assert chosen({20: lambda: next(turns)}) == BlasWait(exponent=20)


def test_one_kind_of_call_that_loses_is_enough_to_refuse():
    assert chosen({20: lambda: (1 / 1.08, 1.08)}) == BlasWait(exponent=22)


def test_without_the_time_for_enough_sets_nothing_is_said():
    assert chosen({}, seconds=0.1) is None
    count = []
    assert chosen({}, seconds=0.1 * 3 * ROUNDS * (LEAST_SETS - 0.5), count=count) is not None
    assert chosen({}, seconds=1e6, count=count) is not None
    assert count == [LEAST_SETS, MOST_SETS]


def test_turns_that_take_much_longer_than_the_time_allowed_say_nothing():
    assert chosen({}, seconds=10.0, turn_seconds=5.0) is None


def test_a_process_that_dies_says_nothing():
    assert chosen({22: None}) is None


def test_loops_are_cut_right_after_a_call_from_the_least_size_on_at_which_they_gained():
    slow, fast = [1e-3, 1.2e-3], [4e-3, 2.5e-3]
    process = {"arithmetic": [[1000, *slow], [4000, *fast]], "functions": [[1000, *fast], [4000, *fast]]}
    assert loops_that_gain([process] * 4) == {"arithmetic": 4000, "functions": 1000}


def test_a_gain_at_a_small_size_alone_is_none():
    slow, fast = [1e-3, 1.2e-3], [4e-3, 2.5e-3]
    assert loops_that_gain([{"arithmetic": [[1000, *fast], [4000, *slow]]}] * 4) == {}


@pytest.mark.parametrize(
    ("software", "environ", "cpus"),
    [
        (Software(blas="mkl", threading="intel"), {}, 2),
        (Software(blas="openblas", threading="openmp"), {}, 2),
        (Software(blas="openblas", threading="pthreads"), {VARIABLE: "24"}, 2),
        (Software(blas="openblas", threading="pthreads"), {}, 1),
    ],
    ids=["another library", "threads of OpenMP's", "the user has set it", "one CPU"],
)
def test_where_there_is_nothing_to_choose_nothing_is_measured(software, environ, cpus):
    assert measure_blas_wait(software, environ, cpus=cpus, seconds=1e9) is None


@needs_core
@pytest.mark.real
def test_a_process_times_calls_in_a_row_and_loops_right_after_one():
    with spin_trial(dict(os.environ), 2, 20) as ask:
        assert all(seconds > 0 for seconds in ask("calls").values())
        loops = ask("loops")
    assert {kind: sorted({row[0] for row in rows}) for kind, rows in loops.items()} == {
        "functions": [1_000_000],
        "arithmetic": [1_000_000, 4_000_000],
    }


@pytest.mark.real
def test_a_process_that_cannot_measure_raises():
    with spin_trial(dict(os.environ), 2, 20) as ask, pytest.raises((OSError, ValueError)):
        ask("nothing of this kind")
