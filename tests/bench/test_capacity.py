"""The probe of capacity, and the threads that have to rest before it."""

import subprocess
import sys
import threading
import time
from hashlib import pbkdf2_hmac

import pytest

from autotune.bench.capacity import LARGEST_COST, CapacityProbe
from autotune.bench.thread_activity import await_rest

pytestmark = pytest.mark.real


@pytest.fixture
def probe():
    made = []

    def make(cpus):
        made.append(CapacityProbe(cpus))
        made[-1].settle()
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("cpus", [2, 3, 64])
def test_threads_get_work_done_next_to_each_other(probe, cpus):
    two = probe(cpus)

    capacities = [two.probe() for _ in range(5)]

    assert all(0.0 <= capacity <= 1.5 * cpus for capacity in capacities)
    assert max(capacities) > 0.0


def test_a_call_is_long_enough_for_two_threads_to_share_the_gil():
    """The first call of a process loads OpenSSL's digest: taken for a rate, it made calls of 2 iterations."""
    program = (
        "from autotune.bench.capacity import CapacityProbe\n"
        "probe = CapacityProbe(2)\n"
        "probe.settle()\n"
        "print(probe.spin_rate)"
    )
    rates = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout) for _ in range(3)
    ]
    begin = time.perf_counter()
    pbkdf2_hmac("sha256", b"x", b"y", 100_000)
    assert sorted(rates)[1] > 0.2 * 100_000 / (time.perf_counter() - begin)


def test_one_cpu_has_no_capacity_to_probe(probe):
    single = probe(1)

    assert not single.due
    assert single.probe() is None


def test_a_probe_is_due_again_once_its_cost_is_small_against_the_time_that_passed(probe):
    two = probe(2)
    assert two.due
    begin = time.perf_counter()
    two.probe()
    cost = time.perf_counter() - begin

    assert not two.due
    time.sleep(1.5 * cost / LARGEST_COST)
    assert two.due


def test_no_thread_is_left_when_a_probe_is_closed(probe):
    before = threading.active_count()
    four = probe(4)
    assert threading.active_count() == before + 3

    four.close()

    assert threading.active_count() == before
    assert four.probe() is None


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not list threads")
def test_threads_that_spin_are_not_at_rest():
    end = threading.Event()

    def spin():
        while not end.is_set():
            pbkdf2_hmac("sha256", b"x", b"y", 1000)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        assert not await_rest(0.05)
    finally:
        end.set()
        thread.join()
    assert await_rest(5.0)
