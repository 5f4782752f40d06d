"""From a request to entries, on machines that are functions."""

import math

import pytest
from support.calibration_runs import CRASH, environment_of, run_calibration
from support.fake_bench import FakeBench

from autotune.bench.selftest import SelfTest
from autotune.errors import BadBudget, BadSize
from autotune.model.catalogue import kind
from autotune.model.configuration import DEFAULT
from autotune.model.entry import Status
from autotune.search.decide import make_bare_entry
from autotune.search.environment import Environment
from autotune.search.events import Confirming
from autotune.search.journal import Header, Journal
from autotune.search.plan import make_plan
from autotune.search.request import Request

SITE = Environment(usable_cpus=4, default_threads=4, l2_bytes=2**20, l3_bytes=2**24, memory_bytes=2**33)


def _calibrate(answer, *, names=("svd",), site=SITE, seconds=60.0, sizes=({"m": 100, "n": 100},), **more):
    bench = FakeBench(answer, **more)
    request = Request(operations=names, sizes=sizes, budget_seconds=seconds)
    entries, _, _ = run_calibration(bench, request, site)
    return list(make_plan(request, site).in_order(entries)), bench


def _steps(operation, configuration, luck):
    """One thread is best, the default second, everything else worse."""
    return 0.01 * {1: 0.5, None: 1.0}.get(configuration.blas_threads, 1.5) * math.exp(luck.gauss(0, 0.01))


def test_the_best_configuration_is_found_proved_and_written_down():
    (entry,), _ = _calibrate(_steps)

    assert (entry.status, entry.choice.blas_threads) == (Status.TUNED, 1)
    assert entry.evidence.speedup == pytest.approx(2.0, rel=0.05)


def test_the_same_timings_and_seed_give_the_same_entries():
    assert _calibrate(_steps)[0] == _calibrate(_steps)[0]


def test_if_every_configuration_but_the_default_fails_the_default_stays():
    (entry,), bench = _calibrate(lambda operation, configuration, luck: 0.01 if configuration.is_default else CRASH)

    assert entry.status is Status.DEFAULT_KEPT
    assert "failed: It crashed with SIGSEGV." in entry.reason
    assert len(bench.plans) == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_times_that_are_none_never_lead_to_a_choice(seconds):
    (entry,), _ = _calibrate(lambda operation, configuration, luck: 0.01 if configuration.is_default else seconds)

    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert "The clock did not move" in entry.reason


def test_on_a_machine_that_others_use_what_needs_undisturbed_timings_is_noisy():
    entries, _ = _calibrate(_steps, interference=0.4)

    assert {entry.status for entry in entries} <= {Status.NOISY, Status.UNDECIDED}
    assert {entry.choice for entry in entries} == {DEFAULT}


def test_what_uses_all_cpus_and_wins_next_to_others_is_tuned():
    def answer(operation, configuration, luck):
        return 0.01 if configuration.is_default else 0.02 / (configuration.workers or 1)

    (entry,), _ = _calibrate(answer, names=("sqrt",), sizes=({"n": 10**6},), interference=0.4)

    assert (entry.status, entry.choice.workers) == (Status.TUNED, 4)


def test_time_that_does_not_reach_all_operations_is_said_of_those_it_missed():
    entries, _ = _calibrate(
        lambda operation, configuration, luck: 2.0, names=("svd", "qr", "eig"), sizes=(), seconds=3.0
    )

    assert all(entry.choice == DEFAULT for entry in entries)
    assert Status.UNDECIDED in {entry.status for entry in entries}


def test_a_size_of_which_no_trial_fits_the_time_is_not_measured_and_said_so():
    sizes = ({"m": 100, "n": 100}, {"m": 9000, "n": 9000})
    site = environment_of(4, memory_bytes=2**36)

    (small, large), bench = _calibrate(_steps, sizes=sizes, site=site)

    assert small.status is Status.TUNED
    assert (large.status, large.choice) == (Status.UNDECIDED, DEFAULT)
    assert large.reason.startswith("Not measured: one trial of it takes about ")
    assert large.reason.endswith(" s or more, and 60 s were left. Give it more time with --budget.")
    assert {case.operation.size["n"] for plan in bench.plans for case in plan.cases} == {100}


