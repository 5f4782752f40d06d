"""Which pairs count for which state of the machine."""

from dataclasses import replace
from math import log

import pytest
from support.calibration_runs import probed, visit
from support.profile_builders import alone, profile

from autotune.model.measurement import Measurement, Session
from autotune.model.profile import Provenance
from autotune.profiles import folders, profile_files
from autotune.search.machine_states import Capacity, Visit, log_ratios_of
from autotune.search.runner import full_capacity


@pytest.mark.parametrize(
    ("cpus", "best", "full", "reduced"), [(2, 2.0, 1.9, 1.05), (2, 1.3, 1.28, 1.02), (64, 60.0, 50.0, 30.0)]
)
def test_full_capacity_is_what_the_machine_reaches_in_its_best_state(cpus, best, full, reduced):
    capacity = probed(*[best] * 30, *[reduced] * 30, usable_cpus=cpus)
    assert capacity.is_full(visit(1.0, capacity=full).pairs[0])
    assert not capacity.is_full(visit(1.0, capacity=reduced).pairs[0])
    assert capacity.full_share == 0.5


def test_a_single_probe_that_says_too_much_changes_nothing():
    capacity = probed(2.0, *[1.3] * 99)
    assert capacity.best == pytest.approx(1.3)


def test_a_machine_that_was_only_seen_without_its_second_cpu_was_never_seen_at_full_capacity():
    assert probed(*[1.02] * 40).full_share == 0.0


def test_a_probe_above_the_number_of_cpus_is_cut():
    capacity = Capacity(usable_cpus=2)
    pairs = visit(1.0, capacity=2.4).pairs
    measurement = Measurement(operation=None, configuration=None, pairs=pairs)
    capacity.add(Session(measurements=(measurement,), wall_seconds=1.0))
    assert capacity.best == 2.0


def test_what_an_earlier_calibration_saw_counts_where_this_one_never_reaches_it():
    capacity = probed(*[1.0] * 40, known_best=2.0)
    assert capacity.full_share == 0.0


@pytest.mark.parametrize(
    ("probes", "kept"),
    [([1.3] * 40, 1.65), ([2.0] * 40, 2.0), ([1.0] * 5, 2.0), ([1.0] * 20 + [2.0] * 20, 2.0), ([], None)],
)
def test_half_of_a_full_capacity_that_is_never_reached_again_is_forgotten(probes, kept):
    assert probed(*probes, known_best=2.0).lasting == (kept if kept is None else pytest.approx(kept))


def test_of_several_profiles_the_newest_says_what_full_capacity_is(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    for day, capacity in (("01", 2.0), ("02", 1.3), ("03", None)):
        provenance = Provenance(created=f"2026-11-{day}T00:00:00+00:00", capacity=capacity)
        profile_files.write(replace(profile(), provenance=provenance), folders.user_profiles() / f"{day}.yaml")
    assert full_capacity(profile().key) == 1.3


def test_without_probes_every_pair_counts_as_timed_at_full_capacity():
    capacity = Capacity(usable_cpus=2)
    assert capacity.is_full(visit(1.0).pairs[0])
    assert capacity.full_share is None


def test_without_probes_disturbed_pairs_count_unless_fewer_cpus_are_used():
    """Next to a whole command nothing is probed: on a busy machine no gain of it could be proved otherwise."""
    busy = visit(1.0, capacity=None)
    busy = replace(busy, pairs=tuple(replace(pair, interference=0.9) for pair in busy.pairs))
    assert busy.at_full(Capacity(usable_cpus=2), fewer_cpus=False) == busy.pairs
    assert busy.at_full(Capacity(usable_cpus=2), fewer_cpus=True) == ()


@pytest.mark.parametrize("fewer_cpus", [True, False])
def test_disturbed_pairs_do_not_count_for_full_capacity(fewer_cpus):
    capacity, busy = probed(*[2.0] * 20), visit(0.5, capacity=2.0, interference=0.4)
    assert busy.at_full(capacity, fewer_cpus=fewer_cpus) == ()
    assert busy.at_full_or_disturbed(capacity) == busy.at_any_capacity() == busy.pairs


@pytest.mark.parametrize(
    ("latest", "full"), [((), True), ((1.0, 1.0, 1.0), False), ((2.0, 1.0, 2.0), True), ((2.0, 1.0, 1.0), False)]
)
def test_the_state_of_this_moment_is_that_of_the_latest_probes(latest, full):
    assert probed(*[2.0] * 20, *latest).is_full_now is full


def test_a_machine_that_was_never_probed_counts_as_one_with_all_its_cpus():
    assert probed().is_full_now


def test_what_is_worth_saying_of_the_machine_is_one_sentence():
    assert str(probed(*[2.0] * 20)) == ""
    text = str(probed(*[2.0] * 20, *[1.0] * 20))
    assert "50%" in text
    assert text.endswith(".")


def test_one_undisturbed_pair_speaks_where_all_cpus_are_used_and_two_must_where_fewer_are():
    disturbed = visit(1.5, pairs=1, capacity=2.0, interference=0.5).pairs
    mixed = Visit(pairs=(*visit(0.6, pairs=1, capacity=2.0).pairs, *disturbed))
    assert log_ratios_of([mixed.at_any_capacity()]) == pytest.approx([log(0.6)])
    assert mixed.at_full(probed(*[2.0] * 30), fewer_cpus=False) == mixed.pairs[:1]
    assert mixed.at_full(probed(*[2.0] * 30), fewer_cpus=True) == ()
