"""The live guard: rare controls, a test that may be looked at at any time, seconds saved."""

import random

from hypothesis import given
from hypothesis import strategies as st

from autotune.controls.switch import Calls
from autotune.runtime.guard import ALPHA, Guard, Watched


class Work:
    """Calls whose duration follows from the threads they run with, on a clock of its own."""

    def __init__(self, seconds, *, default=8):
        self.seconds = seconds
        self.now = 0.0
        self.ran_with = []
        self.guard = Guard(self, default, clock=lambda: self.now)

    def begin(self, calls):
        self.ran_with.append(calls.threads)

    def end(self, _begun):
        pass

    def run(self, calls, times):
        for _ in range(times):
            begun = self.guard.begin(calls)
            self.now += self.seconds(self.ran_with[-1])
            self.guard.end(begun)


def tuned():
    return Calls("qr", "float64", {"m": 100, "n": 100}, threads=1)


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


def test_the_guard_reads_its_clock_twice_for_a_call_and_not_for_one_at_rest():
    """At 0.1 us each, 2e-4 of the shortest call that may be a control."""
    work, readings = Work(lambda _: 0.002), []
    clock = work.guard._clock
    work.guard._clock = lambda: readings.append(1) or clock()
    work.run(tuned(), 10)
    work.run(Calls("svd", "float64", {}), 10)
    assert len(readings) == 20


def test_guards_of_two_libraries_keep_one_account():
    work = Work(lambda threads: 0.03 if threads == 8 else 0.02)
    other = Work(lambda threads: 0.01 if threads == 8 else 0.02)
    other.guard = work.guard.beside(other, 8)
    other.guard._clock = lambda: other.now
    work.run(tuned(), 3000)
    other.run(tuned(), 3000)
    assert work.guard.saved() == other.guard.saved()
    assert work.guard.saved().seconds > 0
    assert [dropped.pairs for dropped in work.guard.dropped] == [10]


def test_calls_shorter_than_a_millisecond_have_no_control():
    work = Work(lambda _: 0.0009)
    work.run(tuned(), 2000)
    assert set(work.ran_with) == {1}


def test_calls_at_rest_are_passed_on_without_being_timed():
    work = Work(lambda _: 0.01)
    calls = Calls("svd", "float64", {})
    work.run(calls, 200)
    assert (set(work.ran_with), calls.watched) == ({None}, None)


def test_an_entry_that_always_loses_is_dropped_after_ten_pairs_and_says_so():
    work = Work(lambda threads: 0.01 if threads == 8 else 0.02)
    calls = tuned()
    work.run(calls, 3000)
    (dropped,) = work.guard.dropped
    assert (calls.threads, dropped.pairs, dropped.lost) == (None, 10, 10)
    assert str(dropped) == (
        "qr float64 m=100 n=100: the default was faster than 1 BLAS threads in 10 of 10 pairs of calls, "
        "so it is used instead in this process."
    )


def test_an_entry_that_wins_stays_and_what_it_saved_is_said():
    work = Work(lambda threads: 0.03 if threads == 8 else 0.02)
    calls = tuned()
    work.run(calls, 3000)
    saved = work.guard.saved()
    long_calls = work.ran_with.count(1)
    assert (calls.threads, work.guard.dropped) == (1, [])
    assert abs(saved.seconds - 0.01 * long_calls) < 1e-6
    assert saved.low <= saved.seconds <= saved.high


def test_nothing_is_said_to_be_saved_before_five_pairs():
    work = Work(lambda threads: 0.03 if threads == 8 else 0.02)
    work.run(tuned(), 300)
    assert work.guard.saved() is None


def test_an_entry_no_slower_than_the_default_is_rarely_dropped():
    """Ville's inequality: the share of sequences that ever reach the bar is at most ALPHA."""
    random.seed(1)
    sequences, dropped = 2000, 0
    for _ in range(sequences):
        watched = Watched()
        for _ in range(200):
            watched._pair(random.random(), random.random())
            if watched.has_lost:
                dropped += 1
                break
    assert dropped <= 1.5 * ALPHA * sequences


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.booleans()), max_size=400))
def test_no_sequence_of_durations_is_too_odd(durations):
    watched = Watched()
    for seconds, control in durations:
        watched.due()
        watched.took(seconds, control=control)
        saved = watched.saved()
        assert saved is None or saved.low <= saved.seconds <= saved.high
    assert watched.lost <= watched.pairs


def test_an_interrupted_call_is_no_evidence():
    work = Work(lambda _: 0.01)
    calls = tuned()
    work.run(calls, 10)
    work.guard.end(None)
    assert calls.watched.calls == 10
