"""The exponent of the BLAS threads' time-out is chosen by calls in a row and by loops right after a call."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from support.native import needs_core

from autotune.bench.blas_wait import (
    LEAST_ROUNDS,
    MOST_ROUNDS,
    BlasWait,
    choose,
    loops_that_gain,
    measure_blas_wait,
)
from autotune.controls.wait_policy import DEFAULT_EXPONENT, VARIABLE
from autotune.model.software import Software


class FakeClock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def chosen(slowdowns, *, loops=None, seconds=100.0, trial_seconds=1.0, noise=0.0, count=None):
    """Choose where calls take so many times as long as with the default, by exponent."""
    clock = FakeClock()
    made = []

    def trial(exponent):
        clock.now += trial_seconds
        made.append(exponent)
        wobble = 1 + noise * (-1) ** len(made)
        factor = slowdowns.get(exponent, 1.0)
        if factor is None:
            return None
        return {"calls": {"product": 1e-3 * factor * wobble, "QR": 2e-3 * factor}, "loops": loops or {}}

    found = choose(trial, seconds=seconds, clock=clock)
    assert found is None or found.seconds == clock.now
    if count is not None:
        count.append(len(made))
    return found and replace(found, seconds=0.0)


def test_the_shortest_time_out_at_which_calls_in_a_row_lose_nothing_is_chosen():
    assert chosen({20: 1.0, 22: 1.0}) == BlasWait(exponent=20)
    assert chosen({20: 1.1, 22: 1.0}) == BlasWait(exponent=22)


def test_the_default_is_kept_where_calls_lose_by_every_other():
    assert chosen({20: 1.1, 22: 1.05}) == BlasWait(exponent=DEFAULT_EXPONENT)


def test_a_machine_too_noisy_to_tell_keeps_the_default():
    assert chosen({20: 1.0, 22: 1.0}, noise=0.3) == BlasWait(exponent=DEFAULT_EXPONENT)


def test_one_kind_of_call_that_loses_is_enough_to_refuse():
    def trial(exponent):
        factor = 1.08 if exponent == 20 else 1.0
        return {"calls": {"product": 1e-3 / factor, "QR": 2e-3 * factor}, "loops": {}}

    assert choose(trial, seconds=10, clock=FakeClock()).exponent == 22


def test_without_the_time_for_enough_rounds_nothing_is_said():
    assert chosen({}, seconds=2.0) is None
    count = []
    assert chosen({}, seconds=3.0 * LEAST_ROUNDS, count=count) is not None
    assert chosen({}, seconds=1e6, count=count) is not None
    assert count == [3 * LEAST_ROUNDS, 3 * MOST_ROUNDS]


def test_a_trial_that_fails_says_nothing():
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
def test_a_trial_times_calls_in_a_row_and_loops_right_after_one():
    command = [sys.executable, "-P", "-m", "autotune.bench.spin_trial", "2"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert all(seconds > 0 for seconds in printed["calls"].values())
    assert {kind: sorted({row[0] for row in rows}) for kind, rows in printed["loops"].items()} == {
        "functions": [1_000_000],
        "arithmetic": [1_000_000, 4_000_000],
    }
