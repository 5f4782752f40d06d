"""Beside neighbours the choice that stays good wins, if it is no slower without them."""

import pytest
from support.fake_bench import FakeBench

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Status
from autotune.model.measurement import Failure, FailureKind
from autotune.search.environment import Site
from autotune.search.pipeline import calibrate
from autotune.search.request import Request

CRASH = Failure(kind=FailureKind.CRASH, reason="It crashed with SIGSEGV.")


class Machine:
    """A bench that answers by BLAS threads, with one table beside neighbours and one without."""

    def __init__(self, beside, quiet):
        self.loud, self.calm = (
            FakeBench(lambda _, one, __, t=table: t[one.blas_threads]) for table in (beside, quiet)
        )

    def run(self, plan):
        return (self.calm if plan.quiet else self.loud).run(plan)


def decided(machine, *, neighbours=2, cpus=3):
    request = Request(
        operations=("cholesky",), sizes=({"n": 500},), budget_seconds=100, neighbours=neighbours
    )
    site = Site(usable_cpus=cpus, default_threads=cpus, neighbours=neighbours)
    (entry,) = calibrate(request, site=site, bench=machine, report=lambda _: None)
    return entry


def test_a_choice_that_is_good_beside_neighbours_and_no_slower_without_them_stands_and_says_both():
    entry = decided(Machine({None: 0.04, 1: 0.02, 2: 0.03}, {None: 0.02, 1: 0.02, 2: 0.02}))
    assert (entry.status, entry.choice) == (Status.TUNED, Configuration(blas_threads=1))
    assert entry.ratio == pytest.approx(0.5)
    assert entry.reason == (
        "Proved faster in 3 fresh processes. Measured beside 2 busy processes. "
        "Without the neighbours 1.000 times the default's time, 95 % interval 1.000 to 1.000."
    )


def test_the_best_beside_neighbours_gives_way_to_one_that_is_no_slower_without_them():
    entry = decided(Machine({None: 0.04, 1: 0.02, 2: 0.03}, {None: 0.02, 1: 0.03, 2: 0.02}))
    assert entry.choice == Configuration(blas_threads=2)


def test_what_is_slower_without_neighbours_is_never_chosen():
    entry = decided(Machine({None: 0.04, 1: 0.02, 2: 0.03}, {None: 0.02, 1: 0.03, 2: 0.03}))
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)


def test_a_choice_that_fails_without_neighbours_only_under_test_is_refused_with_what_was_measured():
    class Turning(Machine):
        """After the first look the quiet machine is another one."""

        def run(self, plan):
            if plan.quiet and self.calm.plans:
                self.calm.answer = lambda _, one, __: {None: 0.02, 1: 0.025, 2: 0.025}[one.blas_threads]
            return super().run(plan)

    entry = decided(Turning({None: 0.04, 1: 0.02, 2: 0.03}, {None: 0.02, 1: 0.02, 2: 0.02}))
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert entry.reason == (
        "blas_threads=1 was proved beside the neighbours, but without them it takes 1.250 times the default's time, "
        "95 % interval 1.250 to 1.250."
    )


def test_a_choice_that_crashes_without_neighbours_is_not_chosen():
    entry = decided(Machine({None: 0.04, 1: 0.02, 2: 0.03}, {None: 0.02, 1: CRASH, 2: CRASH}))
    assert entry.choice == DEFAULT


def test_a_machine_that_is_never_quiet_proves_nothing_without_neighbours():
    machine = Machine({None: 0.04, 1: 0.02, 2: 0.03}, {None: 0.02, 1: 0.02, 2: 0.02})
    machine.calm.taken = 0.5
    entry = decided(machine)
    assert (entry.status, entry.choice) == (Status.NOISY, DEFAULT)
    assert "without them it was never quiet. Others disturbed" in entry.reason


def test_what_was_seen_beside_neighbours_is_no_evidence_for_sizes_in_between():
    entry = decided(Machine({None: 0.04, 1: 0.02, 2: 0.03}, {None: 0.02, 1: 0.02, 2: 0.02}))
    assert (entry.alternatives, entry.safe_threads) == ((), (3,))


def test_without_neighbours_no_plan_asks_for_quiet():
    machine = Machine({None: 0.04, 1: 0.02, 2: 0.03}, {})
    assert decided(machine, neighbours=0).status is Status.TUNED
    assert machine.calm.plans == []
