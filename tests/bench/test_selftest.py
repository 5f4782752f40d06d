"""The machine's self-test."""

import math

import pytest
from support.fake_bench import pairs

from autotune.bench.process_bench import ProcessBench
from autotune.bench.selftest import half_width, measure_peak_rates, resolution, run_selftest
from autotune.host.usable_cpus import usable_cpus
from autotune.model.catalogue import operation
from autotune.model.configuration import DEFAULT
from autotune.model.measurement import Measurement, Session


def test_pairs_without_noise_resolve_everything():
    assert half_width([0.0] * 24) == 0.0


def test_a_single_disturbed_pair_does_not_change_the_resolution():
    assert half_width([0.0] * 23 + [5.0]) == 0.0


def test_the_resolution_grows_with_the_spread_of_the_groups():
    narrow, wide = ([size * (-1) ** (place // 4) for place in range(24)] for size in (0.01, 0.04))

    assert math.isclose(half_width(wide), 4 * half_width(narrow))


def test_too_few_pairs_resolve_nothing():
    assert half_width([0.0] * 7) is None


@pytest.mark.real
def test_a_self_test_finds_positive_figures_or_says_that_they_are_unknown():
    cpus = usable_cpus()[0]
    figures = run_selftest(ProcessBench(), usable_cpus=cpus, memory_bytes=64 * 2**20, seconds=2.0)

    assert figures.resolution is None or figures.resolution > 0
    assert (figures.capacity is None) == (cpus == 1)
    assert figures.memory_bandwidth > 0
    assert figures.peak_flops > 0
    assert figures.seconds > 0


@pytest.mark.real
def test_rates_that_cannot_be_measured_are_unknown():
    assert measure_peak_rates(0, None) == {}


def test_a_comparison_that_failed_leaves_the_resolution_unknown():
    log = operation("log", n=10)
    same = [Measurement(operation=log, configuration=DEFAULT, pairs=pairs([1.0] * 24, [1.0] * 24))] * 2
    short = [Measurement(operation=log, configuration=DEFAULT, pairs=pairs([1.0], [1.0]))] * 2

    assert resolution(Session(measurements=tuple(same), wall_seconds=1.0)) == 0.0
    assert resolution(Session(measurements=(*same, *short), wall_seconds=1.0)) is None
    assert resolution(Session(measurements=(), wall_seconds=1.0)) is None
