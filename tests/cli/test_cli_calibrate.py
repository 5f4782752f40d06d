"""`autotune calibrate`, with what was measured given."""

import json
import os
from dataclasses import asdict, replace

import pytest
from click.testing import CliRunner
from profiles_for_show import FILL, KEY, SVD, USUAL

from autotune.cli import messages
from autotune.cli.program import program
from autotune.errors import BadBudget, EnvironmentProblem, HostBusy
from autotune.model.profile import Profile
from autotune.search import campaign
from autotune.search.events import Decided, Started
from autotune.search.journal import Journal
from autotune.search.request import Effort
from autotune.search.site import Site
from autotune.store import files, folders


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """Runs the verb with an answer in place of the measurement; what was asked is in `calibrate.asked`."""
    for name in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.delenv("AUTOTUNE_STATE_DIR", raising=False)
    for name in ("AUTOTUNE_CPUS", "AUTOTUNE_PROCESSES"):
        monkeypatch.setenv(name, "")  # so that it is put back
    monkeypatch.setattr(campaign, "this_key", lambda: KEY)

    def run(*words, profile=USUAL, finished=True, problem=None):
        def measured(request, *, report, own=None, asked=None, resume=False):
            run.asked, run.own, run.resume = request, own, resume
            site = asdict(Site(usable_cpus=2))
            head = {"asked": dict(asked), "site": site, "capacity": None, "spent": 0.0}
            Journal(None, campaign.journal_path(KEY), head, resume=resume)
            if problem is not None:
                raise problem
            times = {"elapsed": 1.0, "remaining": 2.0}
            report(Started(name="svd", dtype="float64", index=1, total=1, **times))
            report(Decided(tuning=SVD, **times))
            return campaign.Outcome(profile=profile, finished=finished)

        monkeypatch.setattr(campaign, "campaign", measured)
        return CliRunner().invoke(program, ["calibrate", *words])

    return run


def test_a_calibration_shows_its_progress_and_its_profile_and_writes_it(calibrate):
    result = calibrate()
    path = folders.user_profiles() / f"{KEY.slug}.yaml"
    assert result.exit_code == 0
    assert files.read(path) == replace(USUAL, tunings=(FILL, SVD))
    assert "svd m=500 n=500" in result.stdout
    assert result.stderr.splitlines()[0] == "[1/1] svd  (0:01 spent, 0:02 left)"
    assert str(path) in result.stderr


def test_json_is_alone_on_standard_output(calibrate):
    assert set(json.loads(calibrate("--json").stdout)["operations"]) == {"fill", "svd"}


def test_options_make_the_request(calibrate):
    calibrate(
        "svd", "qr", "--sizes", "m=100,200", "n=5", "--effort", "quick", "--budget", "2m", "--seed", "3"
    )
    request = calibrate.asked
    assert (request.operations, request.sizes) == (("svd", "qr"), ({"m": 100, "n": 5}, {"m": 200, "n": 5}))
    assert (request.effort, request.seconds, request.seed) == (Effort.QUICK, 120.0, 3)
    assert (calibrate.own, calibrate.resume) == (None, False)


INTERRUPTED = ("svd", "--sizes", "n=5", "--effort", "quick", "--budget", "2m", "--seed", "3")


@pytest.mark.parametrize("words", [(), INTERRUPTED])
def test_resume_asks_for_what_the_interrupted_calibration_was_asked(calibrate, words):
    calibrate(*INTERRUPTED, finished=False)
    first = calibrate.asked
    assert calibrate(*words, "--resume").exit_code == 0
    assert (calibrate.asked, calibrate.resume) == (first, True)


@pytest.mark.parametrize(("words", "differs"), [(("qr",), "operations"), (("--effort", "normal"), "effort")])
def test_resume_with_another_question_is_wrong_usage(calibrate, words, differs):
    calibrate(*INTERRUPTED, finished=False)
    result = calibrate(*words, "--resume")
    assert (result.exit_code, calibrate.resume) == (2, False)
    assert differs in result.stderr


@pytest.mark.parametrize(("quota", "warned"), [(None, False), (1.0, False), (0.5, True)])
def test_less_than_one_cpu_is_warned_of(calibrate, monkeypatch, quota, warned):
    monkeypatch.setattr("autotune.host.cgroup.quota", lambda folders: quota)
    assert ("0.5 of one CPU" in calibrate().stderr) == warned


@pytest.mark.parametrize("head", [None, "", "{}", '{"asked": {}, "site": {}, "capacity": null, "spent": 1}'])
def test_resume_without_a_calibration_of_this_command_is_wrong_usage(calibrate, head):
    if head is not None:
        journal = campaign.journal_path(KEY)
        journal.parent.mkdir(parents=True)
        journal.write_text(f"{head}\n")
    assert calibrate("--resume").exit_code == 2


def test_cpus_bound_this_process_and_its_trials(calibrate):
    calibrate("--cpus", "1")
    assert os.environ["AUTOTUNE_CPUS"] == "1"


def test_neighbours_and_copies_make_the_request_and_copies_divide_the_cpus(calibrate):
    calibrate("--neighbours", "2", "--copies", "3")
    assert (calibrate.asked.neighbours, calibrate.asked.copies) == (2, 3)
    assert os.environ["AUTOTUNE_PROCESSES"] == "3"


@pytest.mark.parametrize("words", [("--neighbours", "-1"), ("--copies", "0"), ("--copies", "two")])
def test_neighbours_and_copies_that_cannot_be_are_wrong_usage(calibrate, words):
    assert calibrate(*words).exit_code == 2


def test_an_interruption_keeps_what_was_decided_and_says_how_to_go_on(calibrate, tmp_path):
    path = tmp_path / "mine.yaml"
    result = calibrate("--output", str(path), profile=Profile(key=KEY, tunings=(SVD,)), finished=False)
    assert (result.exit_code, files.read(path).tunings) == (130, (SVD,))
    assert result.stderr.splitlines()[-1] == messages.RESUME


def test_an_output_that_cannot_be_written_ends_with_1_and_the_profile_elsewhere(calibrate, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = calibrate("--output", str(tmp_path / "file" / "mine.yaml"))
    assert (result.exit_code, files.read(folders.state_dir() / "mine.yaml").key) == (1, KEY)
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
        ["svd", "--sizes", "n"],
        ["svd", "--sizes", "k=3"],
        ["--effort", "heroic"],
        ["--dtype", "float16"],
        ["--seed", "x"],
        ["--budget", "soon"],
        ["--cpus", "0"],
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
    assert calibrate("--workload", f"{source}:step", "--sizes", "n=10,20").exit_code == 0
    request = calibrate.asked
    assert (request.workload.name, calibrate.own.name) == ("step", "step")
    assert request.sizes == ({"n": 10}, {"n": 20})
