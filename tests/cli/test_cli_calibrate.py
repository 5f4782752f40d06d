"""`autotune calibrate`, with what was measured given."""

import importlib
import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.profile_builders import alone
from support.shown_profiles import FILL, KEY, SVD, USUAL

from autotune.bench.selftest import SelfTest
from autotune.cli import messages
from autotune.cli.calibrate import enough_for
from autotune.cli.program import program
from autotune.errors import BadBudget, EnvironmentProblem, HostBusy
from autotune.model.allocation import Limit
from autotune.model.profile import Profile
from autotune.profiles import folders, profile_files
from autotune.profiles.entry_merge import own_path
from autotune.search import runner
from autotune.search.environment import Environment
from autotune.search.events import Decided, Exploring
from autotune.search.journal import Header, Journal, journal_path
from autotune.search.request import Effort, Request
from autotune.share.publish import publish
from autotune.share.store_settings import open_store


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """Runs the verb with an answer in place of the measurement; what was asked is in `calibrate.asked`."""
    alone(monkeypatch, tmp_path)
    monkeypatch.delenv("AUTOTUNE_STORE", raising=False)
    for name in ("AUTOTUNE_CPUS", "AUTOTUNE_PROCESSES"):
        monkeypatch.setenv(name, "")  # so that it is put back
    monkeypatch.setattr(runner, "this_key", lambda: KEY)
    verb = importlib.import_module("autotune.cli.calibrate")
    monkeypatch.setattr(verb, "share_of_others", lambda _: run.busy)

    def run(*words, profile=USUAL, finished=True, problem=None, interrupted_at=None):
        def measured(request, *, report, resume=False, relatives=()):
            key = runner.this_key()
            path = journal_path(key)
            header = Header.read(path) if resume else None
            goes_on = header is not None and header.request == request
            run.asked, run.resume, run.relatives = request, goes_on, relatives
            run.runs.append(
                SimpleNamespace(usable_cpus=key.usable_cpus, request=request, resume=goes_on, relatives=relatives)
            )
            header = Header(request=request, environment=Environment(usable_cpus=2), self_test=SelfTest())
            journal = Journal(None, path, header, resume=goes_on)
            if problem is not None:
                raise problem
            times = {"elapsed": 1.0, "remaining": 2.0}
            report(Exploring(name="svd", dtype="float64", index=1, total=1, **times))
            report(Decided(entry=SVD, **times))
            whole = finished and key.usable_cpus != interrupted_at
            if whole:
                journal.finish()
            return runner.Outcome(profile=replace(profile, key=key), finished=whole)

        monkeypatch.setattr(runner, "calibrate_machine", measured)
        return CliRunner().invoke(program, ["calibrate", *words])

    run.runs, run.busy = [], 0.0
    return run


def test_a_calibration_shows_its_progress_and_its_profile_and_writes_it(calibrate):
    result = calibrate()
    path = own_path(KEY)
    assert result.exit_code == 0
    assert profile_files.read(path) == replace(USUAL, entries=(FILL, SVD))
    assert "svd m=500 n=500" in result.stdout
    assert result.stderr.splitlines()[0] == "[1/1] exploring svd  (0:01 spent, 0:02 left)"
    assert str(path) in result.stderr


def test_json_is_alone_on_standard_output(calibrate):
    assert set(json.loads(calibrate("--json").stdout)["profiles"][0]["profile"]["operations"]) == {"fill", "svd"}


def test_options_make_the_request(calibrate):
    calibrate("svd", "qr", "m=100,200", "n=5", "--effort", "quick", "--budget", "2m", "--seed", "3")
    request = calibrate.asked
    assert (request.operations, request.sizes) == (("svd", "qr"), ({"m": 100, "n": 5}, {"m": 200, "n": 5}))
    assert (request.effort, request.seconds, request.seed) == (Effort.QUICK, 120.0, 3)
    assert (request.workload, calibrate.resume) == (None, False)


INTERRUPTED = ("svd", "n=5", "--effort", "quick", "--budget", "2m", "--seed", "3")


@pytest.mark.parametrize("words", [(), INTERRUPTED])
def test_resume_asks_for_what_the_interrupted_calibration_was_asked(calibrate, words):
    calibrate(*INTERRUPTED, finished=False)
    first = calibrate.asked
    assert calibrate(*words, "--resume").exit_code == 0
    assert (calibrate.asked, calibrate.resume) == (first, True)