def test_the_first_pass_keeps_to_its_share_where_calls_are_slow():
    def answer(operation, configuration, luck):
        return {"batch_matmul": 0.108, "share": 0.1}.get(operation.name, 0.01)

    names = ("batch_matmul", "share", "svd", "qr", "eig")
    bench = FakeBench(answer, start_seconds=0.05)
    run_calibration(bench, Request(operations=names, effort="quick", budget_seconds=8.0), environment_of(2))
    first = {}
    for plan in bench.plans:
        first.setdefault(plan.cases[0].operation.name, len(plan.cases[0].configurations))
    assert first == {"batch_matmul": 1, "share": 1, "svd": 1, "qr": 1, "eig": 1}


def test_no_process_of_exploration_begins_that_cannot_end_in_the_time():
    """Every candidate of `share` takes 20 times as long as the default, so that eight of them take 7 s."""

    def answer(operation, configuration, luck):
        return 0.4 if operation.name == "share" and not configuration.is_default else 0.02

    bench = FakeBench(answer, start_seconds=0.05)
    request = Request(operations=("share", "svd"), effort="quick", budget_seconds=6.0)
    run_calibration(bench, request, environment_of(2))

    assert {plan.cases[0].operation.name for plan in bench.plans} == {"share", "svd"}
    assert bench.clock < 6.0


@pytest.mark.parametrize("seed", [0, 3])
def test_what_falls_when_the_time_is_over_has_no_successor(seed):
    def answer(operation, configuration, luck):
        return 0.02 * (1.0 if configuration.is_default else 0.97) * math.exp(luck.gauss(0, 0.06))

    names = ("sqrt", "exp", "log", "sin", "add", "copy", "power", "fill")
    request = Request(operations=names, sizes=({"n": 10**6},), effort="quick", budget_seconds=20.0)
    entries, _, _ = run_calibration(FakeBench(answer, seed=seed), request, environment_of(2))

    assert not [entry.reason for entry in entries if "after 0 processes" in entry.reason]


def test_a_budget_for_not_even_one_operation_is_refused():
    with pytest.raises(BadBudget, match="too short"):
        _calibrate(_steps, seconds=1.0)


def test_a_size_that_does_not_fit_the_memory_is_refused():
    with pytest.raises(BadSize, match="a quarter of the memory"):
        _calibrate(_steps, sizes=({"m": 10**6, "n": 10**6},))


def _gains(operation, configuration, luck):
    """Half the time for one thread at some operations, a tenth less at others, all in noise of 2 %."""
    best = {"svd": 0.5, "qr": 0.7, "eig": 0.9}.get(operation.name, 1.1)
    return 0.02 * (1.0 if configuration.is_default else best) * math.exp(luck.gauss(0, 0.02))


def test_a_choice_that_led_by_luck_is_replaced_by_what_its_test_shows_to_be_better():
    """One thread takes half the default's time while the search goes on, and 0.8 of it under test; two always 0.6."""

    def answer(operation, configuration, luck):
        exploring = len(bench.plans[-1].cases[0].configurations) > 1
        ratios = {1: 0.5 if exploring else 0.8, 2: 0.6}
        return 0.01 * ratios.get(configuration.blas_threads or 4, 1.0)

    bench = FakeBench(answer)
    request = Request(operations=("svd",), sizes=({"m": 100, "n": 100},), budget_seconds=60.0)
    entries, _, _ = run_calibration(bench, request, environment_of(4))

    assert [(entry.status, entry.choice.blas_threads) for entry in entries] == [(Status.TUNED, 1), (Status.TUNED, 2)]
    assert [entry.evidence.speedup for entry in entries] == pytest.approx([1 / 0.8, 1 / 0.6])


