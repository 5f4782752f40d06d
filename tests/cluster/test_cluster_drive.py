"""A calibration of a cluster, with a crew that answers at once and a clock that only waiting moves."""

import json
from dataclasses import asdict, replace

import pytest
from support.profile_builders import KEY, make_entry, profile

from autotune.bench.selftest import SelfTest
from autotune.cluster.calibrate_cluster import (
    PATIENCE_SECONDS,
    ClusterCalibration,
    JobFailed,
    WorkerLeft,
    WorkerRejected,
    class_profile,
)
from autotune.cluster.cluster_plan import NodeTask
from autotune.cluster.dask_workers import SchedulerLost
from autotune.cluster.node import Order, decode_order, encode_order, versions
from autotune.errors import EnvironmentProblem, UsageError
from autotune.model.profile import Profile
from autotune.profiles.profile_document import encode_profile
from autotune.search.request import Request

NAMES = ("svd", "qr")


class FakeCrew:
    """Workers by name; a worker is a function from an order to an answer, or to None for no answer yet."""

    def __init__(self, **workers):
        self.staff = workers
        self.orders = []
        self.cancelled = []
        self.clock = 0.0
        self.busy = set()
        self.at = {}
        self._open = {}

    def addresses(self):
        return list(self.staff)

    def occupied_workers(self):
        return self.busy

    def send(self, worker, order, name):
        self.orders.append((worker, name))
        self._open[len(self.orders)] = (worker, decode_order(order))
        return len(self.orders)

    def answers(self):
        for ticket, (worker, order) in list(self._open.items()):
            answer = self.staff[worker](order) if worker in self.staff else None
            if answer is not None:
                del self._open[ticket]
                yield ticket, {"seconds": 10.0, "versions": versions(), **answer}

    def cancel(self, ticket):
        self.cancelled.append(self._open.pop(ticket)[0])

    def wait(self, seconds):
        self.clock += seconds
        for moment in [due for due in self.at if due <= self.clock]:
            self.at.pop(moment)()


def host(name, *, key=KEY, choice=1, **instead):
    """A worker on its own host, which says `instead[task]` where that is given."""

    def answer(order):
        task = str(order.task)
        if task in instead:
            return instead[task]
        if task == "introduce":
            units = [{"name": name, "dtype": "float64", "seconds": 1.0} for name in NAMES]
            return {"host": name, "profile": encode_profile(Profile(key=key)), "units": units}
        if task == "examine":
            return {"self_test": asdict(SelfTest(capacity=2.0))}
        unit = order.request.operations[0]
        entry = make_entry(unit, choice={"blas_threads": choice} if choice else None, m=100, n=100)
        return {"profile": json.loads(json.dumps(encode_profile(profile(entry, key=key, host=name))))}

    return answer


def never(order):
    return None


def cluster(crew, *, saved=None, events=None):
    return ClusterCalibration(
        workers=crew,
        request=Request(operations=NAMES, budget_seconds=100.0),
        report=([] if events is None else events).append,
        save=lambda key, said: None if saved is None else saved.append(sorted(said)),
        now=lambda: crew.clock,
    )


def test_two_hosts_confirm_each_other_and_everything_is_saved_as_it_comes():
    crew, saved = FakeCrew(a=host("a"), b=host("b")), []
    outcome = cluster(crew, saved=saved).run()
    assert (outcome.problem, outcome.interrupted, outcome.missing) == (None, False, ())
    ((key, said),) = outcome.classes
    merged = class_profile(key, said)
    assert [(entry.operation.name, entry.evidence.hosts) for entry in merged.entries] == [("qr", 2), ("svd", 2)]
    assert saved == [["a"], ["a", "b"], ["a", "b"], ["a", "b"]]


def test_a_class_of_one_host_keeps_that_host_s_own_profile():
    outcome = cluster(FakeCrew(a=host("a"))).run()
    assert class_profile(*outcome.classes[0]).provenance.host == "a"


def test_two_classes_are_two_profiles():
    other = replace(KEY, usable_cpus=4)
    outcome = cluster(FakeCrew(a=host("a"), b=host("b", key=other))).run()
    assert [(key.usable_cpus, sorted(said)) for key, said in outcome.classes] == [(8, ["a"]), (4, ["b"])]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"problem": "autotune is not installed there.", "kind": "absent"}, "not installed"),
        ({"versions": {**versions(), "autotune": "0.0.1"}}, "autotune is 0.0.1 there"),
        ({"versions": {**versions(), "Python": "2.7"}}, "Python is 2.7 there"),
    ],
)
def test_a_worker_that_cannot_take_part_is_named_and_left_out(answer, reason):
    events = []
    crew = FakeCrew(a=host("a"), b=host("b", introduce={**host("b")(decode_order(INTRODUCTION)), **answer}))
    outcome = cluster(crew, events=events).run()
    (refused,) = [event for event in events if isinstance(event, WorkerRejected)]
    assert refused.worker == "b"
    assert reason in refused.reason
    assert [sorted(said) for _, said in outcome.classes] == [["a"]]


def test_if_no_one_can_take_part_the_first_reason_is_raised():
    with pytest.raises(EnvironmentProblem, match="not installed"):
        cluster(FakeCrew(a=host("a", introduce={"problem": "It is not installed.", "kind": "absent"}))).run()


def test_what_cannot_be_asked_of_any_node_is_wrong_usage():
    with pytest.raises(UsageError, match="too large"):
        cluster(FakeCrew(a=host("a", introduce={"problem": "It is too large.", "kind": "usage"}))).run()


