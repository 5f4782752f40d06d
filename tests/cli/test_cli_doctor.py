"""`autotune doctor`."""

import importlib
import importlib.metadata
import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.profile_builders import alone

from autotune.cli.program import program

doctor = importlib.import_module("autotune.cli.doctor")


@pytest.fixture
def recorded(tmp_path):
    """A recording of a computer that says no more than that it has a CPU."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\n")
    return tmp_path


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_a_computer_is_described_at_any_width(recorded, columns):
    result = CliRunner().invoke(program, ["doctor", "--root", str(recorded)], env={"COLUMNS": columns})
    assert (result.exit_code, result.stderr) == (0, "")
    assert "logical" in result.stdout
    assert max(len(line.rstrip()) for line in result.stdout.splitlines()) <= int(columns)


def test_if_all_is_well_it_says_so(recorded):
    assert doctor.ALL_WELL in CliRunner().invoke(program, ["doctor", "--root", str(recorded)]).stdout


def test_a_folder_without_a_computer_is_not_called_well(tmp_path):
    said = CliRunner().invoke(program, ["doctor", "--root", str(tmp_path)])
    assert said.exit_code == 0
    assert "No CPU could be read" in said.stdout
    assert doctor.ALL_WELL not in said.stdout


def test_a_quota_between_whole_cpus_is_named_although_it_takes_none_away(recorded, monkeypatch):
    examined = doctor.examine_recording(recorded)
    allocation = examined.allocation.replace(usable_cpus=2, quota_cpus=1.5)
    monkeypatch.setattr(doctor, "examine_recording", lambda _: examined.replace(allocation=allocation))
    said = CliRunner().invoke(program, ["doctor", "--root", str(recorded)]).stdout
    assert "CPU quota: 1.5 CPUs' worth of time." in said


@pytest.mark.real
@pytest.mark.parametrize(("value", "is_off"), [("1", True), ("0", False)])
def test_a_switch_that_turns_everything_off_is_a_warning(monkeypatch, value, is_off):
    monkeypatch.setenv("AUTOTUNE_DISABLE", value)
    assert ("! AUTOTUNE_DISABLE is set" in CliRunner().invoke(program, ["doctor"]).stdout) is is_off


@pytest.mark.real
def test_a_named_profile_that_is_not_used_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "missing.yaml"))
    assert f"! The profile {tmp_path / 'missing.yaml'} is not used" in CliRunner().invoke(program, ["doctor"]).stdout


@pytest.mark.real
def test_this_machine_is_described_as_json():
    said = json.loads(CliRunner().invoke(program, ["doctor", "--json"]).stdout)
    assert said["allocation"]["usable_cpus"] >= 1
    assert isinstance(said["warnings"], list)


@pytest.mark.real
def test_folders_settings_and_variables_have_their_origin(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("AUTOTUNE_STORE", "s3://user:secret@bucket/x?token=1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = json.loads(CliRunner().invoke(program, ["doctor", "--json"]).stdout)
    settings = {row["name"]: (row["value"], row["source"]) for row in said["settings"]}
    assert settings["store"] == ("s3://bucket/x", "AUTOTUNE_STORE")
    assert settings["OMP_NUM_THREADS"] == ("1", doctor.THREADS_OF_YOURS)
    assert str(tmp_path) in settings["journals and locks"][0]
    assert said["core"]


def test_a_folder_that_cannot_be_looked_at_does_not_exist(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", f"/{'x' * 300}")
    sources = {row.value: row.source for row in doctor.settings_in_force()}
    assert sources[f"/{'x' * 300}/cluster"].endswith("does not exist")


def test_two_distributions_with_one_command_are_warned_of(monkeypatch):
    def distribution(name):
        point = importlib.metadata.EntryPoint("autotune", "x:main", "console_scripts")
        return SimpleNamespace(
            metadata={"Name": name},
            read_text=lambda file: "autotune/__init__.py,," if file == "RECORD" else None,
            entry_points=importlib.metadata.EntryPoints([point]),
        )

    monkeypatch.setattr("importlib.metadata.distributions", lambda: [distribution("a"), distribution("b")])
    package, command = doctor.conflicting_packages()
    assert "the package `autotune`: a, b" in package
    assert "the command `autotune`: a, b" in command
    monkeypatch.setattr("importlib.metadata.distributions", lambda: [distribution("b"), distribution(None)])
    assert "an installation without a name, b" in doctor.conflicting_packages()[0]
