"""The live guard: rare controls, a test that may be looked at at any time, seconds saved."""

import random
from ctypes import CFUNCTYPE, c_int, c_ssize_t, c_void_p, cast
from time import sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.native import CORE, needs_core

from autotune.model.betting import SignTest, median_interval
from autotune.runtime.explanation import saved_text
from autotune.runtime.guard import ALPHA, LONG_SECONDS, Guard, Saved, Watched

pytestmark = needs_core


class Work:
    """Calls whose duration follows from the threads they run with, told to a guard as the core tells it."""

    def __init__(self, seconds, *, default=8):
        self.seconds = seconds
        self.default = default
        self.now = 0.0
        self.ran_with = []
        self.looks = 0
        self.guard = Guard(default=default)

    def run(self, calls, times):
        for _ in range(times):
            control, calls.control = calls.control, False
            self.ran_with.append(self.default if control else calls.threads)
            seconds = self.seconds(self.ran_with[-1])
            self.now += seconds
            calls.nanoseconds += round(seconds * 1e9)
            if calls.threads is None or not (control or seconds >= LONG_SECONDS):
                continue
            if calls.pause and not control:
                calls.pause -= 1
            else:
                self.looks += 1
                self.guard.look(calls, seconds, control)


def tuned():
    return CORE.Calls("qr", "float64", {"m": 100, "n": 100}, threads=1)


def test_at_most_one_long_call_in_a_hundred_runs_with_the_default():
    work = Work(lambda _: 0.01)
    work.run(tuned(), 5000)
    controls = [place for place, threads in enumerate(work.ran_with) if threads == 8]
    assert all(place >= 100 * (rank + 1) for rank, place in enumerate(controls))
    assert len(controls) >= 5000 // 151


def test_the_guard_costs_at_most_a_hundredth_of_the_time_that_the_entry_saves():
    """A control gives up one call's saving; there is one for every hundred calls or more."""
    tuned_seconds, default_seconds, calls = 0.002, 0.003, 20_000
    work = Work(lambda threads: default_seconds if threads == 8 else tuned_seconds)
    work.run(tuned(), calls)
    cost = work.now - calls * tuned_seconds
    saved = calls * default_seconds - work.now
    assert 0 < cost <= 0.01 * saved


def test_calls_between_controls_are_not_looked_at():
    work = Work(lambda _: 0.01)
    work.run(tuned(), 10_000)
    assert work.looks <= 5 * work.ran_with.count(8) + 5


def test_calls_shorter_than_a_millisecond_have_no_control():
    work = Work(lambda _: 0.0009)
    work.run(tuned(), 2000)
    assert set(work.ran_with) == {1}


def test_calls_at_rest_are_passed_on_without_being_timed():
    work = Work(lambda _: 0.01)
    calls = CORE.Calls("svd", "float64", {})
    work.run(calls, 200)
    assert (set(work.ran_with), calls.watched) == ({None}, None)


def test_an_entry_that_always_loses_is_dropped_after_ten_pairs_and_says_so():
    work = Work(lambda threads: 0.01 if threads == 8 else 0.02)
    calls = tuned()
    work.run(calls, 3000)
    (dropped,) = work.guard.dropped
    assert (dropped.pairs, dropped.lost) == (10, 10)
    assert "qr float64 m=100 n=100: the default was faster than 1 BLAS thread in 10 of 10 pairs" in str(dropped)


def test_a_dropped_entry_runs_with_the_default_and_not_with_the_count_at_rest():
    """apply() may have set another count at rest."""
    work = Work(lambda threads: 0.01 if threads == 8 else 0.02)
    calls = tuned()
    work.run(calls, 3000)
    assert calls.threads == 8
    assert set(work.ran_with[-1000:]) == {8}


def test_an_entry_that_wins_stays_and_what_it_saved_is_said():
    work = Work(lambda threads: 0.03 if threads == 8 else 0.02)
    calls = tuned()
    work.run(calls, 3000)
    saved = work.guard.savings(work.now)
    long_calls = work.ran_with.count(1)
    assert (calls.threads, work.guard.dropped) == (1, [])
    assert abs(saved.seconds - 0.01 * long_calls) < 0.02
    assert saved.low <= saved.seconds <= saved.high


def test_with_few_controls_nothing_is_claimed_and_the_choice_is_counted():
    work = Work(lambda threads: 0.03 if threads == 8 else 0.02)
    work.run(tuned(), 400)
    saved = work.guard.savings(work.now)
    assert (saved.seconds, saved.low, saved.high, saved.untold) == (0.0, 0.0, 0.0, 1)


def test_one_disturbed_control_moves_no_claim():
    """A burst of others' work in one control once claimed 544 saved seconds in a run of ten."""
    bursts = iter([100.0])
    work = Work(lambda threads: next(bursts, 0.03) if threads == 8 else 0.02)
    work.run(tuned(), 3000)
    saved = work.guard.savings(work.now)
    assert 0.0 < saved.seconds <= 0.011 * 3000


