"""`autotune tune`, with what was measured given; and once for real."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.profile_builders import alone
from support.shown_profiles import KEY, SVD

from autotune.bench.command_bench import Command
from autotune.cli.command_name import command_name
from autotune.cli.program import program
from autotune.errors import BadWorkload
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.profiles import folders, profile_files
from autotune.profiles.entry_merge import own_path
from autotune.search import runner

WON = Entry(
    operation=Operation(name="command.simulate"),
    status=Status.TUNED,
    reason="Proved faster in 6 fresh processes.",
    choice=Configuration(blas_threads=1),
    evidence=Evidence(interval=(1.9, 2.1), default_seconds=2.0, tuned_seconds=1.0, speedup=2.0, processes=6, pairs=6),
)
LOST = Entry(
    operation=Operation(name="command.simulate"),
    status=Status.DEFAULT_KEPT,
    reason="Nothing was faster.",
    evidence=Evidence(default_seconds=2.0),
)


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Runs the verb with an answer in place of the measurement; what was asked is in `tune.asked`."""
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr(runner, "this_key", lambda: KEY)
    monkeypatch.setattr("autotune.cli.tune.usable_cpus", lambda: (4, None))

    def run(*words, entry=WON, problem=None):
        def measured(request, *, report):
            run.asked = request
            if problem is not None:
                raise problem
            return entry

        monkeypatch.setattr(runner, "tune_command", measured)
        return CliRunner().invoke(program, ["tune", *words])

    return run


SIMULATE = ("--", "python", "simulate.py", "a b")


def test_the_best_command_line_is_alone_on_standard_output(tune):
    result = tune(*SIMULATE)
    assert result.exit_code == 0
    assert result.stdout.startswith("OPENBLAS_NUM_THREADS=1 ")
    assert result.stdout.endswith(" python simulate.py 'a b'\n")
    assert "2.00x (1.90 to 2.10) as good as the command as it stands, by its time" in result.stderr


