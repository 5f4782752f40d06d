"""`autotune calibrate -- CMD`: the command line, without a measurement."""

import json
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.recording_builders import QR, call, process, recording

from autotune.bench.command_pairs import CommandRun, PairedRuns
from autotune.cli.calibrate import calibrate
from autotune.cli.program_calibration import for_program, gain_of, gain_text, verification_seconds, weigh_by_spool
from autotune.errors import BadWorkload
from autotune.model.catalogue import operation
from autotune.profiles import folders
from autotune.recording.program_gain import VerifiedGain
from autotune.recording.recording import Recording
from autotune.runtime.demand import Demand, leave
from autotune.search.request import Request

RECORDING = Recording(
    command=("python", "x.py"), status=0, wall_seconds=2.0, cpu_seconds=2.0, processes=(), usable_cpus=2
)


def refusal(*arguments):
    done = CliRunner().invoke(calibrate, arguments)
    return str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--"], "Name a command"),
        (["--record", "x.json"], "Name a command"),
        (["qr", "--", "python", "x.py"], "alone"),
        (["--", "no-such-command-at-all"], "no-such-command-at-all"),
        (["--", sys.executable, "-c", "raise SystemExit(3)"], "exit status 3"),
        (["--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], "signal 9"),
        (["--", sys.executable, "-c", "print('nothing of NumPy')"], "Nothing that this program calls"),
    ],
)
def test_what_cannot_be_calibrated_for_is_refused_with_a_sentence(arguments, word):
    assert word in refusal(*arguments)


def test_a_recording_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    assert "no recording" in refusal("--recording", str(tmp_path / "x.json"))


@pytest.mark.skipif(os.name != "posix", reason="files have no mode here")
def test_a_recording_that_others_can_write_is_refused_since_its_command_is_run(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"command": ["true"]}))
    path.chmod(0o666)
    assert "written by everybody" in refusal("--recording", str(path))


def test_a_recording_and_a_command_are_refused_together(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(RECORDING.as_dict()))
    assert "alone" in refusal("--recording", str(tmp_path / "x.json"), "--", "python")


@pytest.fixture
def _gains(monkeypatch):
    """Entries predict a gain."""
    advice = SimpleNamespace(gain=SimpleNamespace(speedup=1.5, low=1.2, high=1.9))
    monkeypatch.setattr("autotune.cli.program_calibration.advise_here", lambda *_: advice)


def pairs_of(plain, variant, *, outputs=(b"", b"")):
    runs = [
        tuple(CommandRun(seconds=seconds, status=0, output=output) for seconds in side)
        for side, output in zip((plain, variant), outputs, strict=True)
    ]
    return PairedRuns(first=runs[0][0], plain=runs[0], variant=runs[1])


@pytest.mark.usefixtures("_gains")
def test_pairs_of_runs_tell_what_the_program_gained(monkeypatch, tmp_path):
    def run(plain, *_, **__):
        return pairs_of([2, 2, 2], [1, 1, 1]) if plain == RECORDING.command else pairs_of([0.1] * 3, [0.35] * 3)

    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", run)
    gained = gain_of(replace(RECORDING, wall_seconds=2.0), tmp_path / "profile.yaml", runs=3, seconds=100)
    assert (gained.measured, gained.pairs, gained.same_output) == (pytest.approx(2.0), 3, True)
    assert (gained.predicted, gained.start_seconds) == (1.5, pytest.approx(0.25))
    assert gained.predicted_with_start == pytest.approx(1 / (1 / 1.5 + 0.125))  # Amdahl's law
    assert "1.26 with the 0.25 s" in gain_text(gained)


@pytest.mark.usefixtures("_gains")
def test_other_output_of_tuned_runs_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "autotune.bench.command_pairs.run_pairs", lambda *_, **__: pairs_of([2], [1], outputs=(b"1", b"2"))
    )
    assert gain_of(RECORDING, tmp_path / "profile.yaml", runs=1, seconds=100).same_output is False


@pytest.mark.usefixtures("_gains")
def test_runs_that_are_too_long_for_the_budget_are_not_made(tmp_path):
    gained = gain_of(replace(RECORDING, wall_seconds=60.0), tmp_path / "profile.yaml", runs=3, seconds=120)
    assert (gained.measured, "420 s" in gained.why_not) == (None, True)


