"""Choices of tuning a command, on a machine that is a function."""

import pytest
from support.fake_bench import FakeBench

from autotune.bench.command_bench import Command
from autotune.errors import BadBudget
from autotune.model.configuration import Configuration
from autotune.model.entry import Status
from autotune.model.measurement import Failure, FailureKind
from autotune.search.environment import Environment
from autotune.search.machine_states import Capacity
from autotune.search.pipeline import calibrate
from autotune.search.time_budget import Clock
from autotune.search.tune_command import CommandRequest, command_plan


def tuned(takes, *, usable_cpus=4, first_seconds=1.0, said=None, command=None, **asked):
    """The entry of a command that takes so many seconds with a configuration, give or take 1 %."""

    def answer(operation, configuration, luck):
        outcome = takes(configuration)
        return outcome if isinstance(outcome, Failure) else outcome * luck.uniform(0.99, 1.01)

    bench = FakeBench(answer, start_seconds=0.0)
    request = CommandRequest(command=command or Command(words=("x",)), name="command.x", **asked)
    events = [] if said is None else said
    environment = Environment(usable_cpus=usable_cpus)
    plan = command_plan(request, environment, first_seconds)
    entries = calibrate(
        plan,
        environment=environment,
        clock=Clock(bench=bench, budget=request.seconds, elapsed=first_seconds),
        report=events.append,
        capacity=Capacity(usable_cpus=usable_cpus),
    )
    (entry,) = plan.in_order(entries)
    return entry, bench


def test_a_clear_gain_is_proved_at_the_first_look_on_pairs_of_runs():
    entry, _ = tuned(lambda one: 0.5 if one.blas_threads == 2 else 1.0)
    assert (entry.status, entry.choice) == (Status.TUNED, Configuration(blas_threads=2))
    assert (entry.evidence.processes, entry.evidence.pairs) == (6, 6)
    assert 1.96 < entry.evidence.speedup < 2.04


def test_of_equals_the_fewest_threads_win():
    entry, _ = tuned(lambda one: 0.5 if one.blas_threads else 1.0)
    assert entry.choice == Configuration(blas_threads=1)


def test_no_gain_keeps_the_command_as_it_stands():
    entry, _ = tuned(lambda one: 1.0)
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, Configuration())


def test_a_count_that_fails_is_out_and_the_others_go_on():
    crash = Failure(kind=FailureKind.CRASH, reason="It crashed.")
    entry, _ = tuned(lambda one: crash if one.blas_threads == 1 else 0.5 if one.blas_threads == 2 else 1.0)
    assert entry.choice == Configuration(blas_threads=2)


def test_a_command_that_begins_to_fail_is_a_failed_entry_with_the_reason():
    entry, _ = tuned(lambda one: Failure(kind=FailureKind.ERROR, reason="It ended with exit status 1."))
    assert (entry.status, entry.reason) == (
        Status.FAILED,
        "The default failed: It ended with exit status 1.",
    )


def test_workers_and_chunk_are_chosen_together_and_within_the_cpus():
    command = Command(words=("x", "{workers}", "{chunk}"), workers=1, chunk=10)
    entry, bench = tuned(
        lambda one: 0.4 if (one.workers, one.chunk, one.blas_threads) == (2, 20, 2) else 1.0,
        command=command,
        workers=(1, 2, 4),
        chunks=(10, 20),
        seconds=1000.0,
    )
    assert entry.choice == Configuration(blas_threads=2, workers=2, chunk=20)
    asked = {one for plan in bench.plans for case in plan.cases for one in case.configurations}
    assert all(one.cpus <= 4 for one in asked)


def test_time_for_few_runs_is_spent_on_few_counts():
    def counts(seconds):
        _, bench = tuned(lambda one: 1.0, usable_cpus=16, seconds=seconds)
        return [one.blas_threads for one in bench.plans[0].cases[0].configurations]

    assert counts(300.0) == list(range(1, 17))
    assert counts(60.0) == [1, 2, 4, 8, 16]
    assert counts(25.0) == [1, 16]


def test_too_little_time_for_a_proof_is_refused_with_what_it_takes():
    with pytest.raises(BadBudget, match=r"One run takes 30 s.*take 17 of them: allow 612 s"):
        tuned(lambda one: 30.0, first_seconds=30.0)


def test_the_budget_is_kept():
    _, bench = tuned(lambda one: 1.0 if one.blas_threads != 2 else 0.97, usable_cpus=8, seconds=60.0)
    assert bench.clock <= 66.0


def test_fewer_runs_need_less_time():
    entry, _ = tuned(lambda one: 0.3 if one.blas_threads == 1 else 1.0, runs=6, seconds=30.0, usable_cpus=2)
    assert (entry.status, entry.evidence.pairs) == (Status.TUNED, 6)
