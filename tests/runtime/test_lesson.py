"""Lessons of a running program: simulated programs, whose calls take the time that a function says."""

from math import exp, sin
from random import Random

import pytest

from autotune.runtime.lesson import (
    LEAST_RISK,
    OVERDUE_CALLS,
    SHARE,
    Account,
    CallThreads,
    Candidates,
    Lesson,
    Pairing,
    next_count,
)


class Program:
    """Calls of one operation, one after another; the clock is the sum of what they take."""

    def __init__(self, seconds, *, seed=0, rest=8, most=8, noise=0.03, bursts=False, account=None, candidates=None):
        self.seconds_of = seconds
        self._random = Random(seed)
        self._noise = noise
        self._bursts = bursts
        self._burst = 0
        candidates = candidates or Candidates(most, rest)
        self.rest = candidates.default
        self._is_loop = candidates.most_slices > 1
        self.account = account or Account()
        self.lesson = Lesson(candidates, self.account)
        self.pairing = Pairing(self.lesson, self._random.random)
        self.counts = []
        self._following = None

    def run(self, calls):
        for _ in range(calls):
            trial = self._following
            chosen = trial or self.lesson.choice or self.rest
            count = chosen if self._is_loop else chosen.threads
            self.counts.append(count)
            seconds = self.seconds_of(count) * self._luck()
            self.account.total_seconds += seconds
            self._following = None
            if self.lesson.choice is None:
                self._following = self.pairing.took(seconds, trial=trial is not None)
        return self

    def _luck(self):
        factor = exp(self._random.gauss(0.0, self._noise))
        if self._bursts:
            factor *= 1.0 + 0.3 * sin(len(self.counts) / 50)  # drift
            if not self._burst and self._random.random() < 0.01:
                self._burst = self._random.randint(1, 20)
            if self._burst:
                self._burst -= 1
                factor *= 1.5 + self._random.random()
        return factor

    @property
    def calls_until_chosen(self):
        """Calls before the choice, None without one."""
        if self.lesson.choice is None:
            return None
        choice = self.lesson.choice if self._is_loop else self.lesson.choice.threads
        return len(self.counts) - next(
            place for place, count in enumerate(reversed([*self.counts, 0])) if place and count != choice
        )


def many_cpus(count):
    """64 CPUs, the best of 12 threads."""
    return 0.5e-3 * (12 / count + count / 12)


def small_matrix(count):
    return 1e-3 if count == 1 else 2e-3


def test_identical_candidates_with_drift_and_bursts_are_taken_for_faster_in_at_most_1_percent_of_programs():
    programs = [Program(lambda _: 1e-3, seed=seed, bursts=True).run(1000) for seed in range(400)]
    assert sum(program.lesson.choice is not None for program in programs) <= 4


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_on_64_cpus_the_optimum_of_12_threads_is_reached_within_400_calls(noise):
    programs = [Program(many_cpus, seed=seed, rest=64, most=64, noise=noise).run(400) for seed in range(40)]
    ideal = many_cpus(12)
    reached = [many_cpus(program.counts[-1]) <= 1.05 * ideal for program in programs]
    assert sum(reached) >= 0.95 * len(programs)


@pytest.mark.parametrize(("rest", "best"), [(2, 1), (1, 2)])
def test_of_two_counts_the_faster_one_is_used_at_once_when_it_is_proved(rest, best):
    program = Program(lambda count: 1e-3 if count == best else 2e-3, rest=rest, most=2).run(300)
    assert program.lesson.choice == CallThreads(best)
    assert set(program.counts[200:]) == {best}


def test_a_loss_on_candidates_stays_within_one_percent_of_the_time_by_account():
    for seed in range(20):
        program = Program(lambda count: 1e-3 if count == 8 else 4e-3 / count * 8, seed=seed)
        for _ in range(100):
            program.run(20)
            overshoot = 8 * 4e-3  # of the pair that was under way
            assert program.account.lost_seconds <= SHARE * program.account.total_seconds + overshoot
        lost = sum(program.seconds_of(count) - 1e-3 for count in program.counts)
        assert lost <= SHARE * program.account.total_seconds + overshoot
        assert program.lesson.choice is None


