"""State of the daemon, and its file, to which anything may have happened."""

import json
import math
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.daemon_scenes import FULL_STATE, NAME, NOON, entry, schedule_input
from support.mutants import mutants

from autotune.daemon.schedule import queue
from autotune.daemon.state import FORMAT, DaemonState, DailyCpuTime, load_state, save_state
from autotune.model.codec import encode

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["svd", "float64", "/p", ""]),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.sampled_from(["m", "n", NAME]), each, max_size=3),
    max_leaves=6,
)


def replaced(value, inside):
    """The same with any one of the values in it replaced by one of these."""
    if isinstance(value, dict) and value:
        places = list(value)
    elif isinstance(value, list) and value:
        places = range(len(value))
    else:
        return inside
    deeper = st.sampled_from(places).flatmap(
        lambda place: replaced(value[place], inside).map(lambda new: _with(value, place, new))
    )
    return inside | deeper


def _with(value, place, new):
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place] = new
    return changed


def test_what_was_written_is_what_is_read(tmp_path):
    assert all(getattr(FULL_STATE, item.name) != getattr(DaemonState(), item.name) for item in fields(FULL_STATE))
    save_state(tmp_path / "state.json", FULL_STATE)
    assert load_state(tmp_path / "state.json") == (FULL_STATE, None)
    save_state(tmp_path / "state.json", DaemonState())
    assert load_state(tmp_path / "state.json") == (DaemonState(), None)


@settings(max_examples=50)
@given(st.data())
def test_a_state_file_with_anything_in_it_is_refused_or_can_be_worked_with(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "state.json"
    save_state(path, FULL_STATE)
    document = data.draw(replaced(json.loads(path.read_text("utf-8")), ANYTHING))
    path.write_text(json.dumps(document), "utf-8")
    state, problem = load_state(path)
    assert (problem is None) or state == DaemonState()
    state.cpu_time.plus("2026-01-01", 1.0)
    queue(schedule_input(entry("svd"), state=state))
    state.delay("svd float64", NOON, 3600.0)
    state.clamp_times(NOON)
    state.decay(NOON + 86400)
    state.count_calls({}, covered=False)
    state.drop_served_orders([NAME])
    save_state(path, state)


@pytest.mark.parametrize("nothing", [False, 0, 0.0, "", {}])
def test_what_is_no_list_of_pairs_is_refused_though_it_is_empty(tmp_path, nothing):
    path = tmp_path / "state.json"
    save_state(path, FULL_STATE)
    document = json.loads(path.read_text("utf-8"))
    name = next(name for name, value in document.items() if type(value) is list and type(value[0]) is list)
    path.write_text(json.dumps({**document, name: nothing}), "utf-8")
    state, problem = load_state(path)
    assert state == DaemonState()
    assert "list of pairs" in problem


def test_a_mutant_of_a_state_file_is_refused_or_can_be_worked_with(tmp_path):
    path = tmp_path / "state.json"
    save_state(path, FULL_STATE)
    for mutant in mutants(path.read_bytes()):
        path.write_bytes(mutant)
        state, problem = load_state(path)
        assert problem is None or (state == DaemonState() and str(path) in problem)
        state.clamp_times(NOON)
        state.decay(NOON + 86400)
        json.dumps(encode(state))


@pytest.mark.parametrize(
    "wrong",
    [
        {"decayed": 10**400},
        {"decayed": math.nan},
        {"paused_until": math.inf},
        {"cpu_time": 7},
        {"cpu_time": {"day": "2026-11-22", "seconds": 10**400}},
        {"facts": {"python": {"cpus": [[]]}}},
        {"facts": {"python": 7}},
        {"trusted": {"profile": [[]]}},
        {"canaries": {"/p": [1]}},
        {"canaries": {"/p": {"profile": [], "verdicts": ["garbage"]}}},
        {"used": {"svd": 1.0}},
        {"demand": [[{"operation": "svd", "dtype": "float64", "sizes": {"n": 5}}, 1]]},
        {"demand": [[{"operation": "svd", "dtype": "float64", "sizes": {"m": 5, "n": 5}}]]},
        {"orders": [[{"operation": "no-such-operation", "dtype": "float64", "sizes": {}}, []]]},
        {"orders": [[{"operation": "svd", "dtype": "float64", "sizes": []}, []]]},
        {"unfinished": {}},
        {"unfinished": {"interpreter": "/p", "operation": {"operation": "svd", "dtype": "x", "sizes": {}}}},
        {"retries": {"x": 1}},
        {"retries": {"x": {"failures": True, "not_before": 1.0}}},
        {"stale": {"/p": []}},
        {"no_such_field": 1},
    ],
)
def test_a_state_with_a_value_that_is_not_valid_is_refused(tmp_path, wrong):
    (tmp_path / "state.json").write_text(json.dumps({"format": FORMAT, **wrong}))
    state, problem = load_state(tmp_path / "state.json")
    assert state == DaemonState()
    assert problem is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', "\0", "9" * 5000, "[" * 100_000])
def test_a_state_file_of_anything_else_is_refused(tmp_path, text):
    (tmp_path / "state.json").write_text(text, "utf-8")
    state, problem = load_state(tmp_path / "state.json")
    assert state == DaemonState()
    assert problem.startswith(f"{tmp_path}/state.json cannot be used")


# --- CPU time of a day ------------------------------------------------------------------------


def test_a_new_day_has_a_new_budget():
    assert DailyCpuTime("2026-01-01", 900.0).remaining("2026-01-02", 1000.0) == 1000.0


def test_what_was_spent_today_is_not_left():
    assert DailyCpuTime("2026-01-01", 900.0).plus("2026-01-01", 60.0).remaining("2026-01-01", 1000.0) == 40.0


def test_a_clock_set_back_by_a_day_gives_nothing_back():
    spent = DailyCpuTime("2026-01-02", 900.0)
    assert spent.remaining("2026-01-01", 1000.0) == 100.0
    assert spent.plus("2026-01-01", 50.0) == DailyCpuTime("2026-01-02", 950.0)


def test_a_day_far_ahead_was_a_wrong_clock_and_is_not_waited_for():
    spent = DailyCpuTime("2036-01-01", 1e9)
    assert spent.remaining("2026-01-01", 1000.0) == 1000.0
    assert spent.plus("2026-01-01", 50.0) == DailyCpuTime("2026-01-01", 50.0)


def test_a_day_that_is_no_date_is_over():
    assert DailyCpuTime("garbage", 900.0).remaining("2026-01-01", 1000.0) == 1000.0
