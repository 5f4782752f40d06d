"""`autotune compare`: what was in force in the tuned runs."""

import json
import sys

import pytest
from click.testing import CliRunner
from support.native import needs_core
from support.profile_builders import KEY, alone, make_entry, of_this_machine, profile

from autotune.bench.command_pairs import CommandRun, PairedRuns
from autotune.cli import messages
from autotune.cli.compare import compare, document, lines, mean_report, note_pairs, speedup_text
from autotune.cli.run import EFFECT, run, say
from autotune.errors import BadWorkload, NoTemporaryFolder
from autotune.model.allocation import Limit
from autotune.profiles import profile_files

REPORT = {"calls": 10, "tuned": 4, "loops": 2, "blas_threads": None, "reason": "So.", "per_call": "On."}
WORK = (
    "import os, numpy as np\nfor _ in range(5): np.linalg.inv(np.eye(20))\nprint('AUTOTUNE_START_REPORT' in os.environ)"
)


def test_reports_of_all_processes_are_those_of_the_mean_run(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.json").write_text(json.dumps(REPORT))
    (tmp_path / "broken.json").write_text("{")
    force = mean_report(tmp_path, 2)
    assert (force.processes, force.calls, force.tuned, force.loops, force.reason) == (2, 20, 8, 4, "So. On.")


def test_without_a_report_of_a_process_the_sentence_of_run_says_what_was_set(tmp_path, monkeypatch):
    assert mean_report(tmp_path, 2).reason == messages.NO_REPORT
    monkeypatch.setenv("AUTOTUNE_START_REPORT", str(tmp_path))
    say("One BLAS thread.")
    assert mean_report(tmp_path, 2).reason == "One BLAS thread."
    say("As profiles say.", reports=True)
    assert mean_report(tmp_path, 2).reason == f"As profiles say. {messages.NO_REPORT}"


@pytest.mark.parametrize(
    ("said", "report", "is_plain"),
    [
        ({"sets": False, "reports": True}, {"tuned": 0, "loops": 0}, True),
        ({"sets": False, "reports": True}, {"tuned": 1, "loops": 0}, False),
        ({"sets": False, "reports": True}, {"tuned": 0, "loops": 1}, False),
        ({"sets": False, "reports": True}, {"tuned": 0, "loops": 0, "blas_threads": 1}, False),
        ({"sets": True, "reports": True}, {"tuned": 0, "loops": 0}, False),
        ({"sets": False, "reports": True}, None, False),
        ({"sets": False, "reports": False}, None, True),
        (None, None, False),
    ],
)
def test_runs_are_called_plain_only_where_nothing_is_known_to_have_been_set(
    tmp_path, monkeypatch, said, report, is_plain
):
    monkeypatch.setenv("AUTOTUNE_START_REPORT", str(tmp_path))
    if said is not None:
        say("So.", **said)
    if report is not None:
        (tmp_path / "1.json").write_text(json.dumps(REPORT | report))
    assert mean_report(tmp_path, 1).is_plain is is_plain


def paired(count, seconds=2.0):
    run = CommandRun(seconds=seconds, status=0, output=b"")
    return PairedRuns(first=run, plain=(run,) * count, variant=(run,) * count)


def first_line(tmp_path, monkeypatch, count, *, sets):
    monkeypatch.setenv("AUTOTUNE_START_REPORT", str(tmp_path))
    say("So.", sets=sets)
    return next(lines(paired(count), mean_report(tmp_path, 1)))


@pytest.mark.parametrize("count", [1, 3])
def test_where_nothing_was_in_force_that_leads_and_no_speed_up_is_stated(tmp_path, monkeypatch, count):
    said = first_line(tmp_path, monkeypatch, count, sets=False)
    assert said.startswith("Nothing was in force: both sides of each pair ran plain NumPy")
    assert "Speed-up" not in said


def test_programs_read_no_speed_up_where_nothing_was_in_force(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_START_REPORT", str(tmp_path))
    say("So.", sets=False)
    stated = document(("x",), [], paired(3), mean_report(tmp_path, 1))
    assert (stated["speedup"], stated["interval"]) == (None, None)


def test_where_nothing_was_in_force_no_counts_of_zero_are_told(tmp_path):
    (tmp_path / "1.json").write_text(json.dumps(REPORT | {"tuned": 0, "loops": 0}))
    (tmp_path / EFFECT).write_text(json.dumps({"sentence": "", "sets": False, "reports": True, "may_gain": True}))
    assert list(lines(paired(3), mean_report(tmp_path, 1)))[-1] == "So. On."


@needs_core
@pytest.mark.parametrize(
    ("variables", "words", "is_advised"),
    [
        ({}, ["--", "python", "x.py"], True),
        ({"AUTOTUNE_DISABLE": "1"}, ["--", "python", "x.py"], False),
        ({"AUTOTUNE_NATIVE": "0"}, ["--", "python", "x.py"], False),
        ({"OMP_NUM_THREADS": "1"}, ["--", "python", "x.py"], False),
        ({}, ["--", "python", "-I", "x.py"], False),
        ({}, ["--environment-only", "--", "python", "x.py"], False),
    ],
)
def test_a_calibration_is_advised_only_where_a_profile_could_change_what_runs(
    tmp_path, monkeypatch, variables, words, is_advised
):
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("autotune.profiles.resolve.usable_cpus", lambda *_: (2, Limit.NONE))
    monkeypatch.setattr("autotune.cli.run.replace_process", lambda *_: 0)
    monkeypatch.setenv("AUTOTUNE_START_REPORT", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    CliRunner().invoke(run, words)
    (tmp_path / "1.json").write_text(json.dumps(REPORT | {"tuned": 0, "loops": 0}))
    assert ("`autotune calibrate -- CMD`" in next(lines(paired(3), mean_report(tmp_path, 1)))) is is_advised


@pytest.mark.parametrize(("count", "is_stated"), [(1, False), (2, False), (3, True)])
def test_fewer_than_three_pairs_state_no_speed_up(tmp_path, monkeypatch, count, is_stated):
    said = first_line(tmp_path, monkeypatch, count, sets=True)
    assert ("1.00" in said, "too few" in said) == (is_stated, not is_stated)
    stated = document(("x",), [], paired(count), mean_report(tmp_path, 1))["speedup"]
    assert (stated is None) is not is_stated


@pytest.mark.parametrize(
    ("pairs", "first", "fitting", "words", "missing"),
    [
        (5, 2.0, 5, ["allows 5 pairs of runs", "about 0:25"], "needs 3 pairs"),
        (5, 20.0, 4, ["allows 4 of 5 pairs"], "needs 3 pairs"),
        (5, 60.0, 1, ["allows 1 of 5 pairs", "--budget 9m"], "--pairs"),
        (2, 2.0, 2, ["allows 2 pairs", "needs 3 pairs: give --pairs 3."], "--budget"),
    ],
)
def test_before_the_pairs_the_number_that_fits_and_what_a_speed_up_needs_are_said(
    capsys, pairs, first, fitting, words, missing
):
    note_pairs(pairs, first, fitting)
    said = capsys.readouterr().err
    assert [word for word in words if word not in said] == []
    assert missing not in said


@pytest.mark.real
def test_what_the_variables_of_a_what_if_setting_are_is_told():
    words = ["--blas-threads", "1", "--pairs", "1", "--", sys.executable, "-c", "pass"]
    done = CliRunner().invoke(compare, words)
    assert "1 BLAS thread, as asked" in done.output
    assert "No Python" not in done.output


@pytest.mark.parametrize(("seconds", "is_short"), [(0.3, True), (3.0, False)])
def test_runs_so_short_that_the_start_of_run_counts_are_told(tmp_path, seconds, is_short):
    run = CommandRun(seconds=seconds, status=0, output=b"")
    runs = PairedRuns(first=run, plain=(run,), variant=(run,))
    assert ("more to do" in " ".join(lines(runs, mean_report(tmp_path, 1)))) is is_short


def test_what_varies_between_the_runs_is_told(tmp_path):
    plain, tuned = (CommandRun(seconds=3.0, status=status, output=b"") for status in (0, 3))
    runs = PairedRuns(first=plain, plain=(plain,), variant=(tuned,))
    _, said, *_ = lines(runs, mean_report(tmp_path, 1))
    assert said == "The exit statuses of the runs differ (--json lists them). They wrote the same."


@pytest.mark.parametrize(
    "options",
    [
        ["--blas-threads", "3"],
        ["--environment-only"],
        ["--name", "sim"],
        ["--reductions", "--learn", "--wait", "sleep", "--children"],
        [],
    ],
)
def test_the_tuned_runs_get_the_options_of_run(monkeypatch, options):
    started = []

    def run_pairs(_plain, variant, **_):
        started.append(variant)
        raise BadWorkload("enough")

    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", run_pairs)
    CliRunner().invoke(compare, [*options, "--", "x", "-y"])
    (words,) = started
    assert words[1:] == ["-m", "autotune", "run", "--quiet", *options, "--", "x", "-y"]


def test_autotune_is_off_in_plain_runs_of_a_program_that_calls_it_itself(monkeypatch):
    environs = []

    def run_pairs(*_, environ, variant_environ, **__):
        environs.extend([environ, variant_environ])
        raise BadWorkload("enough")

    monkeypatch.delenv("AUTOTUNE_DISABLE", raising=False)
    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", run_pairs)
    CliRunner().invoke(compare, ["--", "x"])
    assert [environ.get("AUTOTUNE_DISABLE") for environ in environs] == ["1", None]


@pytest.mark.parametrize(
    "options", [["--blas-threads", "3", "--learn"], ["--environment-only", "--children"], ["--name", "a", "--learn"]]
)
def test_options_that_exclude_each_other_are_refused_before_any_run(options):
    assert CliRunner().invoke(compare, [*options, "--", "true"]).exit_code == 2


@needs_core
@pytest.mark.real
def test_a_profile_named_what_if_is_in_force_in_the_tuned_runs_alone(tmp_path):
    profile = tmp_path / "profile.yaml"
    profile_files.write(of_this_machine(make_entry("inv", choice={"blas_threads": 1}, n=20)), profile)
    done = CliRunner().invoke(
        compare, ["--json", "--pairs", "1", "--profile", str(profile), "--", sys.executable, "-c", WORK]
    )
    document = json.loads(done.stdout)
    assert (document["in_force"]["calls"], document["in_force"]["tuned"]) == (5, 5)
    assert document["same_output"] is True


def test_a_profile_named_what_if_that_is_not_used_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", lambda *_, **__: paired(1))
    path = tmp_path / "no.yaml"
    path.write_text("nothing")
    assert "no.yaml is not used" in CliRunner().invoke(compare, ["--profile", str(path), "--", "true"]).stderr
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "missing.yaml"))
    assert "missing.yaml is not used" in CliRunner().invoke(compare, ["--", "true"]).stderr
    named = CliRunner().invoke(compare, ["--blas-threads", "1", "--", "true"])
    assert "is not used" not in named.stderr  # no profile is


def test_what_a_profile_named_what_if_holds_cannot_act_on_the_terminal(monkeypatch, tmp_path):
    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", lambda *_, **__: paired(1))
    key = KEY.replace(hardware=KEY.hardware.replace(architecture="\x1b[2J"))
    profile_files.write(profile(key=key), tmp_path / "no.yaml")
    done = CliRunner().invoke(compare, ["--profile", str(tmp_path / "no.yaml"), "--", "true"])
    assert "\\x1b[2J" in done.stderr
    assert "\x1b" not in done.output


@pytest.mark.real
@pytest.mark.parametrize(("code", "message"), [("exit 3", "exit status 3"), ("kill -9 $$", "signal 9")])
def test_a_command_that_fails_in_every_run_is_told_and_the_status_is_1(code, message):
    done = CliRunner().invoke(compare, ["--pairs", "1", "--", "sh", "-c", code], standalone_mode=False)
    assert done.return_value == 1
    assert f"failed in every run ({message}" in done.output


def test_compare_without_a_place_for_temporary_files_says_so(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/no/such/folder")
    with pytest.raises(NoTemporaryFolder, match="TMPDIR"):
        CliRunner().invoke(compare, ["--", "true"], standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize(("interval", "is_open"), [((0.44, 1.56), True), ((0.98, 1.03), False), ((1.8, 2.6), False)])
def test_a_wide_interval_around_1_is_said_to_tell_nothing(interval, is_open):
    assert ("cannot tell" in speedup_text(1.0, interval, 5)) == is_open