def test_a_choice_that_more_cpus_refute_takes_back_no_entry_of_another_choice():
    """One thread led and was proved while a CPU was missing; two threads were proved, and are better, with all CPUs."""

    def answer(operation, configuration, luck):
        exploring = len(bench.plans[-1].cases[0].configurations) > 1
        if configuration.blas_threads == 2 and not exploring:
            bench.capacity = 4.0
        ratios = {1: 0.5 if exploring else 0.8 if bench.capacity < 4.0 else 1.2, 2: 0.6}
        return 0.01 * ratios.get(configuration.blas_threads or 4, 1.0)

    bench = FakeBench(answer, capacity=3.0)
    request = Request(operations=("svd",), sizes=({"m": 100, "n": 100},), budget_seconds=60.0)
    entries, _, _ = run_calibration(bench, request, environment_of(4))

    assert [(entry.status, entry.choice.blas_threads) for entry in entries] == [(Status.TUNED, 1), (Status.TUNED, 2)]
    last = bench.plans[-1].cases[0].configurations
    assert [choice.blas_threads for choice in last] == [1]


NAMES = ("svd", "qr", "eig", "eigh", "solve")


def _all(bench, seconds=60.0, *, report=lambda event: None, until_decided=False):
    request = Request(operations=NAMES, sizes=({"n": 100},), budget_seconds=seconds, until_decided=until_decided)
    return run_calibration(bench, request, environment_of(2), report=report)


def test_exploration_passes_through_all_operations_before_the_first_confirmation():
    events = []
    _all(FakeBench(_gains), report=events.append)
    first = next(place for place, event in enumerate(events) if isinstance(event, Confirming))
    assert {event.name for event in events[:first] if hasattr(event, "index")} == set(NAMES)


def _places(capacity):
    """Places of the plans that explore, and of those that confirm, of eight operations that gain much with workers."""
    names = ("sqrt", "exp", "log", "sin", "add", "copy", "power", "fill")
    bench = FakeBench(lambda operation, configuration, luck: 0.02 / (configuration.workers or 1), capacity=capacity)
    sizes = ({"n": 1_000_000},)
    request = Request(operations=names, sizes=sizes, budget_seconds=60.0)
    entries, _, _ = run_calibration(bench, request, environment_of(2, full_capacity=2.0))
    first = {}
    for place, plan in enumerate(bench.plans):
        for case in plan.cases:
            first.setdefault(case.operation.name, place)
    tests = [place for place, plan in enumerate(bench.plans) if len(plan.cases) > 1]
    return entries, sorted(first.values()), tests


def test_what_leads_by_far_is_confirmed_between_explorations_while_all_cpus_are_there():
    entries, explored, tests = _places(2.0)
    assert {entry.status for entry in entries} == {Status.TUNED}
    assert tests[0] < explored[-1]


def test_without_full_capacity_all_operations_are_explored_first():
    _, explored, tests = _places(1.0)
    assert tests[0] > explored[-1]


def test_until_an_operation_is_explored_one_candidate_of_it_at_most_is_tested():
    """Whatever led in exploration is slower than the default under test."""

    def answer(operation, configuration, luck):
        exploring = len(bench.plans[-1].cases[0].configurations) > 1
        threads = configuration.blas_threads or 64
        return 0.005 * (1 + abs(threads - 20) / 20) if exploring or threads == 64 else 0.02

    bench = FakeBench(answer, capacity=64.0)
    names = (*NAMES, "inv", "det", "cholesky")
    request = Request(operations=names, sizes=({"n": 100},), budget_seconds=600.0)
    run_calibration(bench, request, environment_of(64, full_capacity=64.0))

    tested, early = {}, []
    for plan in bench.plans:
        for case in plan.cases:
            choices = tested.setdefault(case.operation, set())
            if len(case.configurations) == 1:
                choices.update(case.configurations)
            elif choices:
                early.append(len(choices))
    assert early
    assert set(early) == {1}
    assert max(map(len, tested.values())) > 1


