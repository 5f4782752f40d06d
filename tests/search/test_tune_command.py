"""Choices of tuning a command, on a machine that is a function."""

from math import log

import pytest
from support.fake_bench import FakeBench, pairs

from autotune.bench.command_bench import Command
from autotune.errors import BadBudget
from autotune.model.configuration import Configuration, Knob
from autotune.model.entry import Status
from autotune.model.measurement import Failure, FailureKind
from autotune.search.environment import Environment
from autotune.search.evidence import TrialEvidence
from autotune.search.machine_states import Capacity, Visit
from autotune.search.pipeline import Calibration
from autotune.search.request import Objective
from autotune.search.time_budget import Clock
from autotune.search.tune_command import CommandRequest, command_plan


def tuned(takes, *, usable_cpus=4, first_seconds=1.0, said=None, command=None, cpu_seconds=None, **options):
    """The entry of a command whose time depends on the configuration, give or take 1 %."""

    def answer(operation, configuration, luck):
        outcome = takes(configuration)
        return outcome if isinstance(outcome, Failure) else outcome * luck.uniform(0.99, 1.01)

    bench = FakeBench(answer, start_seconds=0.0, cpu_seconds=cpu_seconds or (lambda _: None))
    request = CommandRequest(command=command or Command(words=("x",)), name="command.x", **options)
    events = [] if said is None else said
    environment = Environment(usable_cpus=usable_cpus)
    plan = command_plan(request, environment, first_seconds)
    capacity = Capacity(usable_cpus=usable_cpus)
    calibration = Calibration(
        plan=plan,
        environment=environment,
        clock=Clock(bench=bench, capacity=capacity, budget=request.seconds, elapsed=first_seconds),
        report=events.append,
    )
    (entry,) = plan.in_order(calibration.entries())
    return entry, bench


def test_a_clear_gain_is_proved_at_the_first_look_on_pairs_of_runs():
    entry, _ = tuned(lambda choice: 0.5 if choice.blas_threads == 2 else 1.0)
    assert (entry.status, entry.choice) == (Status.TUNED, Configuration(blas_threads=2))
    assert (entry.evidence.processes, entry.evidence.pairs) == (6, 6)
    assert 1.96 < entry.evidence.speedup < 2.04


def test_of_equals_the_fewest_threads_win():
    entry, _ = tuned(lambda choice: 0.5 if choice.blas_threads else 1.0)
    assert entry.choice == Configuration(blas_threads=1)


def test_no_gain_keeps_the_command_as_it_stands():
    entry, _ = tuned(lambda _: 1.0)
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, Configuration())


def test_a_count_that_fails_is_out_and_the_others_go_on():
    crash = Failure(kind=FailureKind.CRASH, reason="It crashed.")
    entry, _ = tuned(lambda choice: {1: crash, 2: 0.5}.get(choice.blas_threads, 1.0))
    assert entry.choice == Configuration(blas_threads=2)


def test_a_command_that_begins_to_fail_is_a_failed_entry_with_the_reason():
    entry, _ = tuned(lambda _: Failure(kind=FailureKind.ERROR, reason="It ended with exit status 1."))
    assert (entry.status, entry.reason) == (Status.FAILED, "The default failed: It ended with exit status 1.")


def test_workers_and_chunk_are_chosen_together_and_within_the_cpus():
    command = Command(words=("x", "{workers}", "{chunk}"), workers=1, chunk=10)
    entry, bench = tuned(
        lambda choice: 0.4 if (choice.workers, choice.chunk, choice.blas_threads) == (2, 20, 2) else 1.0,
        command=command,
        workers=(1, 2, 4),
        chunks=(10, 20),
        seconds=1000.0,
    )
    assert entry.choice == Configuration(blas_threads=2, workers=2, chunk=20)
    tried = {choice for plan in bench.plans for case in plan.cases for choice in case.configurations}
    assert all(choice.cpus <= 4 for choice in tried)


def test_time_for_few_runs_is_spent_on_few_counts():
    def counts(seconds):
        _, bench = tuned(lambda _: 1.0, usable_cpus=16, seconds=seconds)
        return [choice.blas_threads for choice in bench.plans[0].cases[0].configurations]

    assert counts(300.0) == list(range(1, 17))
    assert counts(60.0) == [1, 2, 4, 8, 16]
    assert counts(25.0) == [1, 16]


