"""Plan of a cluster's measurements, with a clock that only the test moves."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.profile_builders import KEY, make_entry, profile

from autotune.bench.selftest import SelfTest
from autotune.cluster.cluster_plan import ASKED, ATTEMPTS, PAUSE_SECONDS, ClusterPlan, Node, NodeTask, SearchUnit
from autotune.model.entry import OUT_OF_TIME
from autotune.model.policy import LEAST_BUDGET_SECONDS

OTHER_CLASS = replace(KEY, usable_cpus=4)
TESTED = SelfTest()


def units(*names):
    """Units of these names, the first the shortest."""
    return tuple(SearchUnit(name=name, dtype="float64", seconds=place) for place, name in enumerate(names, 1))


def node(worker, host=None, *, key=KEY, names=("svd", "qr", "inv")):
    return Node(worker=worker, host=host or worker, key=key, units=units(*names))


def plan_of(*nodes, budget=300.0):
    plan = ClusterPlan(budget)
    for each in nodes:
        plan.join(each)
    return plan


def ready(*nodes, budget=300.0):
    """A plan whose hosts have passed their self-tests."""
    plan = plan_of(*nodes, budget=budget)
    for job in plan.begin(0.0):
        assert job.task is NodeTask.EXAMINE
        plan.record_self_test(job, TESTED)
    return plan


def said(job, choice=1, *, reason=None):
    """Result of a host's job: one thread is best, another choice is, or the default is kept."""
    entry = make_entry(job.unit.name, choice={"blas_threads": choice} if choice else None, n=100)
    return profile(replace(entry, reason=reason) if reason else entry, key=job.node.key, host=job.node.host)


def orders(jobs):
    return [(job.node.worker, str(job.task), str(job.unit) if job.unit else None) for job in jobs]


def finished(plan, *, seconds=10.0, choices=None):
    """Carry out every order; returns what was asked, in order, and the rounds it took."""
    log, rounds = [], 0
    while not plan.is_over:
        jobs = plan.begin(0.0)
        assert jobs, "no host is asked, and it is not over"
        rounds += 1
        log += orders(jobs)
        for job in jobs:
            if job.unit is None:
                plan.record_self_test(job, TESTED)
            else:
                choice = (choices or {}).get((job.node.host, job.unit.name), 1)
                plan.record_profile(job, said(job, choice), seconds)
    return log, rounds


def test_every_host_is_tested_before_it_measures():
    plan = plan_of(node("a"), node("b"))
    assert orders(plan.begin(0.0)) == [("a", "examine", None), ("b", "examine", None)]


def test_one_operation_takes_two_hosts_one_of_which_confirms():
    plan = plan_of(*(node(name, names=("svd",)) for name in "abc"))
    log, _ = finished(plan)
    assert [line for line in log if line[1] != "examine"] == [("a", "search", "svd"), ("b", "confirm", "svd")]


def test_the_longest_operation_goes_first():
    plan = ready(node("a"), node("b"))
    assert orders(plan.begin(0.0)) == [("a", "search", "inv"), ("b", "search", "qr")]


def test_an_operation_is_searched_once_and_confirmed_by_another_host():
    log, _ = finished(ready(node("a"), node("b")))
    for name in ("svd", "qr", "inv"):
        searched = [worker for worker, task, unit in log if (task, unit) == ("search", name)]
        confirmed = [worker for worker, task, unit in log if (task, unit) == ("confirm", name)]
        assert len(searched) == len(confirmed) == 1
        assert searched != confirmed


def test_one_host_confirms_nothing_and_misses_nothing():
    plan = ready(node("a"))
    log, _ = finished(plan)
    assert {task for _, task, _ in log} == {"search"}
    assert plan.missing == []


def test_what_keeps_the_default_is_not_confirmed():
    names = ("svd", "qr", "inv")
    log, _ = finished(ready(node("a"), node("b")), choices={(host, name): None for host in "ab" for name in names})
    assert {task for _, task, _ in log} == {"search"}


def test_a_third_host_is_asked_where_the_second_disagrees():
    plan = ready(*(node(name, names=("svd",)) for name in "abcd"))
    log, _ = finished(plan, choices={("b", "svd"): None, ("c", "svd"): 1})
    assert [task for _, task, _ in log].count("confirm") == ASKED - 1


def test_no_one_is_asked_after_the_third():
    plan = ready(*(node(name, names=("svd",)) for name in "abcde"))
    log, _ = finished(plan, choices={(host, "svd"): None for host in "bcde"})
    assert [task for _, task, _ in log].count("confirm") == ASKED - 1
    assert plan.missing == []