def test_nothing_is_tried_before_the_permitted_loss_has_been_earned():
    """Half the threads may take twice as long: a hundred calls pay for one."""
    program = Program(small_matrix, rest=2, most=2, noise=0.0).run(99)
    assert set(program.counts) == {2}
    assert 1 in program.run(3).counts


def test_a_program_that_calls_a_size_twice_runs_it_as_at_rest():
    assert Program(small_matrix, rest=2, most=2).run(2).counts == [2, 2]


def test_all_lessons_share_one_account():
    account = Account()
    account.total_seconds = 1.0
    program = Program(small_matrix, rest=2, most=2, noise=0.0, account=account).run(2)
    assert program.counts == [2, 1]
    account.lost_seconds = 1.0
    assert set(program.run(50).counts[3:]) == {2}


def test_a_gain_below_the_margin_is_not_taken_up():
    program = Program(lambda count: 1e-3 * (0.995 if count == 4 else 1.0), noise=0.001, seed=1).run(3000)
    assert (program.lesson.choice, program.lesson.candidate) == (None, None)


def test_the_errors_of_all_confirmations_together_are_one_percent():
    account = Account()
    assert sum(account.next_error() for _ in range(100_000)) <= 0.01


def test_a_pair_of_which_a_call_was_disturbed_is_given_up():
    lesson = Lesson(Candidates(2, 2), account := Account())
    account.total_seconds = 1.0
    pairing = Pairing(lesson, lambda: 0.0)
    assert pairing.took(1e-3, trial=False) == CallThreads(1)
    assert pairing.took(-1.0, trial=True) is None
    assert pairing.took(1e-3, trial=False) == CallThreads(1)
    assert pairing.took(2e-3, trial=True) is None
    assert lesson.speedup == pytest.approx(0.5)


def test_a_candidate_whose_call_is_never_told_is_given_up():
    account = Account()
    account.total_seconds = 1.0
    pairing = Pairing(Lesson(Candidates(2, 2), account), lambda: 0.0)
    assert pairing.took(1e-3, trial=False) == CallThreads(1)
    assert {pairing.took(1e-3, trial=False) for _ in range(OVERDUE_CALLS)} == {None}
    assert pairing.took(1e-3, trial=False) == CallThreads(1)


def test_looking_at_short_calls_costs_at_most_1_percent_of_their_time():
    pairing = Pairing(Lesson(Candidates(2, 2), Account()))
    assert pairing.pause(20e-6) * 20e-6 >= 99 * 5e-6
    assert pairing.pause(1e-3) == 0


def two_cpus(cut):
    """A loop of 5 ms in NumPy; the second CPU is away for a tenth of the time, which fine slices make up for."""
    if cut.threads == 1:
        return 5e-3
    return 2.6e-3 if cut.slices > 1 else 2.9e-3


def test_a_loop_of_two_workers_is_at_least_1_7_times_as_fast_within_200_calls():
    programs = [Program(two_cpus, seed=seed, candidates=Candidates(2, most_slices=16)).run(200) for seed in range(40)]
    gains = [5e-3 / two_cpus(program.counts[-1]) for program in programs]
    assert sum(gain >= 1.7 for gain in gains) >= 0.95 * len(programs)
    assert all(program.account.lost_seconds <= SHARE * program.account.total_seconds for program in programs)


def test_identical_cuts_with_drift_and_bursts_are_taken_for_faster_in_at_most_1_percent_of_programs():
    programs = [
        Program(lambda _: 5e-3, seed=seed, bursts=True, candidates=Candidates(2, most_slices=16)).run(1000)
        for seed in range(400)
    ]
    assert sum(program.lesson.choice is not None for program in programs) <= 4