def test_too_little_time_for_a_proof_is_refused_with_what_it_takes():
    with pytest.raises(BadBudget, match=r"One run takes 30 s.*take at least 17 of them, 510 s: allow --budget 11m"):
        tuned(lambda _: 30.0, first_seconds=30.0)


def test_the_budget_is_kept():
    _, bench = tuned(lambda choice: 1.0 if choice.blas_threads != 2 else 0.97, usable_cpus=8, seconds=60.0)
    assert bench.clock <= 66.0


def test_fewer_runs_need_less_time():
    entry, _ = tuned(lambda choice: 0.3 if choice.blas_threads == 1 else 1.0, runs=6, seconds=30.0, usable_cpus=2)
    assert (entry.status, entry.evidence.pairs) == (Status.TUNED, 6)


# --- fewest CPU seconds ---------------------------------------------------------------------------


def threads_of(choice):
    return choice.blas_threads or 4


def test_of_equally_fast_configurations_that_of_fewest_cpu_seconds_is_proved_no_slower():
    entry, _ = tuned(lambda _: 1.0, cpu_seconds=threads_of, objective=Objective.CPU)
    assert (entry.status, entry.choice) == (Status.TUNED, Configuration(blas_threads=1))
    assert entry.evidence.cpu_ratio == pytest.approx(0.25)
    assert 0.98 < entry.evidence.speedup < 1.02
    assert "0.25 of the default's CPU seconds" in entry.reason


def test_what_is_more_than_2_percent_slower_than_the_fastest_saves_no_cpu():
    def takes(choice):
        return {1: 0.55, 2: 0.505}.get(choice.blas_threads, 0.5 if choice.blas_threads else 1.0)

    entry, _ = tuned(takes, cpu_seconds=threads_of, objective=Objective.CPU)
    assert entry.choice == Configuration(blas_threads=2)
    assert entry.evidence.speedup == pytest.approx(2.0, rel=0.02)


def test_the_default_is_kept_where_it_takes_fewest_cpu_seconds():
    entry, _ = tuned(lambda _: 1.0, cpu_seconds=lambda choice: choice.blas_threads or 0.5, objective=Objective.CPU)
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, Configuration())
    assert "fewest CPU seconds" in entry.reason


def test_without_the_objective_nothing_is_chosen_for_its_cpu_seconds():
    entry, _ = tuned(lambda _: 1.0, cpu_seconds=threads_of)
    assert (entry.status, entry.evidence.cpu_ratio) == (Status.DEFAULT_KEPT, None)


def test_where_cpu_seconds_are_not_measured_they_are_the_threads_times_the_time():
    evidence = TrialEvidence(usable_cpus=4, default_cpus=4)
    single = Configuration(blas_threads=1)
    evidence.visits[single].append(Visit(pairs=pairs([1.0, 1.0], [2.0, 2.0]), elapsed=0.0))
    assert evidence.cpu_ratio(single) == pytest.approx(log(0.5))


# --- idle threads that sleep or spin --------------------------------------------------------------


def test_idle_threads_sleep_where_the_command_loads_such_a_runtime_and_gains():
    command = Command(words=("x",), runtimes=frozenset({"openblas", "openmp"}))
    entry, _ = tuned(lambda choice: 0.5 if choice.wait == "sleep" else 1.0, usable_cpus=2, command=command)
    assert entry.choice.wait == "sleep"
    variables = command.variables(entry.choice)
    assert (variables["OPENBLAS_THREAD_TIMEOUT"], variables["OMP_WAIT_POLICY"]) == ("20", "passive")
    assert "KMP_BLOCKTIME" not in variables


def test_a_command_without_such_a_runtime_has_no_such_knob():
    assert Command(words=("x",)).knobs == (Knob.BLAS_THREADS,)


def test_waiting_is_left_alone_where_the_time_is_short():
    command = Command(words=("x",), runtimes=frozenset({"openmp"}))
    _, bench = tuned(lambda _: 1.0, usable_cpus=2, command=command, seconds=30.0)
    tried = {choice for plan in bench.plans for case in plan.cases for choice in case.configurations}
    assert {choice.wait for choice in tried} == {None}