@pytest.mark.usefixtures("_gains")
def test_a_command_that_ran_on_after_its_recording_is_not_run_in_pairs(monkeypatch, tmp_path):
    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", lambda *_, **__: pytest.fail("was run"))
    part = replace(RECORDING, status=None, is_complete=False)
    gained = gain_of(part, tmp_path / "profile.yaml", runs=3, seconds=100)
    assert (gained.measured, "autotune compare" in gained.why_not) == (None, True)


@pytest.mark.usefixtures("_gains")
def test_runs_that_all_fail_tell_no_gain(monkeypatch, tmp_path):
    failed = CommandRun(seconds=1.0, status=3, output=b"")
    runs = PairedRuns(first=failed, plain=(failed,) * 3, variant=(failed,) * 3)
    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", lambda *_, **__: runs)
    gained = gain_of(RECORDING, tmp_path / "profile.yaml", runs=3, seconds=100)
    assert (gained.measured, "exit status 3" in gained.why_not) == (None, True)


def test_the_recording_of_a_command_that_fails_is_kept(tmp_path):
    kept = tmp_path / "kept.json"
    assert "exit status 3" in refusal("--record", str(kept), "--", sys.executable, "-c", "raise SystemExit(3)")
    assert json.loads(kept.read_text())["status"] == 3


@pytest.mark.usefixtures("_gains")
def test_a_command_that_cannot_run_here_leaves_the_prediction(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise BadWorkload("python cannot be run: No such file.")

    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", fail)
    assert "cannot be run" in gain_of(RECORDING, tmp_path / "profile.yaml", runs=3, seconds=100).why_not


def test_a_program_of_which_nothing_is_tuned_is_not_run_in_pairs(monkeypatch, tmp_path):
    monkeypatch.setattr("autotune.bench.command_pairs.run_pairs", lambda *_, **__: pytest.fail("was run"))
    gained = gain_of(RECORDING, tmp_path / "profile.yaml", runs=3, seconds=100)
    assert (gained.measured, "tunes nothing" in gained.why_not) == (None, True)


def test_operations_that_programs_have_called_count_more(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
    demand = Demand()
    demand.add(operation("qr", n=500), 50)
    demand.add(operation("svd", n=5), 1, covered=True)
    leave(demand, [])
    weights = weigh_by_spool(Request()).weights
    assert weights.keys() == {"qr", "svd"}
    assert (round(weights["qr"]), round(weights["svd"])) == (3, 1)
    assert list(folders.spool()[0].iterdir())  # the daemon reads it later
    assert weigh_by_spool(Request()).weights == weights


@pytest.mark.parametrize(
    ("interval", "is_open"),
    [(None, True), ((0.2, 1.4), True), ((1.05, 1.12), False), ((1.5, 2.5), True), ((0.98, 1.01), True)],
)
def test_pairs_that_tell_nothing_or_contradict_the_entries_are_said_to_and_how_to_repeat_them(interval, is_open):
    gain = VerifiedGain(
        predicted=1.04, predicted_low=1.02, predicted_high=1.05, measured=1.08, interval=interval, pairs=3
    )
    text = gain_text(gain)
    assert ("autotune compare" in text) == is_open
    assert ("1.08" in text) == (interval is not None)


@pytest.mark.parametrize(
    ("runs", "wall", "is_told"), [(3, 2.0, True), (3, 60.0, False), (0, 2.0, False), (3, 17.0, True)]
)
def test_the_time_of_the_calibration_and_of_the_runs_that_follow_is_told_before_it(capsys, runs, wall, is_told):
    recorded = recording(process(call(seconds=wall, operation=QR)), wall_seconds=wall)
    request = for_program(Request(budget_seconds=120.0), recorded, runs=runs)
    said = capsys.readouterr().err
    assert "of the run, in up to 2:00." in said
    assert ("3 pairs of runs of the command follow: about" in said) is is_told
    assert [each.name for each in request.recorded] == ["qr"]


def test_the_time_of_pairs_of_runs_counts_their_starts_and_scatter():
    assert verification_seconds(10.0, 3) > 1.2 * 7 * 10.1


def test_a_gain_without_an_interval_is_told_all_the_same():
    text = gain_text(VerifiedGain(predicted=1.5, predicted_low=1.5, predicted_high=1.5))
    assert "1.50 times as fast" in text