def test_a_scheduler_without_workers_is_told_after_a_while():
    crew = FakeCrew()
    with pytest.raises(EnvironmentProblem, match="no workers"):
        cluster(crew).run()
    assert crew.clock == pytest.approx(PATIENCE_SECONDS, abs=1.0)


def test_the_work_of_a_worker_that_leaves_is_done_by_another():
    events = []
    crew = FakeCrew(a=host("a", search=None), b=host("b"), c=host("c"))
    crew.at[20.0] = lambda: crew.staff.pop("a")
    outcome = cluster(crew, events=events).run()
    (left,) = [event for event in events if isinstance(event, WorkerLeft)]
    assert (left.worker, str(left.job.task)) == ("a", "search")
    assert crew.cancelled == ["a"]
    assert [(entry.operation.name, entry.evidence.hosts) for entry in class_profile(*outcome.classes[0]).entries] == [
        ("qr", 2),
        ("svd", 2),
    ]


def test_a_worker_that_comes_back_introduces_itself_again():
    crew = FakeCrew(a=host("a", search=None))
    crew.at[5.0] = lambda: crew.staff.pop("a")
    crew.at[10.0] = lambda: crew.staff.update(a=host("a"))
    outcome = cluster(crew).run()
    assert outcome.problem is None
    assert [name for _, name in crew.orders].count("introduce") == 2
    assert [name for _, name in crew.orders].count("examine") == 1


def test_an_answer_that_was_lost_counts_as_a_lost_worker():
    answers = iter([{"problem": "", "kind": "lost"}])

    def unlucky(order):
        lost = next(answers, None) if str(order.task) == "search" else None
        return lost or host("a")(order)

    crew = FakeCrew(a=unlucky)
    assert cluster(crew).run().missing == ()
    assert [name for _, name in crew.orders].count("introduce") == 2


def test_when_all_workers_are_gone_it_ends_and_keeps_what_finished():
    crew = FakeCrew(a=host("a"))
    orders = crew.send

    def send(worker, order, name):
        if name == "search-svd":
            crew.staff.pop("a")
        return orders(worker, order, name)

    crew.send = send
    outcome = cluster(crew).run()
    assert outcome.problem == "No worker is left that could go on."
    assert [entry.operation.name for entry in class_profile(*outcome.classes[0]).entries] == ["qr"]
    assert [str(gap.unit) for gap in outcome.missing] == ["svd"]


@pytest.mark.parametrize(
    ("raised", "interrupted", "problem"),
    [(KeyboardInterrupt(), True, None), (SchedulerLost("The scheduler is gone."), False, "The scheduler is gone.")],
)
def test_an_interruption_and_a_lost_scheduler_keep_what_finished(raised, interrupted, problem):
    crew = FakeCrew(a=host("a", search=None))

    def stop():
        raise raised

    crew.at[30.0] = stop
    outcome = cluster(crew).run()
    assert (outcome.interrupted, outcome.problem) == (interrupted, problem)
    assert crew.cancelled == ["a"]


def test_a_busy_host_is_asked_again():
    answers = iter([{"problem": "Another process measures.", "kind": "busy"}] * 2)

    def shared(order):
        busy = next(answers, None) if str(order.task) == "examine" else None
        return busy or host("a")(order)

    events = []
    outcome = cluster(FakeCrew(a=shared), events=events).run()
    assert [event.busy for event in events if isinstance(event, JobFailed)] == [True, True]
    assert outcome.missing == ()


def test_a_worker_with_other_tasks_is_waited_for():
    crew = FakeCrew(a=host("a"))
    crew.busy = {"a"}
    crew.at[50.0] = crew.busy.clear
    assert cluster(crew).run().missing == ()
    assert crew.clock >= 50.0


@pytest.mark.parametrize(
    "answer", [{"profile": {"schema": 99}}, {"profile": encode_profile(Profile(key=replace(KEY, usable_cpus=1)))}]
)
def test_a_measurement_that_cannot_be_used_is_asked_of_another_host(answer):
    events = []
    crew = FakeCrew(a=host("a", search=answer), b=host("b"))
    outcome = cluster(crew, events=events).run()
    assert {event.job.node.host for event in events if isinstance(event, JobFailed)} == {"a"}
    assert sorted(str(entry.operation.name) for entry in outcome.classes[0][1]["b"].entries) == ["qr", "svd"]


@pytest.mark.parametrize("answer", [{}, {"self_test": 7}, {"self_test": {"capacity": "many"}}])
def test_a_self_test_that_cannot_be_used_leaves_the_work_to_another_host(answer):
    events = []
    outcome = cluster(FakeCrew(a=host("a", examine=answer), b=host("b")), events=events).run()
    assert [(event.job.node.host, event.busy) for event in events if isinstance(event, JobFailed)] == [("a", False)]
    assert [sorted(said) for _, said in outcome.classes] == [["b"]]


def test_a_worker_that_does_not_say_its_version_is_left_out():
    events = []
    outcome = cluster(FakeCrew(a=host("a"), b=host("b", introduce={"versions": {}})), events=events).run()
    assert [event.worker for event in events if isinstance(event, WorkerRejected)] == ["b"]
    assert [sorted(said) for _, said in outcome.classes] == [["a"]]


INTRODUCTION = encode_order(Order(task=NodeTask.INTRODUCE, request=Request(operations=NAMES)))
