"""`autotune show`."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np  # its BLAS is part of the key of a profile
import pytest
from click.testing import CliRunner
from support.profile_builders import alone, make_entry, of_this_machine
from support.shown_profiles import DEFAULTS_ONLY, EMPTY, USUAL

from autotune.cli import messages
from autotune.cli.in_force import in_force
from autotune.cli.options import Selection
from autotune.cli.program import program
from autotune.model.operation import Operation
from autotune.profiles import folders, profile_files

assert np

QR = make_entry("qr", choice={"blas_threads": 1}, m=8, n=8)
LOG = make_entry("log", n=1000)


@pytest.fixture
def shown(tmp_path):
    """Writes a profile and shows it."""

    def show(profile, *options, columns="100"):
        path = tmp_path / "some.yaml"
        profile_files.write(profile, path)
        return CliRunner().invoke(program, ["show", str(path), *options], env={"COLUMNS": columns})

    return show


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """This machine with folders of its own and two profiles that fit."""
    alone(monkeypatch, tmp_path)
    folder = folders.user_profiles()
    profile_files.write(of_this_machine(QR), folder / "a.yaml")
    profile_files.write(of_this_machine(LOG), folder / "b.yaml")
    return folder


def show(*words):
    return CliRunner().invoke(program, ["show", *words])


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("profile", [USUAL, EMPTY, DEFAULTS_ONLY])
def test_any_file_is_shown_at_any_width(shown, profile, columns):
    result = shown(profile, columns=columns)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "usable CPU" in result.stdout


def test_json_of_a_file_is_its_document_with_its_path(shown, tmp_path):
    said = json.loads(shown(USUAL, "--json").stdout)
    assert said["schema"] == "autotune.profile/1"
    assert (said["path"], list(said["profile"]["operations"])) == (str(tmp_path / "some.yaml"), ["fill", "svd"])


@pytest.mark.parametrize("renumbered", [True, False])
def test_a_profile_measured_on_renumbered_cpus_says_so(shown, renumbered):
    made = replace(USUAL, provenance=replace(USUAL.provenance, renumbered_cpus=renumbered))
    assert ("lxcfs" in shown(made).stdout) is renumbered


def test_a_file_can_be_narrowed_to_an_operation(shown):
    text = shown(USUAL, "svd").stdout
    assert ("svd m=500" in text, "fill" in text) == (True, False)


@pytest.mark.parametrize("content", [b"", b"\xff", b"schema: 99\n", b"a: [\n"])
def test_a_file_that_is_no_profile_is_a_sentence_with_its_path(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    result = show(str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"autotune: {path}: ")


def test_entries_of_every_profile_in_force_are_shown_with_their_source(machine):
    text = " ".join(show().stdout.split())
    assert f"[1] {machine / 'a.yaml'} This user's; in force: 1 tuned." in text
    assert f"[2] {machine / 'b.yaml'}" in text
    for part in ("qr m=8 n=8", "2.00x", "log n=1000"):
        assert part in text


def test_open_entries_are_counted_apart_from_those_in_force(machine):
    kept, undecided = make_entry("qr", m=9, n=9), make_entry("svd", status="undecided", m=9, n=9)
    profile_files.write(of_this_machine(QR, kept, undecided), machine / "a.yaml")
    assert "in force: 1 tuned, 1 default kept; open: 1 undecided." in " ".join(show().stdout.split())
    first = json.loads(show("--json").stdout)["profiles"][0]
    assert (first["in_force"], first["statuses"]) == (2, {"tuned": 1, "default-kept": 1, "undecided": 1})


def test_a_profile_without_an_entry_for_this_machine_has_none_in_force(machine):
    profile_files.write(of_this_machine(replace(LOG, reason="Newer.")), machine / "a.yaml")
    assert "no entry in force." in " ".join(show().stdout.split())


def test_a_profile_of_open_entries_alone_has_none_in_force(machine):
    profile_files.write(of_this_machine(make_entry("qr", status="undecided", m=8, n=8)), machine / "a.yaml")
    assert "no entry in force; open: 1 undecided." in " ".join(show().stdout.split())


def test_the_list_can_be_narrowed_to_operations_and_sizes(machine):
    assert [entry["operation"] for entry in json.loads(show("qr", "--json").stdout)["entries"]] == ["qr"]
    assert [entry["operation"] for entry in json.loads(show("n=1000", "--json").stdout)["entries"]] == ["log"]


def test_an_operation_without_an_entry_names_the_command_that_measures_it(machine):
    result = show("svd", "n=9")
    assert (result.exit_code, "`autotune calibrate svd n=9`" in result.stderr) == (1, True)


@pytest.mark.parametrize("verb", ["show", "report", "verify"])
def test_where_nothing_is_in_force_an_operation_names_the_command_that_measures_it(tmp_path, monkeypatch, verb):
    alone(monkeypatch, tmp_path)
    result = CliRunner().invoke(program, [verb, "svd", "n=9"])
    assert (result.exit_code, "`autotune calibrate svd n=9`" in result.stderr) == (1, True)


@pytest.mark.parametrize(("value", "is_off"), [("1", True), ("0", False)])
def test_where_autotune_is_switched_off_nothing_of_the_list_is_said_to_be_in_force(machine, monkeypatch, value, is_off):
    monkeypatch.setenv("AUTOTUNE_DISABLE", value)
    result = show()
    assert (result.exit_code, messages.SWITCHED_OFF in result.stderr) == (0, is_off)


def test_an_entry_that_is_undecided_does_not_make_its_profile_a_refused_one(machine):
    """A misspelt name could be a function of a refused profile, and of no other."""
    profile_files.write(of_this_machine(make_entry("qr", status="noisy", m=8, n=8)), machine / "a.yaml")
    assert show("sdv").exit_code == 2


def test_json_gives_speed_ups_and_no_time_ratios(machine):
    (entry,) = json.loads(show("qr", "--json").stdout)["entries"]
    assert entry["speedup"] == pytest.approx(2.0)
    assert "ratio" not in entry


def test_a_profile_that_does_not_fit_is_listed_with_the_reason(machine):
    made = of_this_machine(QR)
    old = replace(made, key=replace(made.key, software=replace(made.key.software, numpy="1.0")))
    for name in ("a", "b"):
        profile_files.write(old, machine / f"{name}.yaml")
    result = show()
    assert result.exit_code == 1
    assert " ".join(result.stdout.split()).count("the profile has 1.0") == 2
    assert result.stderr.startswith("2 profiles of this host are for NumPy 1.0,")
    assert result.stderr.endswith(f"{messages.NO_PROFILE}\n")


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ({}, True),
        ({"n": (8,)}, True),
        ({"m": (8,)}, True),
        ({"m": (8,), "n": (9,)}, False),
        ({"n": (9,)}, False),
        ({"k": (8,)}, False),
    ],
)
def test_a_size_that_is_left_out_equals_n(sizes, wanted):
    assert Selection(sizes=sizes).contains(QR.operation) is wanted


def test_sizes_with_a_default_of_their_own_do_not_follow_n():
    stack = Operation(name="stack_inv", sizes=(("n", 16), ("count", 1000)))
    assert Selection(sizes={"n": (16,)}).contains(stack)


def test_everything_in_force_is_one_profile_for_reports(machine):
    assert {entry.operation for entry in in_force().as_profile().entries} == {QR.operation, LOG.operation}


@pytest.mark.parametrize("verb", ["show", "verify", "report"])
def test_a_misspelt_operation_is_wrong_usage(machine, verb):
    result = CliRunner().invoke(program, [verb, "choleski"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean cholesky?" in result.stderr


@pytest.mark.parametrize("verb", ["show", "verify", "report"])
def test_a_size_without_an_entry_names_the_command_that_measures_it(machine, verb):
    result = CliRunner().invoke(program, [verb, "qr", "n=77"])
    assert (result.exit_code, "`autotune calibrate qr n=77` measures it" in result.stderr) == (1, True)


@pytest.mark.parametrize("verb", ["show", "verify", "report", "forget"])
def test_a_word_that_is_too_long_for_a_file_is_no_file(machine, verb):
    result = CliRunner().invoke(program, [verb, "x" * 300])
    assert (result.exit_code, "Traceback" in result.output) == (2, False)


@pytest.mark.parametrize("verb", ["show", "verify", "explain"])
def test_a_function_whose_profile_is_refused_is_not_called_unknown(machine, verb):
    (machine / "named.yaml").write_text("schema: 99\n")
    result = CliRunner().invoke(program, [verb, "step"])
    assert (result.exit_code, "its profile is among those" in result.stderr) == (1, True)


def test_a_size_of_a_function_of_the_users_is_measured_as_a_workload(machine):
    profile_files.write(of_this_machine(make_entry("step", n=8)), machine / "a.yaml")
    assert "`autotune calibrate --workload FILE.py:step n=9` measures it" in show("step", "n=9").stderr


@pytest.mark.real
def test_showing_a_second_time_loads_neither_numpy_nor_the_types_of_profiles(machine):
    code = (
        "import json, sys; from autotune.cli import show; state = show.in_force(); "
        "print(json.dumps([len(state.entries), bool({'numpy', 'autotune.model.profile'} & sys.modules.keys())]))"
    )
    said = [
        json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120).stdout)
        for _ in range(2)
    ]
    (first, loaded), (second, loaded_again) = said
    assert (loaded, loaded_again) == (True, False)
    assert first == second >= 2  # a shipped profile may fit this machine, too


def test_a_cache_that_is_damaged_is_not_believed(machine, tmp_path):
    assert len(in_force().entries) == 2
    (copy,) = (tmp_path / "cache/autotune").iterdir()
    for text in ("", "[]", "autotune 7 00000000\n", "{"):
        copy.write_text(text)
        assert len(in_force().entries) == 2
