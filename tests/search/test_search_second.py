"""A second host's word: the paired proof of a choice, and nothing else."""

from support.fake_bench import FakeBench
from support.profile_builders import make_entry

from autotune.model.configuration import Configuration
from autotune.model.entry import Status
from autotune.model.measurement import Failure, FailureKind
from autotune.search.cross_confirmation import seconded
from autotune.search.decide import BUDGET
from autotune.search.environment import Site
from autotune.search.pipeline import plan
from autotune.search.request import Request
from autotune.search.sequential_test import LEAN_LOOKS, LEAN_ROUNDS, LOOKS
from autotune.search.time_budget import Clock

SITE = Site(usable_cpus=8, default_threads=8)
ONE = Configuration(blas_threads=1)
CHOSEN = make_entry("qr", choice={"blas_threads": 1}, m=100, n=100)


def word(times, *, budget=100.0):
    """(entry, bench) of a second host on which configurations take these times."""

    def answer(operation, configuration, luck):
        time = times[configuration]
        return time if isinstance(time, Failure) else time * (1 + luck.gauss(0, 0.002))

    bench = FakeBench(answer)
    (entry,) = seconded([CHOSEN], None, site=SITE, bench=bench, clock=Clock(budget=budget))
    return entry, bench


DEFAULT = Configuration()


def test_what_is_faster_here_too_is_confirmed_by_two_processes_that_try_nothing_else():
    entry, bench = word({DEFAULT: 0.010, ONE: 0.005})
    assert (entry.status, entry.choice, entry.processes) == (Status.TUNED, ONE, 2)
    assert len(bench.plans) == 2
    assert {case.configurations for made in bench.plans for case in made.cases} == {(ONE,)}
    assert entry.pairs == 2 * LEAN_ROUNDS


def test_only_what_was_measured_here_is_claimed():
    entry, _ = word({DEFAULT: 0.010, ONE: 0.005})
    assert entry.safe_threads == (1, 8)
    assert entry.alternatives == ()


def test_what_is_no_faster_here_keeps_the_default_and_says_what_was_tested():
    entry, _ = word({DEFAULT: 0.010, ONE: 0.012})
    assert entry.status is Status.DEFAULT_KEPT
    assert entry.choice == DEFAULT
    assert entry.reason.startswith("blas_threads=1 was tested.")
    assert entry.default_seconds is not None


def test_what_fails_here_is_no_word():
    crash = Failure(kind=FailureKind.CRASH, reason="It crashed.")
    entry, _ = word({DEFAULT: 0.010, ONE: crash})
    assert (entry.status, entry.default_seconds) == (Status.DEFAULT_KEPT, None)
    assert entry.reason == "blas_threads=1 failed under test: It crashed."


def test_without_time_nothing_is_said():
    entry, _ = word({DEFAULT: 0.010, ONE: 0.005}, budget=0.1)
    assert (entry.reason, entry.default_seconds) == (BUDGET, None)


def test_a_lean_proof_has_the_error_of_a_whole_one():
    errors = [round(sum(look.error for look in looks), 6) for looks in (LOOKS, LEAN_LOOKS)]
    assert errors == [0.025, 0.025]


def test_proofs_are_lean_only_where_a_second_host_follows():
    looks = [plan(Request(operations=("qr",), seconded=one), SITE)[0].looks for one in (False, True)]
    assert looks == [LOOKS, LEAN_LOOKS]


def test_time_left_at_the_end_goes_to_the_operations_whose_proof_was_cut_off():
    """The slow operation has half of the time at first, the other needs little of its own."""
    times = {"cholesky": 2.0, "qr": 0.01}
    chosen = [make_entry(name, choice={"blas_threads": 1}, n=100) for name in times]
    bench = FakeBench(lambda operation, one, _: times[operation.name] * (1.0 if one.is_default else 0.5))

    entries = seconded(chosen, None, site=SITE, bench=bench, clock=Clock(budget=18.0))

    assert [plan.cases[0].operation.name for plan in bench.plans] == ["cholesky", "qr", "qr", "cholesky"]
    assert {entry.status for entry in entries} == {Status.TUNED}
