"""From a request to entries, on machines that are functions."""

import math

import pytest
from support.confirmation_runs import CRASH
from support.fake_bench import FakeBench

from autotune.errors import BadBudget, BadSize
from autotune.model.catalogue import kind
from autotune.model.configuration import DEFAULT
from autotune.model.entry import Status
from autotune.search.decide import kept
from autotune.search.environment import Site
from autotune.search.journal import Journal
from autotune.search.pipeline import as_planned, calibrate, plan
from autotune.search.request import Request

SITE = Site(usable_cpus=4, default_threads=4, l2_bytes=2**20, l3_bytes=2**24, memory_bytes=2**33)


def _calibrate(answer, *, names=("svd",), site=SITE, seconds=60.0, sizes=({"m": 100, "n": 100},), **more):
    bench = FakeBench(answer, **more)
    request = Request(operations=names, sizes=sizes, budget_seconds=seconds)
    return list(calibrate(request, site=site, bench=bench, report=lambda event: None)), bench


def _steps(operation, configuration, luck):
    """One thread is best, the default second, everything else worse."""
    return 0.01 * {1: 0.5, None: 1.0}.get(configuration.blas_threads, 1.5) * math.exp(luck.gauss(0, 0.01))


def test_the_best_configuration_is_found_proved_and_written_down():
    (entry,), _ = _calibrate(_steps)

    assert (entry.status, entry.choice.blas_threads) == (Status.TUNED, 1)
    assert entry.ratio == pytest.approx(0.5, rel=0.05)


def test_the_same_timings_and_seed_give_the_same_entries():
    assert _calibrate(_steps)[0] == _calibrate(_steps)[0]


def test_where_all_are_equal_the_default_stays():
    (entry,), _ = _calibrate(lambda operation, configuration, luck: 0.01 * math.exp(luck.gauss(0, 0.03)))

    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)


def test_a_space_with_nothing_but_the_default_is_said_to_be_one():
    site = Site(usable_cpus=1, default_threads=1)

    (entry,), _ = _calibrate(_steps, site=site)

    assert (entry.status, entry.reason) == (
        Status.DEFAULT_KEPT,
        "There is nothing to choose from on this allocation.",
    )


def test_if_every_configuration_but_the_default_fails_the_default_stays():
    (entry,), bench = _calibrate(
        lambda operation, configuration, luck: 0.01 if configuration.is_default else CRASH
    )

    assert entry.status is Status.DEFAULT_KEPT
    assert "failed: It crashed with SIGSEGV." in entry.reason
    assert len(bench.plans) == 1


def test_a_default_that_fails_is_a_failed_entry_and_nothing_is_tuned():
    (entry,), _ = _calibrate(
        lambda operation, configuration, luck: CRASH if configuration.is_default else 0.001
    )

    assert (entry.status, entry.choice) == (Status.FAILED, DEFAULT)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_times_that_are_none_never_lead_to_a_choice(seconds):
    (entry,), _ = _calibrate(
        lambda operation, configuration, luck: 0.01 if configuration.is_default else seconds
    )

    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert "The clock did not move" in entry.reason


def test_a_machine_that_others_use_gives_noisy_entries_and_none_that_is_tuned():
    entries, _ = _calibrate(_steps, interference=0.4)

    assert {entry.status for entry in entries} == {Status.NOISY}
    assert {entry.choice for entry in entries} == {DEFAULT}


def test_a_machine_with_light_steady_load_is_tuned_and_says_so():
    (entry,), _ = _calibrate(_steps, interference=0.05)

    assert entry.status is Status.TUNED
    assert "Others disturbed 100% of the rounds" in entry.reason


def test_time_that_does_not_reach_all_operations_is_said_of_those_it_missed():
    entries, _ = _calibrate(
        lambda operation, configuration, luck: 2.0, names=("svd", "qr", "eig"), sizes=(), seconds=3.0
    )

    assert all(entry.choice == DEFAULT for entry in entries)
    assert any(entry.reason.startswith("budget:") for entry in entries)


def test_a_budget_for_not_even_one_operation_is_refused():
    with pytest.raises(BadBudget, match="too short"):
        _calibrate(_steps, seconds=1.0)


def test_a_size_that_does_not_fit_the_memory_is_refused():
    with pytest.raises(BadSize, match="a quarter of the memory"):
        _calibrate(_steps, sizes=({"m": 10**6, "n": 10**6},))


