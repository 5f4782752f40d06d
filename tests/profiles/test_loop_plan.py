"""From which sizes on loops are cut."""

import pytest

from autotune.intercept.operations import LOOP_KINDS, Layout, Range
from autotune.model.configuration import Configuration, Placement
from autotune.model.operation import DTYPES
from autotune.profiles import compiled_copy
from autotune.profiles.loop_plan import MOST_RANGES, loop_ranges

SIZES = [1000, 10_000, 100_000]


def planned(choices, names=("cheapest", "dearest"), cpus=4, sizes=SIZES):
    """Plan by (workers, chunk) for each operation and size; None: the default was kept there."""

    def choose(name, size):
        chosen = choices[name].get(size)
        return None if chosen is None else Configuration(workers=chosen[0], chunk=chosen[1])

    return loop_ranges(names, sizes, choose, cpus=cpus)


def test_loops_are_cut_from_the_first_size_on_at_which_all_gained():
    cheapest = {10_000: (2, 5000), 100_000: (4, 20_000)}
    assert planned({"cheapest": cheapest, "dearest": dict.fromkeys(SIZES, (4, 100))}) == [
        Range(10_000, 5000, 2),
        Range(100_000, 20_000, 4),
    ]


@pytest.mark.parametrize("name", ["layout", "cheapest", "dearest"])
def test_a_class_of_which_one_member_did_not_gain_stays_numpys(name):
    choices = {kind: dict.fromkeys(SIZES, (4, 100)) for kind in ("layout", "cheapest", "dearest")}
    assert planned(choices, names=tuple(choices)) == [Range(1000, 100, 4)]
    assert planned(choices | {name: {}}, names=tuple(choices)) == []


def test_between_a_size_that_gained_and_one_that_did_not_loops_stay_numpys():
    gains = {1000: (2, 100), 100_000: (2, 100)}
    assert planned({"cheapest": gains, "dearest": gains}) == [Range(100_000, 100, 2)]


def test_one_worker_is_no_gain():
    gains = dict.fromkeys(SIZES, (1, 100))
    assert planned({"cheapest": gains, "dearest": gains}) == []


def test_a_choice_keeps_to_the_cpus_and_one_cpu_cuts_nothing():
    gains = dict.fromkeys(SIZES, (8, 100))
    assert planned({"cheapest": gains, "dearest": gains}, cpus=2) == [Range(1000, 100, 2)]
    assert planned({"cheapest": gains, "dearest": gains}, cpus=1) == []


def test_a_choice_without_a_chunk_gives_each_worker_one_slice():
    gains = dict.fromkeys(SIZES, (4, None))
    assert planned({"cheapest": gains, "dearest": gains})[-1] == Range(100_000, 25_000, 4)


def test_workers_run_where_the_choice_says():
    chosen = Configuration(workers=2, chunk=10, placement=Placement.CORES)
    assert loop_ranges(["one"], [1000], lambda *_: chosen, cpus=2) == [Range(1000, 10, 2, "cores")]


def test_there_are_no_more_ranges_than_the_core_holds():
    sizes = list(range(1000, 1000 + 2 * MOST_RANGES))
    gains = {size: (2, size) for size in sizes}
    assert len(planned({"cheapest": gains, "dearest": gains}, sizes=sizes)) == MOST_RANGES


def test_plans_of_every_class_and_layout_come_back_from_the_compiled_copy(tmp_path):
    """One that did not would have the copy made anew at each start."""
    plans = [
        compiled_copy.LoopPlan(kind, dtype, layout, (Range(1000, 100, 2),))
        for kind in LOOP_KINDS
        for dtype in DTYPES
        for layout in Layout.ALL
    ]
    copy = compiled_copy.Compiled("here", "this", (None, ""), compiled_copy.Wait(None, {}), b"[]\n", plans)
    compiled_copy.save(str(tmp_path / "applied-1"), copy)
    loaded = compiled_copy.load(str(tmp_path / "applied-1"))
    assert loaded is not None
    assert list(loaded.loops) == plans
