"""Which CPUs workers run on: by the machine's structure, within the affinity mask, and no other thread is moved."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.controls import placement
from autotune.host.detect import detect
from autotune.model.configuration import Placement
from autotune.model.machine import Cpu
from autotune.parallel import thread_pool
from autotune.parallel.blocks import fill, map_blocks
from autotune.parallel.random_streams import random
from autotune.parallel.reductions import reduce_blocks
from autotune.parallel.thread_executor import ThreadExecutor

CORES, L3, NODE = Placement.CORES, Placement.L3, Placement.NODE

# two sockets of two cores with two threads each; hardware threads of a core are 4 apart
TWO_SOCKETS = [Cpu(number=n, core=n % 4, l3=n % 4 // 2 * 2, node=n % 4 // 2) for n in range(8)]
PLAIN = [Cpu(number=n, core=n, l3=0, node=0) for n in range(4)]

needs_two_cpus = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs an affinity mask of at least two CPUs",
)


def within(numbers):
    return [cpu for cpu in TWO_SOCKETS if cpu.number in numbers]


@pytest.mark.parametrize(
    ("where", "expected"),
    [(CORES, [{0, 1, 2, 3}]), (L3, [{0, 1, 4, 5}, {2, 3, 6, 7}]), (NODE, [{0, 1, 4, 5}, {2, 3, 6, 7}])],
)
def test_groups_follow_cores_caches_and_nodes(where, expected):
    assert placement.groups(where, TWO_SOCKETS) == expected


@pytest.mark.parametrize("where", Placement)
def test_a_machine_of_one_piece_offers_nothing(where):
    assert placement.groups(where, PLAIN) == []
    assert placement.available_placements(PLAIN) == {}


def test_a_node_that_is_one_l3_group_is_offered_once():
    assert placement.available_placements(TWO_SOCKETS) == {"cores": 4, "l3": 4}


def test_nodes_of_several_l3_groups_are_offered_too():
    machine = [Cpu(number=n, core=n, l3=n // 2 * 2, node=n // 4) for n in range(8)]
    assert placement.available_placements(machine) == {"l3": 2, "node": 4}


def test_what_the_machine_does_not_say_is_not_offered():
    assert placement.available_placements([Cpu(number=n) for n in range(8)]) == {}


def test_a_mask_of_one_thread_a_core_has_no_threads_to_choose_from():
    assert placement.groups(CORES, within({0, 1, 2})) == []


def test_a_mask_of_one_core_has_no_room_for_two_workers_on_cores():
    assert placement.choose(CORES, 2, within({0, 4})) is None
    assert placement.available_placements(within({0, 4})) == {}


def test_of_two_groups_it_is_the_one_that_the_caller_runs_in():
    assert placement.choose(L3, 2, TWO_SOCKETS, current=6) == {2, 3, 6, 7}


def test_a_group_that_is_too_small_is_passed_over():
    assert placement.choose(L3, 3, within({0, 2, 3, 6}), current=0) == {2, 3, 6}


def test_without_a_current_cpu_it_is_the_largest_group_and_of_equals_the_first():
    assert placement.choose(L3, 1, within({0, 2, 3})) == {2, 3}
    assert placement.choose(L3, 1, TWO_SOCKETS) == {0, 1, 4, 5}


def test_too_many_workers_are_left_where_they_are():
    assert placement.choose(L3, 5, TWO_SOCKETS) is None


@given(
    st.sampled_from(Placement), st.integers(1, 10), st.sets(st.integers(0, 7)), st.one_of(st.none(), st.integers(0, 9))
)
def test_whatever_the_mask_the_choice_lies_within_it_and_has_room(where, workers, mask, current):
    chosen = placement.choose(where, workers, within(mask), current)
    assert chosen is None or (chosen <= mask and len(chosen) >= workers)


def test_no_placement_asks_for_nothing():
    assert placement.cpus_for(None, 8) is None


@needs_two_cpus
class TestRealThreads:
    """With a pretended structure of this computer's own CPUs: every CPU a node of its own, or one core for all."""

    @pytest.fixture(autouse=True)
    def structure(self, monkeypatch):
        self.mask = sorted(os.sched_getaffinity(0))
        middle = len(self.mask) // 2
        halves = [Cpu(number=n, node=place // middle) for place, n in enumerate(self.mask[: 2 * middle])]
        self.room = middle
        monkeypatch.setattr(placement, "machine_cpus", lambda: tuple(halves))
        yield
        assert sorted(os.sched_getaffinity(0)) == self.mask

    def test_the_calling_thread_comes_back(self):
        with placement.Moved(frozenset(self.mask[:1])):
            assert os.sched_getaffinity(0) == {self.mask[0]}

    def test_it_comes_back_after_an_exception_too(self):
        with pytest.raises(ZeroDivisionError), placement.Moved(frozenset(self.mask[:1])):
            raise ZeroDivisionError

    def test_cpus_that_the_system_refuses_leave_the_thread_where_it_is(self):
        with placement.Moved(frozenset({100_000})):
            assert sorted(os.sched_getaffinity(0)) == self.mask

    def test_a_mask_set_by_the_user_is_never_left(self):
        os.sched_setaffinity(0, self.mask[:1])
        try:
            assert placement.cpus_for(NODE, 2) is None
        finally:
            os.sched_setaffinity(0, self.mask)

    def test_helpers_and_the_calling_thread_run_in_one_group_and_not_removedtays_there(self, monkeypatch):
        monkeypatch.setattr(placement, "choose", lambda *_: frozenset(self.mask[:1]))
        seen, meet = {}, threading.Barrier(2, timeout=300)

        def begin():
            def step(_):
                meet.wait()
                seen[threading.get_ident()] = os.sched_getaffinity(0)

            return step

        for _ in range(2):
            with placement.Placed(NODE):
                thread_pool.run(begin, 2, 2)
        assert set(map(frozenset, seen.values())) == {frozenset(self.mask[:1])}
        seen.clear()
        thread_pool.run(begin, 2, 2)
        assert all(sorted(cpus) == self.mask for cpus in seen.values())
        assert len(seen) == 2

    @pytest.mark.parametrize(
        "call",
        [
            lambda a, **how: map_blocks(np.negative, (a,), a, **how),
            lambda a, **how: map_blocks(np.negative, (a.reshape(-1, 1),), rows=True, **how),
            lambda a, **how: fill(a, 3.0, **how),
            lambda a, **how: reduce_blocks(np.sum, (a,), **how),
            lambda a, **how: reduce_blocks(np.dot, (a, a), **how),
            lambda a, **how: random(a.size, "random", a.dtype, 1, {}, **how),
        ],
    )
    def test_every_kind_of_block_work_asks_for_the_cpus_of_its_workers(self, call, monkeypatch):
        wishes = []
        monkeypatch.setattr(placement, "cpus_for", lambda *wish: wishes.append(wish))
        array = np.ones(2**18)
        call(array, workers=2, chunk=2**17, placement=NODE)
        call(array, workers=2, chunk=2**17)
        assert wishes == [(NODE, 2), (None, 2)]

    def test_an_executors_threads_run_in_one_group_and_the_caller_stays(self, monkeypatch):
        monkeypatch.setattr(placement, "choose", lambda *_: frozenset(self.mask[:1]))
        meet = threading.Barrier(2, timeout=300)

        def where(_):
            meet.wait()
            return os.sched_getaffinity(0)

        with ThreadExecutor(2, where=NODE) as executor:
            assert list(executor.map(where, range(2))) == [{self.mask[0]}] * 2
            assert sorted(os.sched_getaffinity(0)) == self.mask


def test_this_computers_own_structure_is_read():
    assert placement.machine_cpus() == detect()[0].cpus
    assert placement.cpus_for(CORES, 10_000) is None