def test_a_loop_that_is_slower_in_slices_stays_numpys_within_the_account():
    for seed in range(20):
        program = Program(
            lambda cut: 5e-3 if cut.threads == 1 else 9e-3, seed=seed, candidates=Candidates(8, most_slices=16)
        )
        program.run(2000)
        lost = sum(program.seconds_of(cut) - 5e-3 for cut in program.counts)
        assert program.lesson.choice is None
        assert lost <= SHARE * program.account.total_seconds + 9e-3  # of the pair that was under way


@pytest.mark.parametrize(
    ("scores", "most", "following"),
    [
        ({(1, 1): 0.0}, 1, None),
        ({(1, 1): 0.0}, 2, (2, 1)),
        ({(1, 1): 0.0, (2, 1): 0.4}, 2, None),
        ({(1, 1): 0.0, (2, 1): -0.4}, 2, (2, 4)),
        ({(1, 1): 0.0, (2, 1): -0.4, (2, 4): -0.5}, 2, (2, 16)),
        ({(1, 1): 0.0, (2, 1): -0.4, (2, 4): -0.3}, 2, None),
        ({(1, 1): 0.0, (2, 1): -0.4, (2, 4): -0.5, (2, 16): -0.6}, 2, None),
        ({(1, 1): 0.0, (2, 1): -0.4}, 8, (4, 1)),
    ],
)
def test_loops_get_workers_first_and_then_finer_slices(scores, most, following):
    candidate = Candidates(most, most_slices=16).following({CallThreads(*cut): score for cut, score in scores.items()})
    assert candidate == (None if following is None else CallThreads(*following))


def test_calls_of_a_loop_with_different_numbers_of_elements_make_a_pair_by_the_time_of_an_element():
    account = Account()
    account.total_seconds = 10.0
    lesson = Lesson(Candidates(2, most_slices=16), account)
    pairing = Pairing(lesson, lambda: 0.0)
    assert pairing.took(2e-3, trial=False, elements=1000) == CallThreads(2)
    assert pairing.took(2e-3, trial=True, elements=2000) is None
    assert lesson.speedup == pytest.approx(2.0)
    pairing = Pairing(lesson, lambda: 1.0)
    assert pairing.took(2e-3, trial=False, elements=1000) == CallThreads(2)
    assert pairing.took(1e-3, trial=True, elements=1000) is None
    assert pairing.took(4e-3, trial=False, elements=2000) is None
    assert lesson.speedup == pytest.approx(2.0)
    assert account.lost_seconds == 0.0


@pytest.mark.parametrize(
    ("scores", "most", "following"),
    [
        ({64: 0.0}, 64, 32),
        ({1: 0.0}, 64, 2),
        ({1: 0.0}, 1, None),
        ({64: 0.0, 32: -0.5}, 64, 16),
        ({64: 0.0, 32: 0.5}, 64, 45),
        ({64: 0.0, 32: -0.5, 16: -0.4}, 64, 23),
        ({2: 0.0, 1: 0.5}, 2, None),
        ({3: 0.0}, 3, 1),
        ({3: 0.0, 1: 0.1}, 3, 2),
    ],
)
def test_counts_are_halved_and_doubled_downhill_and_then_enclosed(scores, most, following):
    assert next_count(scores, most) == following


def test_a_count_next_to_one_that_was_tried_is_not_taken_to_lose_more_than_a_little():
    account = Account()
    lesson = Lesson(Candidates(8, 8), account)
    for _ in range(5):
        lesson.pair(1e-3, 1e-3)  # 4 is as fast as 8
    account.total_seconds = 1.0
    assert lesson.candidate == CallThreads(6)
    assert not lesson.may_begin(1.0)
    assert lesson.may_begin(SHARE / 0.5 * 0.9)
    assert LEAST_RISK < 0.5