def test_only_what_is_not_confirmed_is_asked_about():
    plan = ready(node("a", names=("svd",)), node("b", names=("svd",)))
    job = plan.begin(0.0)[0]
    entries = [make_entry("svd", choice={"blas_threads": 1}, n=100), make_entry("svd", n=200)]
    plan.record_profile(job, profile(*entries, host="a"), 5.0)
    (confirming,) = plan.begin(0.0)
    assert [entry.operation.size["n"] for entry in confirming.choices] == [100]


def test_a_confirmation_without_time_is_no_word_and_is_asked_for_again():
    plan = ready(node("a", names=("svd",)), node("b", names=("svd",)))
    plan.record_profile(plan.begin(0.0)[0], said(plan.running["a"]), 5.0)
    (job,) = plan.begin(0.0)
    plan.record_profile(job, said(job, None, reason=OUT_OF_TIME), 5.0)
    assert orders(plan.begin(0.0)) == [("b", "confirm", "svd")]


def test_workers_of_one_host_measure_one_at_a_time():
    plan = plan_of(node("a1", "a"), node("a2", "a"))
    assert orders(plan.begin(0.0)) == [("a1", "examine", None)]
    assert plan.begin(0.0) == []


def test_another_worker_of_a_host_goes_on_with_its_self_test():
    plan = ready(node("a1", "a"), node("a2", "a"))
    plan.leave("a1")
    assert orders(plan.begin(0.0)) == [("a2", "search", "inv")]


def test_a_worker_that_does_something_else_keeps_its_host_free_of_us():
    plan = plan_of(node("a1", "a"), node("a2", "a"), node("b"))
    assert orders(plan.begin(0.0, occupied={"a2"})) == [("b", "examine", None)]


def test_what_a_dead_worker_had_goes_to_another_and_nothing_finished_is_repeated():
    plan = ready(node("a"), node("b"))
    first, second = plan.begin(0.0)
    plan.record_profile(second, said(second), 5.0)
    assert plan.leave("a") is first
    log, _ = finished(plan)
    assert ("b", "search", "inv") in log
    assert ("b", "search", "qr") not in log


def test_a_unit_that_kills_its_workers_is_given_up_and_named():
    plan = ClusterPlan(300.0)
    for number in range(ATTEMPTS):
        plan.join(node(f"w{number}", names=("svd",)))
        (job,) = plan.begin(0.0)
        plan.record_self_test(job, TESTED)
        assert orders(plan.begin(0.0)) == [(f"w{number}", "search", "svd")]
        plan.leave(f"w{number}")
    plan.join(node("last", names=("svd",)))
    assert plan.is_over
    assert [(str(gap.unit), gap.reason) for gap in plan.missing] == [
        ("svd", "3 workers were lost while they measured it.")
    ]


def test_a_host_on_which_a_unit_fails_is_not_asked_for_it_again():
    plan = ready(node("a", names=("svd",)), node("b", names=("svd",)))
    (job,) = plan.begin(0.0)
    plan.record_failure(job, "It broke.")
    assert orders(plan.begin(0.0)) == [("b", "search", "svd")]


def test_what_fails_on_every_host_is_missed_with_the_reason():
    plan = ready(node("a", names=("svd",)))
    plan.record_failure(plan.begin(0.0)[0], "It broke.")
    assert plan.is_over
    assert [gap.reason for gap in plan.missing] == ["It broke."]


def test_hosts_whose_self_test_fails_end_it():
    plan = plan_of(node("a"))
    plan.record_failure(plan.begin(0.0)[0], "No lock can be made.")
    assert plan.is_over
    assert {gap.reason for gap in plan.missing} == {"No lock can be made."}


def test_a_busy_host_is_left_alone_for_a_while():
    plan = plan_of(node("a"))
    plan.postpone(plan.begin(0.0)[0], 10.0)
    assert plan.begin(10.0 + PAUSE_SECONDS / 2) == []
    assert orders(plan.begin(10.0 + PAUSE_SECONDS)) == [("a", "examine", None)]
    assert not plan.is_over


def test_a_worker_that_comes_in_the_middle_takes_part():
    plan = ready(node("a"))
    plan.begin(0.0)
    plan.join(node("b"))
    (job,) = plan.begin(0.0)
    plan.record_self_test(job, TESTED)
    assert orders(plan.begin(0.0)) == [("b", "search", "qr")]


def test_without_workers_it_is_deserted_and_not_over():
    plan = ready(node("a"))
    plan.begin(0.0)
    plan.leave("a")
    assert (plan.is_deserted, plan.is_over) == (True, False)