TAKES = {"svd": 2.0, "qr": 2.0, "eig": 1 / 64, "eigh": 1 / 64, "solve": 1 / 64}
"""Two slow operations, whose shares of the time end before their proofs, and three that need little of theirs."""
RATIOS = {"svd": 0.75, "qr": 0.5}


def _slow_first(operation, configuration, luck):
    return TAKES[operation.name] * (1.0 if configuration.is_default else RATIOS.get(operation.name, 1.5))


def _cut_off(bench, seconds):
    request = Request(operations=tuple(TAKES), sizes=({"n": 100},), budget_seconds=seconds)
    site = Site(usable_cpus=2, default_threads=2)
    return list(calibrate(request, site=site, bench=bench, report=lambda event: None))


def _measured(bench):
    return [plan.cases[0].operation.name for plan in bench.plans]


def test_time_left_at_the_end_goes_to_the_proofs_that_were_cut_off_the_most_promising_first():
    bench = FakeBench(_slow_first, start_seconds=0.25)

    entries = _cut_off(bench, 60.0)

    assert _measured(bench) == [
        *(
            "svd",
            "svd",
            "qr",
            "qr",
            "eig",
            "eigh",
            "solve",
        ),  # each a search, the slow ones a process of their proof
        *("qr", "qr", "svd", "svd"),
    ]
    assert {one.operation.name: one.processes for one in entries if one.status is Status.TUNED} == RATIOS | {
        "svd": 3,
        "qr": 3,
    }
    assert len(entries) == len(TAKES)
    assert bench.clock <= 1.1 * 60.0


def test_a_profile_lists_entries_as_they_were_planned_not_as_they_were_decided():
    request = Request(
        operations=("svd", "qr"), sizes=({"m": 100, "n": 100}, {"m": 50, "n": 50}), budget_seconds=60.0
    )
    planned = [one for item in plan(request, SITE) for one in item.operations]
    decided = [kept(one, kind(one.name), SITE, reason="") for one in (planned[2], planned[0], planned[3])]

    assert [one.operation for one in as_planned(decided, plan(request, SITE))] == [planned[0], *planned[2:]]


def test_a_proof_for_which_too_little_time_is_left_says_that_the_time_ended_and_nothing_more_is_run():
    bench = FakeBench(_slow_first, start_seconds=0.25)

    entries = {one.operation.name: one for one in _cut_off(bench, 30.0)}

    assert entries["svd"].reason.endswith("the time ended before its proof.")
    assert len(entries) == len(TAKES)
    assert bench.clock <= 1.1 * 30.0


@pytest.mark.parametrize("known", [0, 3, 7, 8, 10])
def test_a_calibration_that_is_resumed_goes_on_with_the_same_proofs_to_the_byte(tmp_path, known):
    whole, part = tmp_path / "whole", tmp_path / "part"
    head = {"asked": {}, "site": {}, "capacity": None, "spent": 0.0}
    entries = _cut_off(Journal(FakeBench(_slow_first, start_seconds=0.25), whole, head), 60.0)
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[: 1 + known]))

    resumed = _cut_off(Journal(FakeBench(_slow_first, start_seconds=0.25), part, head, resume=True), 60.0)

    assert (resumed, len(lines)) == (entries, 1 + 11)
    assert part.read_bytes() == whole.read_bytes()


def test_sizes_that_were_decided_do_not_wait_for_those_whose_proof_was_cut_off():
    """At the large sizes processes disagree, so that three of them prove nothing; at the small ones they agree."""

    def answer(operation, configuration, luck):
        if operation.name == "eig":
            return 1 / 64 * (1.0 if configuration.is_default else 1.5)
        if not hasattr(luck, "factor"):
            luck.factor = luck.choice([0.6, 0.9])
        ratio = luck.factor if operation.size["n"] == 400 else 0.5
        return 1.0 if configuration.is_default else ratio

    request = Request(operations=("qr", "eig"), sizes=({"n": 100}, {"n": 400}), budget_seconds=80.0)
    site = Site(usable_cpus=2, default_threads=2)
    found = calibrate(request, site=site, bench=FakeBench(answer), report=lambda event: None)

    assert [
        (one.operation.name, one.operation.size["n"], one.status.value, one.processes) for one in found
    ] == [
        ("qr", 100, "tuned", 3),
        ("eig", 100, "default-kept", 0),
        ("eig", 400, "default-kept", 0),
        ("qr", 400, "tuned", 8),
    ]
