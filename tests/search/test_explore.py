"""Steps of an exploration: what is measured to find a leader, and what no longer."""

from dataclasses import replace
from importlib import import_module
from math import exp, inf, log2

import pytest
from support.calibration_runs import probed
from support.fake_bench import FakeBench, pairs
from support.profile_builders import KEY, make_entry, profile
from support.simulated_machines import USERS

from autotune.bench.ladder import seconds_of
from autotune.model.catalogue import CATALOGUE, operation
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Failure, FailureKind, Measurement
from autotune.search.environment import Environment
from autotune.search.explore import DECIDERS, PLAYOFFS, RACES, REPEATED_RACES, Exploration
from autotune.search.plan import Item
from autotune.search.size_search import BATCH, FRACTION
from autotune.search.time_budget import CALLS_OF_CANDIDATE, CALLS_OF_DEFAULT, Clock, candidates_within, least_seconds
from autotune.search.warm_starts import warm_starts


def explored(answer, *, cpus, name="qr", n=200, steps=1000, starts=(), kind=None, seconds=inf, **size):
    """The evidence on one size after `steps`, with the bench and the exploration."""
    bench = FakeBench(answer)
    kind = kind or CATALOGUE[name]
    target = operation(name, n=n, **size)
    clock = Clock(bench=bench, capacity=probed(), budget=1e6)
    exploration = Exploration(
        Item(kind=kind, dtype="float64", operations=(target,)),
        [target],
        environment=Environment(usable_cpus=cpus, default_threads=cpus),
        capacity=None,
        seed=0,
        warm_starts=starts,
        seconds=seconds,
    )
    while exploration.next_step is not None and exploration.steps_taken < steps:
        step = exploration.next_step
        exploration.take(clock.run(step, seconds=1e6), clock.elapsed)
    return exploration.evidence[target], bench, exploration


def flat(operation, configuration, luck):
    return 0.02


def needle(best):
    """The default takes 20 ms, one thread count 5, every other more the farther it is from that."""

    def answer(operation, configuration, luck):
        threads = configuration.blas_threads or 64
        return 0.005 * (1 + abs(threads - best) / 20)

    return answer


def test_a_small_space_is_measured_whole_in_the_first_process():
    _, bench, _ = explored(flat, cpus=8)
    assert {choice.blas_threads for choice in bench.plans[0].cases[0].configurations} == set(range(1, 8))


TASKS = operation("batch_matmul", n=300, tasks=100)


def test_a_first_process_of_slow_calls_tries_what_its_time_allows_and_the_rest_comes_later():
    evidence, bench, _ = explored(flat, cpus=2, name="batch_matmul", tasks=100, seconds=0.4)
    batches = [plan.cases[0].configurations for plan in bench.plans]
    assert batches[0] == (Configuration(blas_threads=1, workers=2),)
    assert len(batches[1]) == 3
    assert len(evidence.visits) == 4


def test_a_first_process_of_slow_calls_in_a_large_space_tries_fewer_too():
    _, bench, _ = explored(flat, cpus=2, name="share", n=1_000_000, seconds=0.4, steps=2)
    assert [len(plan.cases[0].configurations) for plan in bench.plans] == [1, BATCH]


def test_a_first_process_tries_everything_where_the_time_allows_it():
    calls = CALLS_OF_DEFAULT + 4 * CALLS_OF_CANDIDATE
    seconds = calls * seconds_of(CATALOGUE["batch_matmul"], TASKS)
    assert candidates_within(CATALOGUE["batch_matmul"], TASKS, seconds) == pytest.approx(4)
    _, bench, _ = explored(flat, cpus=2, name="batch_matmul", tasks=100, seconds=1.001 * seconds)
    assert len(bench.plans[0].cases[0].configurations) == 4


def test_the_time_of_a_users_function_is_not_estimated():
    size = operation(USERS.name, n=10)
    assert (candidates_within(USERS, size, 0.1), least_seconds(USERS, size, 2)) == (inf, 0.0)


def test_more_cpus_are_taken_to_be_faster_when_a_size_is_judged_too_slow():
    kind = CATALOGUE["batch_matmul"]
    assert least_seconds(kind, TASKS, 1) == least_seconds(kind, TASKS, 2)
    assert least_seconds(kind, TASKS, 64) == pytest.approx(least_seconds(kind, TASKS, 2) / 32)


def test_where_nothing_can_beat_the_default_nothing_races():
    _, bench, _ = explored(flat, cpus=8)
    assert len(bench.plans) == 1


def test_a_leader_that_no_other_can_beat_is_not_raced_further():
    evidence, bench, _ = explored(needle(3), cpus=8)
    assert evidence.leader(0.0) == Configuration(blas_threads=3)
    assert len(bench.plans) == 1


@pytest.mark.parametrize("best", [1, 7, 30, 63])
def test_a_large_space_is_followed_to_its_optimum_without_measuring_all_of_it(best):
    evidence, bench, _ = explored(needle(best), cpus=64)
    assert evidence.leader(0.0) == Configuration(blas_threads=best)
    visited = {choice for plan in bench.plans for case in plan.cases for choice in case.configurations}
    assert len(visited) < FRACTION * 63 + 8