@pytest.mark.parametrize(("words", "name"), [((), "mine.yaml"), (("--output", "other.yaml"), "other.yaml")])
def test_resume_writes_to_the_output_of_the_interrupted_calibration_unless_another_is_named(
    calibrate, tmp_path, monkeypatch, words, name
):
    monkeypatch.chdir(tmp_path)
    calibrate("svd", "--output", "mine.yaml", finished=False)
    (tmp_path / "mine.yaml").unlink()
    result = calibrate("--resume", *words)
    assert (result.exit_code, calibrate.resume) == (0, True)
    assert [path.name for path in tmp_path.glob("*.yaml")] == [name]
    assert not own_path(KEY).exists()


def test_resume_of_a_calibration_that_had_finished_says_so_and_writes_its_profile_again(calibrate):
    calibrate("svd")
    own_path(KEY).unlink()
    calibrate.busy = 0.9
    result = calibrate("--resume")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, messages.HAD_FINISHED)
    assert not any(word in result.stderr for word in ("exploring", "busy"))
    assert profile_files.read(own_path(KEY)).entries
    calibrate("svd", finished=False)
    assert messages.HAD_FINISHED not in calibrate("--resume").stderr


@pytest.mark.parametrize(("words", "differs"), [(("qr",), "words"), (("--effort", "normal"), "effort")])
def test_resume_with_another_question_is_wrong_usage(calibrate, words, differs):
    calibrate(*INTERRUPTED, finished=False)
    result = calibrate(*words, "--resume")
    assert (result.exit_code, calibrate.resume) == (2, False)
    assert differs in result.stderr


@pytest.mark.parametrize(("quota", "warned"), [(None, False), (1.0, False), (0.5, True)])
def test_less_than_one_cpu_is_warned_of(calibrate, monkeypatch, quota, warned):
    monkeypatch.setattr("autotune.host.cgroup.quota", lambda folders: quota)
    assert ("0.5 of one CPU" in calibrate().stderr) == warned


def test_an_operation_without_the_dtype_is_said_to_be_left_out(calibrate):
    left_out = calibrate("random", "inv", "--dtype", "complex128").stderr
    assert "complex128" in left_out
    assert "random" in left_out
    assert "complex128" not in calibrate("inv", "--dtype", "complex128").stderr


@pytest.mark.parametrize("head", [None, "", "{}", '{"request": {}, "environment": {}, "self_test": {}}'])
def test_resume_without_a_calibration_of_this_command_is_wrong_usage(calibrate, head):
    if head is not None:
        journal = journal_path(KEY)
        journal.parent.mkdir(parents=True)
        journal.write_text(f"{head}\n")
    assert calibrate("--resume").exit_code == 2


