"""`autotune verify`, with a machine that is a function."""

import json
import re
from contextlib import contextmanager
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.fake_bench import FakeBench
from support.profile_builders import KEY, alone, make_entry, profile

from autotune.cli.program import program
from autotune.errors import HostBusy
from autotune.profiles import profile_files, resolve
from autotune.profiles.fit import Site
from autotune.search import runner

QR = make_entry("qr", choice={"blas_threads": 2}, m=100, n=100)
LOG = make_entry("log", choice={"workers": 4, "chunk": 8192}, n=10**6)


@pytest.fixture
def verify(tmp_path, monkeypatch):
    """Runs the verb on a profile, on a machine where each operation's choice has this ratio."""
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("AUTOTUNE_PROCESSES", "")  # so that it is put back
    monkeypatch.delenv("AUTOTUNE_PROCESSES")
    monkeypatch.setattr(resolve, "this_site", lambda *_: Site(key=KEY))

    @contextmanager
    def held():
        yield

    @contextmanager
    def busy(count):
        run.neighbours = count
        yield ()

    monkeypatch.setattr(runner, "host_lock", held)
    monkeypatch.setattr(runner, "neighbours", busy)

    def run(shown, *words, **ratios):
        def bench(**arguments):
            run.asked = arguments
            fake = FakeBench(
                lambda operation, configuration, luck: (
                    0.01 * (1.0 if configuration.is_default else ratios[operation.name])
                )
            )
            fake.scrubbed = ()
            return fake

        monkeypatch.setattr(runner, "ProcessBench", bench)
        profile_files.write(shown, tmp_path / "profile.yaml")
        return CliRunner().invoke(program, ["verify", str(tmp_path / "profile.yaml"), *words])

    return run


def test_choices_that_hold_are_shown_with_their_speed_up_and_all_is_well(verify):
    result = verify(profile(QR, LOG), qr=0.5, log=0.8)

    assert result.exit_code == 0
    assert re.search(r"^qr m=100 n=100 +blas_threads=2 +holds +2.00x$", result.stdout, re.MULTILINE)
    assert re.search(r"1\.\d\d to 2\.\d\d", result.stdout)
    assert result.stderr.splitlines()[-1] == "2 hold."


def test_a_slower_choice_ends_with_1_and_is_named(verify):
    result = verify(profile(QR, LOG), qr=1.25, log=0.8)

    assert result.exit_code == 1
    assert re.search(r"^qr m=100 n=100 +blas_threads=2 +SLOWER than plain NumPy +0.80x$", result.stdout, re.MULTILINE)
    assert "`autotune calibrate`" in result.stderr


def test_a_choice_without_gain_or_loss_is_told_and_ends_with_1(verify):
    result = verify(profile(QR, LOG), qr=1.0, log=0.8)

    assert result.exit_code == 1
    assert "no longer holds" in result.stdout


def test_json_is_alone_on_standard_output(verify):
    result = verify(profile(QR, LOG), "--json", qr=1.25, log=0.8)

    entries = json.loads(result.stdout)["entries"]
    by_name = {check["operation"]: check for check in entries}
    assert {name: check["standing"] for name, check in by_name.items()} == {"log": "holds", "qr": "slower"}
    assert by_name["qr"]["speedup"] == pytest.approx(0.8)
    assert len(by_name["qr"]["interval"]) == 2
    assert result.exit_code == 1


def test_a_profile_of_another_machine_ends_with_1_and_the_field_that_differs(verify):
    other = replace(KEY, hardware=replace(KEY.hardware, family=5))

    result = verify(profile(QR, key=other))

    assert result.exit_code == 1
    assert "key.hardware.family: the profile has 5" in result.stdout


def test_a_profile_without_choices_has_nothing_to_verify(verify):
    result = verify(profile(make_entry("svd", m=10, n=10)))

    assert (result.exit_code, "No choices to verify" in result.stderr) == (0, True)


def test_an_operation_without_choices_is_named_with_those_that_have_some(verify):
    said = verify(profile(make_entry("svd", m=10, n=10), QR, LOG), "svd").stderr
    assert "svd: no choices to verify" in said
    assert "log (1), qr (1)" in said


def test_entries_are_measured_in_the_company_that_they_were_measured_in(verify):
    shown = profile(QR)
    made = replace(shown.provenance, neighbours=2, copies=3)

    verify(replace(shown, provenance=made), qr=0.5)

    assert verify.neighbours == 2
    assert (verify.asked["neighbours"], verify.asked["copies"]) == (2, 3)


@pytest.mark.parametrize("words", [("--budget", "soon"), ("--budget", "0s"), ("--workload", "nowhere.py:f")])
def test_words_that_make_no_sense_are_wrong_usage(verify, words):
    assert verify(profile(QR), *words, qr=0.5).exit_code == 2


def test_a_busy_host_is_told_with_3(verify, monkeypatch):
    def busy():
        raise HostBusy("process 7")

    monkeypatch.setattr(runner, "host_lock", busy)

    assert verify(profile(QR), qr=0.5).exit_code == 3


def test_without_a_profile_there_is_nothing_to_verify(verify, monkeypatch):
    result = CliRunner().invoke(program, ["verify"])

    assert (result.exit_code, "No entry is in force" in result.stderr) == (1, True)


def test_a_reason_cannot_act_on_the_terminal(verify):
    result = verify(profile(QR, key=replace(KEY, software=replace(KEY.software, blas="\x1b[2J"))))

    assert "\\x1b[2J" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_verdicts_fit_the_terminal(verify, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)

    lines = verify(profile(QR, LOG), qr=0.5, log=0.8).stdout.splitlines()

    assert max(len(line.rstrip()) for line in lines) <= int(columns)


def test_a_size_without_an_entry_names_the_command_that_measures_it(verify):
    done = verify(profile(QR), "qr", "n=777")
    assert done.exit_code == 1
    assert "`autotune calibrate qr n=777` measures it" in done.stderr