def test_a_configuration_that_failed_is_not_tried_again():
    def answer(operation, configuration, luck):
        if configuration.blas_threads == 2:
            return Failure(kind=FailureKind.CRASH, reason="It crashed.")
        return needle(3)(operation, configuration, luck) * luck.uniform(0.9, 1.1)

    _, bench, _ = explored(answer, cpus=8)
    later = [choice for plan in bench.plans[1:] for case in plan.cases for choice in case.configurations]
    assert later
    assert Configuration(blas_threads=2) not in later


def test_a_default_that_fails_ends_the_exploration():
    failure = Failure(kind=FailureKind.OUT_OF_MEMORY, reason="No room.")
    evidence, bench, _ = explored(lambda *_: failure, cpus=64)
    assert evidence.candidates == []
    assert len(bench.plans) == 1


def test_a_lucky_configuration_that_was_measured_once_does_not_lead():
    """On noisy machines the best of many estimates is one that was lucky: the race takes its luck away."""

    def answer(operation, configuration, luck):
        return needle(30)(operation, configuration, luck) * luck.lognormvariate(0, 0.05)

    evidence, _, _ = explored(answer, cpus=64)
    most = max(map(evidence.pairs, evidence.candidates))
    assert 2 * evidence.pairs(evidence.leader(0.01)) >= most


def test_the_best_one_is_not_lost_to_a_slow_timing_among_few():
    """63 threads, the best by far, meet a spike in the first of two pairs, which hides them behind all others."""
    best, calls = Configuration(blas_threads=63), []

    def answer(operation, configuration, luck):
        if configuration == best:
            calls.append(configuration)
            return 0.04 if len(calls) == 2 else 0.008
        return 0.02 if configuration.is_default else 0.01 + 0.0001 * (configuration.blas_threads or 64) / 64

    evidence, _, _ = explored(answer, cpus=64)
    assert evidence.leader(0.01) == best


def test_leaders_that_races_cannot_tell_apart_are_measured_further():
    def answer(operation, configuration, luck):
        seconds = 0.01 if (configuration.blas_threads or 64) <= 8 else 0.02
        return seconds * luck.lognormvariate(0, 0.1)

    _, bench, _ = explored(answer, cpus=64)
    further = [pairs for _, pairs in (*PLAYOFFS, *DECIDERS)]
    assert [plan.rounds for plan in bench.plans[-len(further) :]] == further


def test_of_many_configurations_whose_processes_differ_more_than_their_pairs_many_processes_tell():
    """Neighbours differ by a fiftieth, pairs scatter by as much; a process may favour or hinder each as a whole."""

    def processes(apart):
        sign_of = {}

        def answer(operation, configuration, luck):
            sign = sign_of.setdefault((luck, configuration), luck.choice((-1, 1)))
            seconds = 0.01 * (1 + abs((configuration.blas_threads or 128) - 30) / 50)
            return seconds * exp(apart * sign + luck.gauss(0, 0.02))

        evidence, _, _ = explored(answer, cpus=64)
        leader = evidence.leader(0.0)
        assert abs(leader.blas_threads - 30) <= 1
        return len(evidence.visits[leader])

    assert processes(0.05) > len(DECIDERS) > len(RACES) > processes(0.0)


def test_a_race_that_ran_without_capacity_is_run_again():
    """Half of 64 CPUs are missing from the race with six pairs of each on."""
    size = operation("qr", n=200)
    capacity = probed(usable_cpus=64, known_best=64.0)
    item = Item(kind=CATALOGUE["qr"], dtype="float64", operations=(size,))
    environment = Environment(usable_cpus=64, default_threads=64)
    exploration = Exploration(item, [size], environment=environment, capacity=capacity, seed=0)
    bench = FakeBench(lambda _, configuration, luck: needle(30)(_, configuration, luck) * luck.lognormvariate(0, 0.1))
    clock = Clock(bench=bench, capacity=capacity, budget=1e6)
    bench.capacity = 64.0
    while exploration.next_step.rounds != 6:
        exploration.take(clock.run(exploration.next_step, seconds=1e6), clock.elapsed)
    bench.capacity = 32.0
    raced = []
    while exploration.next_step.rounds == 6:
        raced.append(exploration.next_step.cases)
        exploration.take(clock.run(exploration.next_step, seconds=1e6), clock.elapsed)
    assert raced == [raced[0]] * (1 + REPEATED_RACES)


def test_a_knob_that_was_not_shown_to_matter_is_not_set():
    """The user's function never calls BLAS, but its threads can be set."""

    def answer(operation, configuration, luck):
        return 0.05 / (configuration.workers or 1) * luck.uniform(0.99, 1.01)

    _, _, exploration = explored(answer, cpus=8, name=USERS.name, n=1000, kind=USERS)
    (size,) = exploration.sizes.values()
    assert size.leader().blas_threads is None
    assert size.leader().workers == 8


def test_of_ties_the_fewest_cpus_win():
    def answer(operation, configuration, luck):
        return 0.02 if configuration.is_default else 0.01 if (configuration.blas_threads or 8) >= 3 else 0.03

    evidence, _, _ = explored(answer, cpus=8)
    assert evidence.leader(0.01) == Configuration(blas_threads=3)


