"""Requests without an entry are counted, and left in a spool that need not be read."""

import json

import numpy as np
import pytest
from support.native import needs_core
from support.profile_builders import make_entry, of_this_machine

import autotune
from autotune.model.operation import Operation
from autotune.profiles import folders, profile_files
from autotune.runtime import applied, demand
from autotune.runtime.demand import Demand, leave
from autotune.runtime.guard import Dropped
from autotune.runtime.process_state import state

LOG = Operation(name="log", sizes=(("n", 5),))


@pytest.fixture(autouse=True)
def fresh(fresh, monkeypatch, tmp_path):
    """The spool."""
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("AUTOTUNE_RECORD", raising=False)
    yield folders.user_spool()
    applied.stop_interception()
    state.demand = state.process_demand = None


def left(spool):
    (file,) = spool.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    return json.loads(file.read_text())


def counted():
    demand = Demand()
    demand.add(LOG, 1)
    return demand


@needs_core
def test_calls_that_no_profile_covers_are_counted_apart_from_those_that_one_does(fresh):
    entries = make_entry("log", n=10), make_entry("log", n=100), make_entry("inv", n=3)
    profile_files.write(of_this_machine(*entries), folders.user_profiles() / "mine.yaml")
    autotune.apply(record=True)
    for n in (50, 50, 5, 5, 5):
        autotune.config("log", n=n)
    for n in (3, 4, 4):
        np.linalg.inv(np.eye(n))
    applied.write_files_at_exit()
    assert left(fresh) == {
        "format": 2,
        "calls": [[{"name": "log", "sizes": {"n": 5}}, 3], [{"name": "inv", "sizes": {"n": 4}}, 2]],
        "used": [[{"name": "log", "sizes": {"n": 50}}, 2], [{"name": "inv", "sizes": {"n": 3}}, 1]],
    }


@needs_core
def test_recording_alone_switches_nothing(fresh):
    autotune.apply(record=True)
    np.linalg.inv(np.eye(3))
    assert state.per_call.counts() == (1, 0)
    assert state.per_call.guard is None


def test_the_variable_asks_for_it_too(monkeypatch):
    assert state.demand is None
    monkeypatch.setenv("AUTOTUNE_RECORD", "1")
    autotune.apply()
    assert state.demand is not None


def test_a_program_that_never_calls_apply_is_recorded_too(fresh, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_RECORD", "1")
    values = np.ones(20_000)
    for _ in range(3):
        autotune.map_blocks(np.log, values)
    applied.write_files_at_exit()
    assert [(operation["name"], calls) for operation, calls in left(fresh)["calls"]] == [("log", 3)]


def test_without_the_variable_a_program_that_never_calls_apply_is_not_recorded():
    autotune.map_blocks(np.log, np.ones(20_000))
    assert state.demand is None


def test_an_apply_that_says_not_to_record_goes_before_the_variable(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_RECORD", "1")
    autotune.apply(record=False)
    autotune.map_blocks(np.log, np.ones(20_000))
    assert state.demand is None


@needs_core
def test_a_qr_of_scipy_counts_once(fresh):
    linalg = pytest.importorskip("scipy.linalg")
    autotune.apply(record=True)
    for _ in range(4):
        linalg.qr(np.ones((30, 20)), mode="economic")
    applied.write_files_at_exit()
    assert [(operation["name"], calls) for operation, calls in left(fresh)["calls"]] == [("qr", 4)]


def test_nothing_is_left_where_there_is_nothing_to_say(fresh):
    autotune.apply(record=True)
    applied.write_files_at_exit()
    assert not fresh.exists()


def test_what_the_guard_dropped_is_left_too(fresh):
    leave(Demand(), [Dropped("qr", "float64", {"m": 1, "n": 2}, 1, 12, 11)])
    (row,) = left(fresh)["dropped"]
    assert row == [{"name": "qr", "sizes": {"m": 1, "n": 2}}, {"pairs": 12, "lost": 11}]


def test_counts_are_bounded(monkeypatch):
    monkeypatch.setattr(demand, "MOST_ROWS", 3)
    monkeypatch.setattr(demand, "MOST_WRITTEN", 2)
    recorded = Demand()
    for n in range(1, 10):
        operation = Operation(name="log", sizes=(("n", n),))
        recorded.meet(n, operation, covered=False)
        recorded.add(operation, n)
        recorded.count(n)
    assert [(size.size["n"], calls) for size, calls in recorded.most_called().items()] == [(3, 5), (2, 4)]


def test_a_full_spool_gets_no_more_files(fresh, monkeypatch):
    monkeypatch.setattr(demand, "MOST_FILES", 1)
    for _ in range(3):
        leave(counted(), [])
    assert len(list(fresh.iterdir())) == 1


def test_a_spool_that_cannot_be_written_is_no_error(fresh):
    fresh.parent.mkdir()
    fresh.write_text("in the way")
    leave(counted(), [])
    assert fresh.read_text() == "in the way"


def test_a_forked_child_counts_anew():
    state.process_demand = Demand()
    state.process_demand.add(LOG, 7)
    state.after_fork()
    assert state.process_demand.most_called() == {}


@needs_core
def test_what_is_asked_outside_the_scope_is_not_counted(fresh):
    with autotune.apply(record=True):
        autotune.config("log", n=5)
        np.linalg.inv(np.eye(3))
    autotune.config("log", n=5)
    autotune.config("log", n=6)
    with autotune.apply():
        np.linalg.inv(np.eye(3))
    with autotune.apply(record=True):
        autotune.config("log", n=5)
    applied.write_files_at_exit()
    assert [(operation["name"], calls) for operation, calls in left(fresh)["calls"]] == [("log", 2), ("inv", 1)]


@needs_core
def test_what_the_guard_dropped_in_a_scope_that_has_ended_is_left_at_the_end(fresh):
    profile_files.write(
        of_this_machine(make_entry("inv", choice={"blas_threads": 1}, n=3)), folders.user_profiles() / "mine.yaml"
    )
    with autotune.apply(guard=True):
        state.per_call.guard.dropped.append(Dropped("qr", "float64", {"m": 1, "n": 2}, 1, 10, 10))
    applied.write_files_at_exit()
    assert [pairs["lost"] for _, pairs in left(fresh)["dropped"]] == [10]


def test_a_dropped_choice_is_told_in_workers_or_blas_threads():
    assert "faster than 1 worker in 10 of 10" in str(Dropped("loop_exp", "float64", {"n": 1}, 1, 10, 10))
    assert "faster than 2 BLAS threads in" in str(Dropped("qr", "float64", {"m": 1, "n": 2}, 2, 10, 10))