def test_the_command_line_has_the_variables_of_idle_threads_as_run_sets_them(tune, monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    sleeping = replace(WON, choice=Configuration(blas_threads=1, wait="sleep"))
    line = tune(*SIMULATE, entry=sleeping).stdout
    assert "OPENBLAS_THREAD_TIMEOUT=20" in line
    assert "GOMP_SPINCOUNT" not in line
    assert json.loads(tune("--json", *SIMULATE, entry=sleeping).stdout)["environment"]["KMP_BLOCKTIME"] == "0"


def test_where_cpu_seconds_were_the_objective_those_are_told(tune):
    saved = replace(WON, evidence=replace(WON.evidence, cpu_ratio=0.52))
    assert "It took 0.52 of its CPU seconds." in tune(*SIMULATE, entry=saved).stderr


def test_without_a_gain_the_command_is_printed_as_it_stands(tune):
    result = tune(*SIMULATE, entry=LOST)
    assert (result.exit_code, result.stdout) == (0, "python simulate.py 'a b'\n")
    assert "Default kept: Nothing was faster." in result.stderr


def test_the_profile_gets_the_counts_and_neither_command_nor_variables(tune):
    tune(*SIMULATE)
    path = own_path(KEY)
    assert profile_files.read(path).entries == (WON,)
    assert not any(word in path.read_text() for word in ("simulate.py", "OPENBLAS_NUM", "a b"))


def test_entries_of_other_operations_stay_and_so_does_what_is_known_of_them(tune, tmp_path):
    path = tmp_path / "mine.yaml"
    profile_files.write(Profile(key=KEY, entries=(SVD,)), path)
    assert tune("--output", str(path), *SIMULATE).exit_code == 0
    assert profile_files.read(path).entries == (WON, SVD)


def test_json_holds_the_command_its_variables_and_the_evidence(tune):
    result = json.loads(tune("--json", *SIMULATE).stdout)
    assert result["arguments"] == ["python", "simulate.py", "a b"]
    assert result["environment"]["OMP_NUM_THREADS"] == "1"
    assert (result["status"], result["speedup"], result["interval"]) == ("tuned", 2.0, [1.9, 2.1])


def test_a_command_that_could_not_be_measured_ends_with_1(tune):
    failed = Entry(operation=Operation(name="command.x"), status=Status.FAILED, reason="The default failed.")
    assert tune(*SIMULATE, entry=failed).exit_code == 1


def test_options_make_the_request(tune):
    words = [
        "--budget",
        "2m",
        "--runs",
        "8",
        "--workers",
        "2,1,4",
        "--chunk",
        "10,20",
        "--metric",
        "r=(.*)",
        "--maximize",
        "--timeout",
        "3s",
    ]
    tune(*words, "--seed", "5", "--name", "mine", "--", "solve", "-j{workers}", "{chunk}")
    request = tune.asked
    assert request.command == Command(words=("solve", "-j{workers}", "{chunk}"), workers=2, chunk=10)
    assert (request.name, request.workers, request.chunks) == ("command.mine", (2, 1, 4), (10, 20))
    assert (request.seconds, request.runs, request.run_seconds, request.seed) == (120.0, 8, 3.0, 5)
    assert (request.metric.pattern.pattern, request.metric.maximize) == ("r=(.*)", True)


def test_one_worker_is_usual_where_none_are_named(tune):
    tune("--", "solve", "{workers}")
    assert (tune.asked.command.workers, tune.asked.workers) == (1, ())


def test_a_run_may_take_the_whole_budget(tune):
    tune("--budget", "150s", "--runs", "16", *SIMULATE)
    assert tune.asked.run_seconds == 150.0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--"],
        ["--budget", "soon", "--", "x"],
        ["--budget", "0", "--", "x"],
        ["--runs", "1", "--", "x"],
        ["--timeout", "-1", "--", "x"],
        ["--workers", "1,2", "--", "x"],
        ["--workers", "1,8", "--", "{workers}"],
        ["--workers", "0", "--", "{workers}"],
        ["--workers", "1,,2", "--", "{workers}"],
        ["--workers", "", "--", "{workers}"],
        ["--chunk", "5", "--", "x"],
        ["--", "{chunk}"],
        ["--chunk", "1e400", "--", "{chunk}"],
        ["--metric", "(", "--", "x"],
        ["--maximize", "--", "x"],
        ["--name", "Not A Name", "--", "x"],
        ["--name", "x" * 60, "--", "x"],
        ["--seed", "-1", "--", "x"],
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(tune, words):
    assert tune(*words).exit_code == 2
    assert not hasattr(tune, "asked")


@pytest.mark.parametrize(
    ("problem", "code"), [(BadWorkload("It ended with exit status 1."), 2), (KeyboardInterrupt(), 130)]
)
def test_what_goes_wrong_leaves_the_profile_alone(tune, problem, code):
    assert tune(*SIMULATE, problem=problem).exit_code == code
    assert not folders.user_profiles().exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["python", "-O", "dir/Simulate-2.py", "other.py"], "simulate_2"),
        (["python", "-m", "http.server"], "http_server"),
        (["./solve.sh", "-j", "2"], "solve"),
        (["/usr/bin/7z"], "_7z"),
        (["计算"], "command"),
        (["x" * 100], "x" * 49),
    ],
)
def test_a_name_is_made_of_the_script_the_module_or_the_program(words, name):
    assert command_name(None, words) == f"command.{name}"


@pytest.mark.real
def test_a_command_is_tuned_by_a_number_that_it_prints(tmp_path):
    """The number depends on the threads alone, so that every machine gives the same ratio; a busy one does not
    take it for proved."""
    code = "import os; print('rate:', 100 / int(os.environ.get('OPENBLAS_NUM_THREADS', 4)))"
    folders = {f"XDG_{name}_HOME": str(tmp_path) for name in ("CONFIG", "STATE", "CACHE")}
    environ = {name: value for name, value in os.environ.items() if "THREADS" not in name} | folders
    environ |= {"AUTOTUNE_STATE_DIR": str(tmp_path)}
    words = ["--json", "--metric", r"rate: (\S+)", "--maximize", "--runs", "6", "--budget", "60s"]
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "tune", *words, "--", sys.executable, "-S", "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["speedup"] == 4.0
    assert (result["status"], result["choice"]) in [("tuned", {"blas_threads": 1}), ("noisy", {})]
    assert profile_files.read(Path(result["profile"])).entries[0].operation.name == result["name"]