def test_no_claim_exceeds_the_time_of_the_process():
    work = Work(lambda threads: 3.0 if threads == 8 else 0.002)
    work.run(tuned(), 2000)
    assert work.guard.savings(10.0).high == 10.0
    assert work.guard.savings(10.0).seconds == 10.0


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        (Saved(4.0, 4.0, 4.0), "saved so far by long calls: at least 4."),
        (Saved(-4.0, -4.0, -4.0), "lost so far by long calls: at least 4."),
        (Saved(3.0, 2.0, 4.0), "saved so far by long calls: 3 (95 % interval 2 to 4)."),
        (Saved(0.0, 0.0, 0.0, untold=1), "not known: 1 choice had too few controls"),
    ],
)
def test_what_was_saved_is_told_with_what_is_sure_of_it(saved, text):
    assert text in saved_text(saved)


def test_an_entry_no_slower_than_the_default_is_rarely_dropped():
    """Ville's inequality: the share of sequences that ever reach the bar is at most ALPHA."""
    random.seed(1)
    sequences, dropped = 2000, 0
    for _ in range(sequences):
        test = SignTest()
        for _ in range(200):
            test.add(random.random() - random.random())
            if test.is_proved(ALPHA):
                dropped += 1
                break
    assert dropped <= 1.5 * ALPHA * sequences


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.booleans()), max_size=400))
def test_no_sequence_of_durations_is_too_odd(durations):
    watched = Watched()
    for seconds, control in durations:
        watched.due()
        watched.took(seconds, control=control)
        saved = watched.savings(sum(seconds for seconds, _ in durations))
        assert saved is None or saved.low <= saved.seconds <= saved.high
    assert watched.lost_pairs <= watched.pairs


@pytest.mark.parametrize(("count", "ends"), [(5, None), (6, (0, 5)), (9, (1, 7)), (20, (5, 14)), (100, (39, 60))])
def test_the_interval_of_a_median_is_that_of_the_binomial_distribution(count, ends):
    """Conover, Practical Nonparametric Statistics, table A3."""
    assert median_interval(count) == ends


def test_an_interval_of_the_median_may_be_narrower():
    # of ten values the ninth: the median exceeds it with probability (1 + 10) / 1024, and the eighth with 56 / 1024
    assert median_interval(10, tail=0.05) == (1, 8)
    assert median_interval(4, tail=0.05) is None


def test_the_core_tells_the_guard_of_long_calls_and_runs_controls_with_the_default():
    count = [8]
    get = CFUNCTYPE(c_int)(lambda: count[0])
    put = CFUNCTYPE(c_int, c_ssize_t)(lambda threads: count.__setitem__(0, threads) or 0)
    switch = CORE.Switch(*(cast(function, c_void_p).value for function in (get, put)), 8)
    switch.come_back()
    switch.control = 4
    controls = []

    def look(calls, seconds, control, trial):
        assert trial == 0
        controls.append(bool(control))
        calls.control = len(controls) == 1

    CORE.watch_calls(look, 0.1)
    calls, seen = tuned(), []
    try:
        for seconds in (0.11, 0.0, 0.11, 0.0):
            switch.begin(calls)
            seen.append(count[0])
            sleep(seconds)
            switch.end()
    finally:
        CORE.watch_calls(None)
        switch.stop()
    assert seen == [1, 4, 1, 1]
    assert controls == [False, True, False]
    assert (count, calls.nanoseconds > 0) == ([8], True)


def test_the_core_tells_calls_that_learn_and_runs_one_trial_alone():
    count = [8]
    get = CFUNCTYPE(c_int)(lambda: count[0])
    put = CFUNCTYPE(c_int, c_ssize_t)(lambda threads: count.__setitem__(0, threads) or 0)
    switch = CORE.Switch(*(cast(function, c_void_p).value for function in (get, put)), 8)
    switch.come_back()
    trials, seen = [], []

    def look(calls, seconds, control, trial):
        trials.append((seconds >= 0.0, trial))
        calls.trial = 3 if len(trials) == 1 else 0
        calls.pause = 1 if len(trials) == 2 else 0

    CORE.watch_calls(look, 10.0, 0.0)
    calls, others = CORE.Calls("qr", "float64", {}), CORE.Calls("svd", "float64", {})
    calls.learns = True
    try:
        for _ in range(4):
            switch.begin(calls)
            seen.append(count[0])
            switch.end()
        switch.begin(others)
        switch.begin(calls)
        switch.end()
        switch.end()
    finally:
        CORE.watch_calls(None)
        switch.stop()
    assert seen == [8, 3, 8, 8]
    assert trials == [(True, 0), (True, 3), (True, 0), (False, 0)]