def test_what_was_only_seen_while_cpus_were_missing_is_measured_again():
    """Two workers gain nothing while one of two CPUs is away."""
    capacity = probed(*[2.0] * 30)
    size = operation("sqrt", n=10**6)
    environment = Environment(usable_cpus=2, default_threads=2)
    item = Item(kind=CATALOGUE["sqrt"], dtype="float64", operations=(size,))
    exploration = Exploration(item, [size], environment=environment, capacity=capacity, seed=0)
    bench = FakeBench(lambda _, configuration, __: 0.01 if configuration.is_default else 0.0105, capacity=1.0)
    clock = Clock(bench=bench, capacity=probed(), budget=1e6)
    step = exploration.next_step
    exploration.take(clock.run(step, seconds=10.0), clock.elapsed)
    assert exploration.next_step is not None
    bench.answer = lambda _, configuration, __: 0.01 if configuration.is_default else 0.006
    bench.capacity = 2.0
    step = exploration.next_step
    exploration.take(clock.run(step, seconds=10.0), clock.elapsed)
    assert exploration.sizes[size].leader().workers == 2


def proved_elsewhere(chunk, n=10**7):
    """The warm start of a relative with as many CPUs about the same operation."""
    choice = {"workers": 8, "chunk": chunk}
    return warm_starts([profile(make_entry("sqrt", choice=choice, n=n), key=replace(KEY, usable_cpus=16))])


def best_chunk(best):
    """More workers are faster up to 8; the chunk has a best, and each doubling away from it costs a tenth."""

    def answer(operation, configuration, luck):
        if configuration.is_default:
            return 0.08
        workers, chunk = configuration.workers or 1, configuration.chunk or operation.size["n"]
        return 0.08 / min(workers, 8) * (1 + abs(log2(workers / 8)) / 10) * (1 + abs(log2(chunk / best)) / 10)

    return answer


def test_what_a_relative_proved_and_holds_ends_the_search_early():
    cold, plain, _ = explored(best_chunk(2**16), cpus=16, name="sqrt", n=10**7)
    warm, short, _ = explored(best_chunk(2**16), cpus=16, name="sqrt", n=10**7, starts=proved_elsewhere(2**16))
    assert warm.leader(0.01) == cold.leader(0.01)
    assert len(warm.visits) <= 2 * BATCH < len(cold.visits)
    assert 2 * short.clock <= plain.clock


def test_what_a_relative_proved_and_is_wrong_here_costs_no_quality():
    cold, _, _ = explored(best_chunk(2**19), cpus=16, name="sqrt", n=10**7)
    warm, _, _ = explored(best_chunk(2**19), cpus=16, name="sqrt", n=10**7, starts=proved_elsewhere(2**12))
    assert warm.leader(0.01) == cold.leader(0.01)


def test_what_was_proved_for_another_size_ends_no_search():
    cold, _, _ = explored(best_chunk(2**16), cpus=16, name="sqrt", n=10**7)
    profiles = proved_elsewhere(2**16, n=10**6)
    warm, _, _ = explored(best_chunk(2**16), cpus=16, name="sqrt", n=10**7, starts=profiles)
    assert 2 * len(warm.visits) > len(cold.visits)


@pytest.fixture
def simulations():
    return import_module("benchmarks.simulated_search"), import_module("support.simulated_machines")


@pytest.mark.parametrize("noise", ["none", "common", "states", "bursts-30"])
def test_no_choice_on_a_simulated_machine_is_slower_than_the_default(simulations, noise):
    script, machines = simulations
    for seed in range(2):
        task = machines.draw(seed, least=75, most=300)
        for _, result in script.compared(task, noise, seed, ["autotune"]):
            assert result.against_default <= 0.01
            assert result.share <= 0.25


def test_a_leader_that_was_seen_at_full_capacity_by_one_process_only_is_raced():
    """One pair in which CPUs went away after the probe makes a configuration seem twice as fast as all others."""
    size = operation("qr", n=200)
    item = Item(kind=CATALOGUE["qr"], dtype="float64", operations=(size,))
    capacity = probed(*[64.0] * 30, usable_cpus=64)
    environment = Environment(usable_cpus=64, default_threads=64)
    exploration = Exploration(item, [size], environment=environment, capacity=capacity, seed=0)
    search, (lucky, *others) = exploration.sizes[size], [Configuration(blas_threads=count) for count in range(20, 28)]
    for there in (64.0, 32.0):
        lucky_pairs = pairs([0.02], [0.01], capacity=there)
        other_pairs = pairs([0.01] * 4, [0.009] * 4, capacity=64.0)
        timed = [(lucky, lucky_pairs), *((choice, other_pairs) for choice in others)]
        search.take(
            [
                Measurement(operation=size, configuration=DEFAULT, seconds=(0.01,)),
                *(
                    Measurement(operation=size, configuration=choice, seconds=(0.01,), pairs=own)
                    for choice, own in timed
                ),
            ],
            0.0,
            quiet=False,
        )
    assert lucky in search.racers(4)