def test_what_was_put_to_the_test_early_gives_way_to_a_better_leader_while_nothing_was_bet_on_it():
    """Long before the best of 63 thread counts is found, others lead by far."""
    bench = FakeBench(lambda _, configuration, __: 0.005 * (1 + abs((configuration.blas_threads or 64) - 37) / 20))
    request = Request(operations=("qr",), sizes=({"n": 100},), budget_seconds=600.0)
    (entry,), _, _ = run_calibration(bench, request, environment_of(64))

    tested = {case.configurations for plan in bench.plans for case in plan.cases if len(case.configurations) == 1}
    assert tested == {(entry.choice,)}
    assert entry.choice.blas_threads == 37


def test_plain_losers_are_dropped_after_one_trial():
    bench = FakeBench(_gains)
    entries, _, _ = _all(bench)
    runs = [case.operation.name for plan in bench.plans for case in plan.cases]
    assert (runs.count("eigh"), runs.count("solve")) == (1, 1)
    assert {entry.operation.name: entry.status for entry in entries} == {
        "svd": Status.TUNED,
        "qr": Status.TUNED,
        "eig": Status.TUNED,
        "eigh": Status.DEFAULT_KEPT,
        "solve": Status.DEFAULT_KEPT,
    }


def test_visits_of_one_candidate_are_interleaved_with_those_of_others():
    bench = FakeBench(_gains)
    _all(bench)
    plans = [{case.operation.name for case in plan.cases} for plan in bench.plans]
    qr = [place for place, names in enumerate(plans) if "qr" in names]
    assert all(any({"svd", "eig"} & plans[place] for place in (turn, turn - 1, turn + 1)) for turn in qr[1:6])


def test_the_events_of_a_round_say_what_is_decided_undecided_and_left():
    events = []
    _all(FakeBench(_gains), report=events.append)
    rounds = [event for event in events if isinstance(event, Confirming)]
    assert (rounds[0].decided, rounds[0].undecided) == (2, 3)
    assert rounds[0].seconds_left > 0
    assert rounds[-1].undecided <= rounds[0].undecided


def test_with_little_time_those_with_the_most_to_gain_are_decided():
    entries, clock, _ = _all(FakeBench(_gains, start_seconds=0.5), seconds=8.0)
    statuses = {entry.operation.name: entry.status for entry in entries}
    assert statuses["svd"] is Status.TUNED
    assert Status.UNDECIDED in statuses.values()
    assert clock.elapsed <= 9.0


def test_until_decided_goes_on_without_a_budget():
    entries, _, _ = _all(FakeBench(_gains, start_seconds=2.0), seconds=5.0, until_decided=True)
    assert all(entry.is_decided for entry in entries)


def test_a_profile_lists_entries_as_they_were_planned_not_as_they_were_decided():
    request = Request(operations=("svd", "qr"), sizes=({"m": 100, "n": 100}, {"m": 50, "n": 50}), budget_seconds=60.0)
    plan = make_plan(request, SITE)
    planned = plan.operations
    entries = [make_bare_entry(size, kind(size.name), SITE) for size in (planned[2], planned[0], planned[3])]

    assert [entry.operation for entry in plan.in_order(entries)] == [planned[0], *planned[2:]]


@pytest.mark.parametrize("relatives", [0, 3, 7, 12])
def test_a_calibration_that_is_resumed_ends_the_same_to_the_byte(tmp_path, relatives):
    whole, part = tmp_path / "whole", tmp_path / "part"
    header = Header(request=Request(), environment=environment_of(2), self_test=SelfTest())
    entries, _, _ = _all(Journal(FakeBench(_gains), whole, header))
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[: 1 + relatives]))

    class Rest:
        """The machine as it goes on where the journal ends."""

        plans = 0

        def run(self, plan):
            Rest.plans += 1
            again = FakeBench(_gains)
            again.plans = [plan] * (relatives + Rest.plans - 1)
            return again.run(plan)

    resumed, _, _ = _all(Journal(Rest(), part, header, resume=True))

    assert len(lines) > relatives
    assert [(entry.operation, entry.status, entry.choice) for entry in resumed] == [
        (entry.operation, entry.status, entry.choice) for entry in entries
    ]
