"""What the daemon remembers, as a file that anything may have happened to."""

import json
import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon_scenes import NAME, NOON, entry, knowledge, row

from autotune.daemon import state_file
from autotune.daemon.budget import Spent
from autotune.daemon.remembered import Memory
from autotune.daemon.schedule import queue

FULL = Memory(
    spent=Spent("2026-01-01", 5.0),
    paused_until=NOON,
    demand=row("svd", 5, n=100),
    used=row("qr", 5, n=100),
    faded=NOON,
    attempts={"svd float64": [1.0, NOON]},
    wishes=[["svd", "float64", {}]],
    served={"svd float64": [NAME]},
    doubts={"inv float64 n=5": ["inv", "float64", {"n": 5}, "It was slower"]},
    interrupted={"interpreter": NAME, "operation": "det", "dtype": "float64", "sizes": {}},
    trials={"/p": [[1, 2], ["slower"]]},
    trusted={"/p": [1, 2]},
    known={NAME: {"usable_cpus": 4}},
    stale={NAME: "usable_cpus was 4 and is 2."},
    noticed={"k1": NOON},
    checked={"k1 svd float64": NOON},
    counts={"adopted": 1.0},
    unpublished={"/p": NAME},
    pulled=NOON,
    pull_failures=1,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["svd", "float64", "/p", ""]),
    lambda each: (
        st.lists(each, max_size=4) | st.dictionaries(st.sampled_from(["m", "n", NAME]), each, max_size=3)
    ),
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
    found = dict(value) if isinstance(value, dict) else list(value)
    found[place] = new
    return found


def test_what_was_written_is_what_is_read(tmp_path):
    state_file.save(tmp_path / "state.json", FULL)
    assert state_file.load(tmp_path / "state.json") == (FULL, None)


@given(st.data())
def test_a_state_file_with_anything_in_it_is_refused_or_can_be_worked_with(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "state.json"
    state_file.save(path, FULL)
    document = data.draw(replaced(json.loads(path.read_text("utf-8")), ANYTHING))
    path.write_text(json.dumps(document), "utf-8")
    found, problem = state_file.load(path)
    assert (problem is None) or found == Memory()
    queue(knowledge(entry("svd"), memory=found))
    found.settle(NOON)
    found.fade(NOON + 86400)
    found.trim()
    found.strike([NAME])
    state_file.save(path, found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"faded": 10**400},
        {"faded": math.nan},
        {"paused_until": math.inf},
        {"spent": {"day": "zzz", "cpu_seconds": 1.0}},
        {"spent": {"day": "2026-11-22", "cpu_seconds": 10**400}},
        {"known": {"python": {"cpus": [[]]}}},
        {"trusted": {"profile": [[]]}},
    ],
)
def test_what_nothing_can_be_reckoned_with_is_refused(tmp_path, wrong):
    (tmp_path / "state.json").write_text(json.dumps({"format": 1, **wrong}))
    found, problem = state_file.load(tmp_path / "state.json")
    assert found == Memory()
    assert problem is not None


def test_every_field_of_the_memory_is_checked():
    assert set(state_file._SHAPES) == {one.name for one in fields(Memory)}
