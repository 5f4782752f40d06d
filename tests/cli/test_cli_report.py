"""`autotune report`."""

import csv
import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.profile_builders import alone, make_entry, of_this_machine, profile

from autotune.cli import messages
from autotune.cli.program import program
from autotune.profiles import folders, profile_files

QR = make_entry("qr", choice={"blas_threads": 2}, m=100, n=100)
LOG = make_entry("log", n=1000)


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Runs the verb on a profile of these entries, in a folder of its own."""
    alone(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    profile_files.write(profile(QR, LOG), tmp_path / "a.yaml")

    def run(*words):
        return CliRunner().invoke(program, ["report", *words])

    return run


def test_a_page_is_written_and_the_next_step_said(report, tmp_path):
    result = report("a.yaml", "--output", "page.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "The report is in page.html: open it in a browser.\n"
    text = (tmp_path / "page.html").read_text("utf-8")
    assert all(f'"{kind}": ' in text for kind in ("gain", "time"))
    assert len(text) > 500_000


def test_json_and_csv_hold_the_same_numbers(report):
    said = json.loads(report("a.yaml", "--json").stdout)["entries"]
    rows = list(csv.DictReader(io.StringIO(report("a.yaml", "--csv", "entries").stdout)))
    assert [(row["operation"], row["speedup"]) for row in said] == [("log", None), ("qr", 2.0)]
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in said] == rows


@pytest.mark.parametrize("words", [["qr"], ["m=100"], ["qr", "n=100"]])
def test_a_report_can_be_narrowed_to_operations_and_sizes(report, words):
    said = json.loads(report("a.yaml", *words, "--json").stdout)["entries"]
    assert [row["operation"] for row in said] == ["qr"]


def test_a_report_on_what_no_profile_holds_names_the_command_that_measures_it(report):
    result = report("a.yaml", "qr", "n=7")
    assert (result.exit_code, "`autotune calibrate qr n=7`" in result.stderr) == (1, True)


@pytest.mark.parametrize("table", ["machines", "trials", "points"])
def test_other_tables_are_asked_for_by_name(report, table):
    result = report("a.yaml", "--csv", table)
    assert result.exit_code == 0
    assert (result.stdout == "") == (table != "machines")


@pytest.mark.parametrize(
    "words", [("--json", "--csv", "trials"), ("--output", "x.html", "--json"), ("--json", "--open")]
)
def test_one_thing_is_made_at_a_time(report, words):
    result = report("a.yaml", *words)
    assert (result.exit_code, result.stderr) == (
        2,
        "autotune: Give at most one of --output, --json, --csv and --optuna.\n",
    )


def test_a_place_that_cannot_be_written_is_said_and_nothing_is_changed(report):
    result = report("a.yaml", "--output", "nowhere/page.html")
    assert result.exit_code == 3
    assert result.stderr.startswith("autotune: nowhere/page.html could not be written (No such file")


def test_a_link_is_followed_and_stays(report, tmp_path):
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    assert report("a.yaml", "--output", "link.html").exit_code == 0
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").is_file()


def test_without_options_the_page_has_a_name_of_its_own_and_may_be_opened(report, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert report("a.yaml", "--open").exit_code == 0
    assert opened == [(tmp_path / "autotune-report.html").as_uri()]


def test_where_nothing_applies_it_says_what_to_do(report):
    result = report("--json")
    assert (result.exit_code, result.stderr) == (1, f"{messages.NO_PROFILE}\n")


@pytest.mark.parametrize(("words", "speaks_of_programs"), [(["--json"], True), (["a.yaml", "--json"], False)])
def test_where_autotune_is_switched_off_nothing_is_said_to_be_in_force(report, monkeypatch, words, speaks_of_programs):
    profile_files.write(of_this_machine(QR), folders.user_profiles() / "own.yaml")
    monkeypatch.setenv("AUTOTUNE_DISABLE", "1")
    result = report(*words)
    assert (result.exit_code, messages.SWITCHED_OFF in result.stderr) == (0, speaks_of_programs)


def test_without_a_journal_there_is_no_history(report):
    result = report("a.yaml", "--optuna", "history.log")
    assert (result.exit_code, "no journal" in result.stderr, "`autotune calibrate`" in result.stderr) == (3, True, True)


def test_a_history_is_of_one_profile(report, tmp_path):
    (tmp_path / "b.yaml").write_bytes((tmp_path / "a.yaml").read_bytes())
    assert report("a.yaml", "b.yaml", "--optuna", "history.log").exit_code == 2


def test_what_is_no_profile_is_refused_with_its_path(report, tmp_path):
    (tmp_path / "bad.yaml").write_bytes(b"\xff")
    result = report("a.yaml", "bad.yaml", "--json")
    assert (result.exit_code, result.stderr.startswith("autotune: bad.yaml: ")) == (1, True)


def test_the_journal_of_the_host_that_measured_it_is_used(report, tmp_path, monkeypatch):
    from support.fake_bench import FakeBench

    from autotune.bench.selftest import SelfTest
    from autotune.model.measurement import Case, TrialPlan
    from autotune.search.environment import Environment
    from autotune.search.journal import Header, Journal, journal_path
    from autotune.search.request import Request

    monkeypatch.setenv("AUTOTUNE_HOST_ID", "here")
    shown = profile(QR)
    bench = FakeBench(lambda operation, configuration, luck: 0.5 if configuration.blas_threads else 1.0)
    header = Header(request=Request(), environment=Environment(usable_cpus=2), self_test=SelfTest())
    Journal(bench, journal_path(shown.key), header).run(
        TrialPlan(cases=(Case(operation=QR.operation, configurations=(QR.choice,)),), rounds=2)
    )
    trials = json.loads(report("a.yaml", "--json").stdout)["trials"]
    assert [(trial["choice"], trial["speedup"]) for trial in trials] == [("2 threads", 2.0)]
    assert report("a.yaml", "--optuna", "history.log").exit_code == 0
    assert report("a.yaml", "--optuna", "history.log").exit_code == 2  # it is there now

    profile_files.write(replace(shown, provenance=replace(shown.provenance, host="elsewhere")), tmp_path / "a.yaml")
    assert json.loads(report("a.yaml", "--json").stdout)["trials"] == []


def test_control_characters_are_spelled_out_in_csv(report, tmp_path):
    profile_files.write(profile(replace(QR, reason="\x9b2J")), tmp_path / "a.yaml")
    assert "\\x9b2J" in report("a.yaml", "--csv", "entries").stdout