def test_what_is_done_is_not_deserted():
    plan = ready(node("a", names=("svd",)))
    finished(plan)
    plan.leave("a")
    assert (plan.is_deserted, plan.is_over) == (False, True)


def test_each_class_has_the_whole_request_to_itself():
    plan = ready(node("a", names=("svd",)), node("b", key=OTHER_CLASS, names=("svd",)))
    log, _ = finished(plan)
    assert log == [("a", "search", "svd"), ("b", "search", "svd")]
    assert [plan.hosts(key) for key in plan.classes] == [["a"], ["b"]]


def test_the_budget_is_the_class_s():
    single, both = ready(node("a")), ready(node("a"), node("b"))
    assert [job.seconds for job in single.begin(0.0)] == [100.0]
    first, second = both.begin(0.0)
    assert [first.seconds, second.seconds] == pytest.approx([300 / 4.2] * 2)


def test_what_one_unit_leaves_is_there_for_the_next():
    plan = ready(node("a"))
    (job,) = plan.begin(0.0)
    plan.record_profile(job, said(job), 20.0)
    assert [job.seconds for job in plan.begin(0.0)] == [140.0]


def test_what_the_time_does_not_reach_is_missed():
    plan = ready(node("a"), budget=30.0)
    (job,) = plan.begin(0.0)
    plan.record_profile(job, said(job), 31.0)
    assert plan.is_over
    assert {gap.reason for gap in plan.missing} == {"The time allowed ended before a host measured it."}


def test_profiles_hold_one_host_s_words_each():
    plan = ready(node("a"), node("b"))
    finished(plan)
    assert {host: made.provenance.host for (_, host), made in plan.profiles.items()} == {"a": "a", "b": "b"}
    assert all(len(made.entries) == 3 for made in plan.profiles.values())


@pytest.mark.parametrize(("hosts", "rounds"), [(1, 24), (2, 24), (4, 12), (8, 6)])
def test_equal_hosts_share_the_work_evenly(hosts, rounds):
    """With confirmations as long as searches: 24 searches on one host, 24 and 24 confirmations on several."""
    names = tuple(f"op{number}" for number in range(24))
    plan = ready(*(node(f"h{number}", names=names) for number in range(hosts)))
    assert finished(plan, seconds=0.0)[1] == rounds


@given(st.data())
def test_whatever_happens_no_host_measures_twice_at_once_and_everything_ends(data):
    plan = plan_of(*(node(f"w{number}", f"h{number % 3}") for number in range(4)), budget=200.0)
    now, seen = 0.0, set()
    for _ in range(300):
        if plan.is_over or plan.is_deserted:
            break
        now += 10.0
        jobs = plan.begin(now)
        running = [job.node.host for job in plan.running.values()]
        assert len(set(running)) == len(running)
        for job in jobs:
            assert job.unit is None or job.seconds >= LEAST_BUDGET_SECONDS
            match data.draw(st.sampled_from(["done", "done", "done", "fail", "leave", "busy"])):
                case "done" if job.unit is None:
                    plan.record_self_test(job, TESTED)
                case "done":
                    word = (job.node.host, job.unit, job.node.key)
                    assert word not in seen
                    seen.add(word)
                    plan.record_profile(job, said(job, data.draw(st.sampled_from([1, 2, None]))), 5.0)
                case "fail":
                    plan.record_failure(job, "It broke.")
                case "leave":
                    plan.leave(job.node.worker)
                case "busy":
                    plan.postpone(job, now)
    assert plan.is_over or plan.is_deserted or now == 3000.0
    assert not plan.running


def test_a_self_test_that_serves_nothing_any_more_is_not_waited_for():
    plan = plan_of(node("a", names=("svd",)), node("b", names=("svd",)))
    examining = {job.node.host: job for job in plan.begin(0.0)}
    plan.record_self_test(examining["a"], TESTED)
    (search,) = plan.begin(1.0)
    assert not plan.is_over
    plan.record_profile(search, said(search, choice=None), 10.0)
    assert (list(plan.running), plan.is_over) == (["b"], True)


def test_a_self_test_that_a_confirmation_needs_is_waited_for():
    plan = plan_of(node("a", names=("svd",)), node("b", names=("svd",)))
    examining = {job.node.host: job for job in plan.begin(0.0)}
    plan.record_self_test(examining["a"], TESTED)
    (search,) = plan.begin(1.0)
    plan.record_profile(search, said(search), 10.0)
    assert not plan.is_over