@pytest.fixture
def two_cpus(calibrate, monkeypatch):
    """The verb on two CPUs, where a profile's key says how many of them there are."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this takes two CPUs and a system that can hold processes to one")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])

    def key():
        count = len(os.sched_getaffinity(0))
        return replace(KEY, usable_cpus=count, limit=Limit.NONE if count == 2 else Limit.AFFINITY)

    monkeypatch.setattr(runner, "this_key", key)
    yield calibrate
    os.sched_setaffinity(0, before)


def test_a_profile_is_measured_for_each_number_of_cpus_the_largest_first(two_cpus):
    result = two_cpus("--cpus", "1,all", "--budget", "2m")
    assert result.exit_code == 0
    assert [(run.usable_cpus, run.request.seconds) for run in two_cpus.runs] == [(2, 60.0), (1, 60.0)]
    assert "Allocation 2 of 2: 1 CPU\n" in result.stderr
    written = sorted(folders.user_profiles().glob("*.yaml"))
    assert sorted(profile_files.read(path).key.usable_cpus for path in written) == [1, 2]
    assert len(os.sched_getaffinity(0)) == 2


def test_what_was_found_with_more_cpus_is_known_to_the_calibration_with_fewer(two_cpus):
    two_cpus("--cpus", "1,all")
    assert [[relative.key.usable_cpus for relative in run.relatives] for run in two_cpus.runs] == [[], [2]]


def test_without_cpus_the_allocation_is_measured_as_it_is(two_cpus):
    result = two_cpus()
    assert [run.usable_cpus for run in two_cpus.runs] == [2]
    assert "Allocation" not in result.stderr


def test_one_number_of_cpus_gives_one_profile_where_it_was_asked_for(two_cpus, tmp_path):
    two_cpus("--cpus", "1", "--output", str(tmp_path / "one.yaml"))
    assert profile_files.read(tmp_path / "one.yaml").key.usable_cpus == 1


def test_several_profiles_have_names_of_their_own_next_to_the_output(two_cpus, tmp_path):
    two_cpus("--cpus", "1,2", "--output", str(tmp_path / "p.yaml"))
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["p-1cpu.yaml", "p-2cpu.yaml"]


def test_several_profiles_are_one_json_document(two_cpus):
    profiles = json.loads(two_cpus("--cpus", "1,2", "--json").stdout)["profiles"]
    assert [profile["profile"]["key"]["usable_cpus"] for profile in profiles] == [2, 1]


@pytest.mark.parametrize("words", [(), ("--cpus", "1,2"), ("--cpus", "1,2", "svd")])
def test_several_allocations_are_gone_on_with_where_they_were_interrupted(two_cpus, words):
    two_cpus("svd", "--cpus", "1,2", interrupted_at=1)
    begun = [run.request for run in two_cpus.runs]
    two_cpus.runs.clear()
    result = two_cpus("--resume", *words)
    assert (result.exit_code, [run.resume for run in two_cpus.runs]) == (0, [True, True])
    assert [run.request for run in two_cpus.runs] == begun


@pytest.mark.parametrize("words", [(), ("svd", "--cpus", "1,2", "--budget", "10m")])
def test_the_budget_of_several_allocations_is_divided_once(two_cpus, words):
    two_cpus("svd", "--cpus", "1,2", "--budget", "10m", interrupted_at=1)
    two_cpus.runs.clear()
    assert two_cpus("--resume", *words).exit_code == 0
    assert [(run.request.seconds, run.resume) for run in two_cpus.runs] == [(300.0, True), (300.0, True)]


def test_an_allocation_that_was_not_begun_is_begun_and_not_taken_from_an_older_calibration(two_cpus):
    two_cpus("svd", "--cpus", "1,2")
    result = two_cpus("svd", "--cpus", "1,2", interrupted_at=2)
    assert result.exit_code == 130
    two_cpus.runs.clear()
    two_cpus("--resume")
    assert [(run.usable_cpus, run.resume) for run in two_cpus.runs] == [(2, True), (1, False)]


@pytest.mark.parametrize("text", ["0", "-1", "1,,2", "two", "1.5", "", "99999", "all,x", "\u0662"])
def test_what_is_no_list_of_cpus_is_wrong_usage(two_cpus, text):
    assert two_cpus("--cpus", text).exit_code == 2
    assert two_cpus.runs == []


def test_neighbours_and_copies_make_the_request_and_copies_divide_the_cpus(calibrate):
    calibrate("--neighbours", "2", "--copies", "3")
    assert (calibrate.asked.neighbours, calibrate.asked.copies) == (2, 3)
    assert os.environ["AUTOTUNE_PROCESSES"] == "3"


@pytest.mark.parametrize("words", [("--neighbours", "-1"), ("--copies", "0"), ("--copies", "two")])
def test_neighbours_and_copies_that_cannot_be_are_wrong_usage(calibrate, words):
    assert calibrate(*words).exit_code == 2


def test_an_interruption_keeps_what_was_decided_and_says_how_to_go_on(calibrate, tmp_path):
    path = tmp_path / "mine.yaml"
    result = calibrate("--output", str(path), profile=Profile(key=KEY, entries=(SVD,)), finished=False)
    assert (result.exit_code, profile_files.read(path).entries) == (130, (SVD,))
    assert result.stderr.splitlines()[-1] == messages.RESUME


def test_an_interruption_before_anything_was_decided_writes_nothing_and_says_only_how_to_go_on(calibrate):
    result = calibrate(profile=Profile(key=KEY, entries=()), finished=False)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1] == messages.RESUME
    assert "The profile is in" not in result.stderr
    assert not own_path(KEY).exists()


def test_a_machine_that_others_keep_busy_is_told_before_the_time_is_spent(calibrate):
    calibrate.busy = 0.9
    assert calibrate().stderr.startswith("Others keep 90% of the CPUs busy now. ")
    assert "Others keep" not in calibrate("--neighbours", "2").stderr


def test_an_output_that_cannot_be_written_ends_with_1_and_the_profile_elsewhere(calibrate, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = calibrate("--output", str(tmp_path / "file" / "mine.yaml"))
    assert (result.exit_code, profile_files.read(folders.state_dir() / "mine.yaml").key) == (1, KEY)
    assert "Nothing is lost" in result.stderr


def test_a_file_that_is_no_profile_is_refused_before_anything_is_measured(calibrate, tmp_path):
    path = tmp_path / "program.py"
    path.write_text("print()\n")
    result = calibrate("--output", str(path))
    assert (result.exit_code, path.read_text()) == (2, "print()\n")
    assert not hasattr(calibrate, "asked")


@pytest.mark.parametrize(
    "words",
    [
        ["svdd"],
        ["svd", "n="],
        ["svd", "k=3"],
        ["--effort", "heroic"],
        ["--dtype", "float16"],
        ["--seed", "x"],
        ["--budget", "soon"],
        ["--output", "/"],
        ["--workload", "no_such_file.py:step"],
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(calibrate, words):
    assert calibrate(*words).exit_code == 2
    assert not hasattr(calibrate, "asked")


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (BadBudget("One second is too little for svd."), 2),
        (HostBusy("process 7 of user 1000"), 3),
        (EnvironmentProblem("No CPU is left."), 3),
    ],
)
def test_what_goes_wrong_while_measuring_has_its_exit_code_and_its_sentence(calibrate, problem, code):
    result = calibrate(problem=problem)
    assert (result.exit_code, result.stderr) == (code, f"autotune: {problem}\n")


@pytest.mark.real
def test_a_function_of_the_users_is_asked_for_by_its_name(calibrate, tmp_path):
    source = tmp_path / "simulate.py"
    source.write_text("def step(*, n, workers=1):\n    return n\n")
    assert calibrate("--workload", f"{source}:step", "n=10,20").exit_code == 0
    request = calibrate.asked
    assert request.workload.name == "step"
    assert request.sizes == ({"n": 10}, {"n": 20})


def test_what_the_store_s_relatives_chose_is_tried_first_and_the_time_saved_is_told(calibrate, tmp_path):
    (tmp_path / "store").mkdir()
    publish(replace(USUAL, provenance=replace(USUAL.provenance, host="other")), open_store(str(tmp_path / "store")))
    result = calibrate("--store", str(tmp_path / "store"))
    assert [relative.provenance.host for relative in calibrate.relatives] == ["other"]
    assert "Warm start from 1 profile of the store: " in result.stderr


def test_a_store_that_is_away_is_said_once_and_stops_nothing(calibrate, tmp_path):
    result = calibrate("--store", str(tmp_path / "away"))
    assert (result.exit_code, calibrate.relatives) == (0, [])
    assert result.stderr.count("The calibration begins without the choices of other machines.") == 1


def test_without_a_store_nothing_is_said_of_one(calibrate):
    assert "Warm start" not in calibrate().stderr


@pytest.mark.parametrize(
    ("needed", "turns", "budget"), [(None, 1, None), (50.0, 1, None), (300.0, 1, "9m"), (300.0, 2, "18m")]
)
def test_the_budget_that_should_be_enough_is_named_where_it_is_known(needed, turns, budget):
    assert enough_for(needed, Request(budget_seconds=60.0), turns=turns) == budget


@pytest.mark.parametrize("words", [["python", "a b.py"], ["a b.py"]])
@pytest.mark.parametrize("options", [(), ("--budget", "30s"), ("--budget=30s",), ("--until-decided",)])
def test_a_command_without_dashes_is_told_where_it_goes(options, words):
    result = CliRunner().invoke(program, ["calibrate", *options, *words])
    assert result.exit_code == 2
    assert f"`{' '.join(['autotune', 'calibrate', *options])} -- python 'a b.py'`" in result.output
