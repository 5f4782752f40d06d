"""What is measured to find a leader, and what no longer."""

from dataclasses import replace
from importlib import import_module
from math import log2

import pytest
from support.fake_bench import FakeBench
from support.profile_builders import KEY, make_entry, profile

from autotune.model.catalogue import CATALOGUE, operation
from autotune.model.configuration import Configuration
from autotune.model.measurement import Failure, FailureKind
from autotune.search.environment import Site
from autotune.search.explore import BATCH, FRACTION, SEARCH_ROUNDS, hunt
from autotune.search.time_budget import Clock
from autotune.search.warm_starts import lessons


def hunted(answer, *, cpus, name="qr", n=200, seconds=1e6, known=()):
    bench = FakeBench(answer)
    one = operation(name, n=n)
    site = Site(usable_cpus=cpus, default_threads=cpus)
    clock = Clock(budget=seconds)
    found, _ = hunt(
        CATALOGUE[name],
        [one],
        site=site,
        bench=bench,
        clock=clock,
        seen=lambda measurement, value: None,
        known=known,
    )
    return found[one], bench


def flat(operation, configuration, luck):
    return 0.02


def needle(best):
    """The default takes 20 ms, one thread count 5, every other more the farther it is from that."""

    def answer(operation, configuration, luck):
        threads = configuration.blas_threads or 64
        return 0.005 * (1 + abs(threads - best) / 20)

    return answer


def test_a_small_space_is_measured_whole_in_the_first_process():
    _, bench = hunted(flat, cpus=8)
    assert {one.blas_threads for one in bench.plans[0].cases[0].configurations} == set(range(1, 8))


def test_where_nothing_can_beat_the_default_nothing_races():
    _, bench = hunted(flat, cpus=8)
    assert [plan.rounds for plan in bench.plans] == [SEARCH_ROUNDS]


def test_a_leader_that_no_other_can_beat_is_not_raced_further():
    evidence, bench = hunted(needle(3), cpus=8)
    assert evidence.leader(0.0) == Configuration(blas_threads=3)
    assert len(bench.plans) == 1


@pytest.mark.parametrize("best", [1, 7, 30, 63])
def test_a_large_space_is_followed_to_its_optimum_without_measuring_all_of_it(best):
    evidence, bench = hunted(needle(best), cpus=64)
    assert evidence.leader(0.0) == Configuration(blas_threads=best)
    visited = {one for plan in bench.plans for case in plan.cases for one in case.configurations}
    assert len(visited) < FRACTION * 63 + 8


def test_a_configuration_that_failed_is_not_tried_again():
    def answer(operation, configuration, luck):
        if configuration.blas_threads == 2:
            return Failure(kind=FailureKind.CRASH, reason="It crashed.")
        return needle(3)(operation, configuration, luck) * luck.uniform(0.9, 1.1)

    _, bench = hunted(answer, cpus=8)
    later = [one for plan in bench.plans[1:] for case in plan.cases for one in case.configurations]
    assert later
    assert Configuration(blas_threads=2) not in later


def test_a_default_that_fails_ends_the_hunt():
    failure = Failure(kind=FailureKind.OUT_OF_MEMORY, reason="No room.")
    evidence, bench = hunted(lambda *_: failure, cpus=64)
    assert evidence.candidates == []
    assert len(bench.plans) == 1


def test_every_size_is_measured_once_though_the_time_is_over():
    evidence, bench = hunted(needle(30), cpus=64, seconds=0.0)
    assert len(bench.plans) == 1
    assert evidence.default_seconds


def test_a_lucky_configuration_that_was_measured_once_does_not_lead():
    """On noisy machines the best of many estimates is one that was lucky: the race takes its luck away."""

    def answer(operation, configuration, luck):
        return needle(30)(operation, configuration, luck) * luck.lognormvariate(0, 0.05)

    evidence, _ = hunted(answer, cpus=64)
    most = max(map(evidence.rounds, evidence.candidates))
    assert 2 * evidence.rounds(evidence.leader(0.01)) >= most


def proved_elsewhere(chunk, n=10**7):
    """What a relative with as many CPUs says of the same operation."""
    choice = {"workers": 8, "chunk": chunk}
    return lessons([profile(make_entry("sqrt", choice=choice, n=n), key=replace(KEY, usable_cpus=16))])


def best_chunk(best):
    """More workers are faster up to 8; the chunk has a best, and each doubling away from it costs a tenth."""

    def answer(operation, configuration, luck):
        if configuration.is_default:
            return 0.08
        workers, chunk = configuration.workers or 1, configuration.chunk or operation.size["n"]
        return 0.08 / min(workers, 8) * (1 + abs(log2(workers / 8)) / 10) * (1 + abs(log2(chunk / best)) / 10)

    return answer


def test_what_a_relative_proved_and_holds_ends_the_search_early():
    cold, plain = hunted(best_chunk(2**16), cpus=16, name="sqrt", n=10**7)
    warm, short = hunted(best_chunk(2**16), cpus=16, name="sqrt", n=10**7, known=proved_elsewhere(2**16))
    assert warm.leader(0.01) == cold.leader(0.01)
    assert len(warm.sessions) <= 2 * BATCH < len(cold.sessions)
    assert 2 * short.clock <= plain.clock


def test_what_a_relative_proved_and_is_wrong_here_costs_no_quality():
    cold, _ = hunted(best_chunk(2**19), cpus=16, name="sqrt", n=10**7)
    warm, _ = hunted(best_chunk(2**19), cpus=16, name="sqrt", n=10**7, known=proved_elsewhere(2**12))
    assert warm.leader(0.01) == cold.leader(0.01)


def test_what_was_proved_for_another_size_ends_no_search():
    cold, _ = hunted(best_chunk(2**16), cpus=16, name="sqrt", n=10**7)
    known = proved_elsewhere(2**16, n=10**6)
    warm, _ = hunted(best_chunk(2**16), cpus=16, name="sqrt", n=10**7, known=known)
    assert 2 * len(warm.sessions) > len(cold.sessions)


@pytest.fixture
def simulations():
    return import_module("benchmarks.simulated_search"), import_module("support.simulated_machines")


@pytest.mark.parametrize("noise", ["none", "common", "tails", "interference"])
def test_no_choice_on_a_simulated_machine_is_slower_than_the_default(simulations, noise):
    script, machines = simulations
    for seed in range(3):
        task = machines.draw(seed, least=75, most=300)
        for _, result in script.compared(task, noise, seed, ["autotune"]):
            assert result.against_default <= 0.01
            assert result.share <= 0.25
