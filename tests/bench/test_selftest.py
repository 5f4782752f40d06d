"""The machine's self-test."""

import math
import os
import subprocess

import pytest

from autotune.bench import selftest
from autotune.bench.process_bench import ProcessBench


def test_pairs_without_noise_resolve_everything():
    assert selftest.half_width([0.0] * 24) == 0.0


def test_a_single_disturbed_pair_does_not_change_the_resolution():
    assert selftest.half_width([0.0] * 23 + [5.0]) == 0.0


def test_the_resolution_grows_with_the_spread_of_the_groups():
    narrow, wide = ([size * (-1) ** (place // 4) for place in range(24)] for size in (0.01, 0.04))

    assert math.isclose(selftest.half_width(wide), 4 * selftest.half_width(narrow))


def test_too_few_pairs_resolve_nothing():
    assert selftest.half_width([0.0] * 7) is None


@pytest.mark.real
@pytest.mark.parametrize("processes", [1, 2])
def test_spinning_processes_get_work_done(processes):
    assert selftest.capacity(processes) > 0


@pytest.mark.real
def test_the_resolution_of_a_machine_is_positive_unless_it_had_too_little_time():
    resolution = selftest.resolution(ProcessBench(), seconds=2.0)

    assert resolution is None or resolution > 0


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "getsid"), reason="needs sessions")
def test_a_terminals_interrupt_does_not_reach_the_spinning_processes(monkeypatch):
    """They would print tracebacks over the message that all is saved."""
    sessions = []

    class Process(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            sessions.append(os.getsid(self.pid))

    monkeypatch.setattr(selftest.subprocess, "Popen", Process)
    assert selftest._spun([(0.0, 0.0)]) == [[0]]
    assert sessions != [os.getsid(0)]


@pytest.mark.real
def test_the_limits_of_a_machine_are_rates_that_it_reached():
    bandwidth, flops = selftest.ceilings(1, 64 * 2**20)
    assert bandwidth > 0
    assert flops > 0


def test_limits_that_cannot_be_measured_are_unknown(monkeypatch):
    monkeypatch.setattr(selftest.sys, "executable", "/nowhere/python")
    assert selftest.ceilings(1, None) == (None, None)
