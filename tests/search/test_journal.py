"""A calibration goes on where it ended."""

import json
import os

import pytest
from support.calibration_runs import CRASH, LARGE, ONE, SMALL
from support.fake_bench import FakeBench
from support.profile_builders import make_entry, profile

from autotune.bench.selftest import SelfTest
from autotune.model.codec import encode
from autotune.model.measurement import Case, TrialPlan
from autotune.profiles.profile_document import encode_profile
from autotune.search.environment import Environment
from autotune.search.journal import Header, Journal
from autotune.search.journal import sessions as sessions_of
from autotune.search.request import Request

HEADER = Header(
    request=Request(operations=("svd",), sizes=({"n": 100},), asked_at="2026-11-29T12:00:00+00:00"),
    environment=Environment(usable_cpus=2),
    self_test=SelfTest(resolution=0.01, seconds=1.0),
    warm_starts=(profile(make_entry("svd", choice={"blas_threads": 1}, m=9, n=9)),),
)
PLANS = [
    TrialPlan(cases=(Case(operation=case, configurations=(ONE,)),), rounds=2, seed=seed, seconds=1.5)
    for seed, case in enumerate((SMALL, LARGE))
]


def _bench():
    return FakeBench(
        lambda operation, configuration, luck: CRASH if operation == LARGE else 0.01 + luck.random(),
        interference=0.01,
        capacity=1.9,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.jsonl"


@pytest.fixture
def sessions(path):
    journal = Journal(_bench(), path, HEADER)
    return [journal.run(plan) for plan in PLANS]


def test_what_was_measured_is_answered_from_the_file_equal_in_all(path, sessions):
    bench = _bench()
    journal = Journal(bench, path, Header.read(path), resume=True)

    assert [journal.run(plan) for plan in PLANS] == sessions
    assert bench.plans == []


def test_another_plan_than_the_remembered_one_is_measured_and_so_is_all_after_it(path, sessions):
    bench = _bench()
    journal = Journal(bench, path, HEADER, resume=True)

    for plan in (PLANS[1], PLANS[1]):
        journal.run(plan)

    assert bench.plans == [PLANS[1], PLANS[1]]
    assert len(sessions_of(path)) == 2


def test_a_line_cut_short_by_a_crash_is_measured_again(path, sessions):
    path.write_text(path.read_text()[:-20])
    bench = _bench()
    journal = Journal(bench, path, HEADER, resume=True)

    assert journal.run(PLANS[0]) == sessions[0]
    journal.run(PLANS[1])

    assert bench.plans == [PLANS[1]]
    assert len(sessions_of(path)) == 2


def test_without_resume_the_file_is_begun_anew(path, sessions):
    Journal(_bench(), path, HEADER)

    assert sessions_of(path) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"asked": {}}', "\xff\xfe"])
def test_a_file_that_is_no_journal_has_no_header_and_no_sessions(path, text):
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))

    assert (Header.read(path), sessions_of(path)) == (None, ())


def test_a_folder_that_cannot_be_written_costs_the_memory_only(tmp_path):
    (tmp_path / "file").write_text("in the way")

    journal = Journal(_bench(), tmp_path / "file" / "journal.jsonl", HEADER)

    assert len(journal.run(PLANS[0]).measurements) == 2


@pytest.mark.parametrize(
    "part",
    [
        {"request": {"moon": 1}},
        {"request": None},
        {"environment": {"moon": 1}},
        {"self_test": {"seconds": 1.0, "moon": 1}},
        {"self_test": 5},
        {"warm_starts": [{}]},
        {"warm_starts": [encode_profile(profile(make_entry("svd", choice={"blas_threads": 1}, k=9)))]},
    ],
)
def test_what_another_version_wrote_is_not_gone_on_with(path, part):
    path.parent.mkdir()
    path.write_text(json.dumps(encode(HEADER) | part) + "\n")
    assert Header.read(path) is None


def test_the_header_is_read_back_as_it_was(path, sessions):
    assert Header.read(path) == HEADER


@pytest.mark.parametrize("session", [{}, 5, {"measurements": [{}], "wall_seconds": 1, "rejected": 0}])
def test_a_session_that_cannot_be_understood_is_measured_again(path, sessions, session):
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {"session": session})
    path.write_text("\n".join(lines) + "\n")
    journal = Journal(_bench(), path, Header.read(path), resume=True)
    assert [journal.run(plan) for plan in PLANS] == sessions


def test_a_pipe_in_the_place_of_the_journal_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "journal.jsonl")
    assert Header.read(tmp_path / "journal.jsonl") is None
