"""Every recorded machine is read as its expected.json says, by detect() and by the command."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.recorded_machines import RECORDED

from autotune.cli.program import program
from autotune.host.detect import detect

MACHINES = Path(__file__).parents[1] / "machines"


def doctor(root: Path) -> dict:
    result = CliRunner().invoke(program, ["doctor", "--json", "--root", str(root)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_machine_is_read_as_expected(name, recorded, expected):
    said = doctor(recorded(name))
    for part, fields in expected(name).items():
        assert {field: said[part][field] for field in fields} == fields


@pytest.mark.parametrize("name", RECORDED)
def test_the_environment_says_nothing_about_a_recorded_machine(name, recorded, monkeypatch):
    root = recorded(name)
    before = detect(root)
    monkeypatch.setenv("AUTOTUNE_CPUS", "1")
    monkeypatch.setenv("AUTOTUNE_PROCESSES", "7")
    assert detect(root) == before
    assert before[1].affinity_cpus is None


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_machine_is_shown_to_people_as_well(name, recorded):
    result = CliRunner().invoke(program, ["doctor", "--root", str(recorded(name))])
    assert result.exit_code == 0
    assert "logical CPUs" in result.output


def test_the_parts_of_the_reading_have_the_promised_keys(recorded):
    said = doctor(recorded("hybrid"))
    counts = {"logical_cpus", "physical_cores", "packages", "numa_nodes", "l3_groups"}
    assert counts <= said["machine"].keys()
    assert counts | {"usable_cpus", "affinity_cpus", "quota_cpus"} <= said["allocation"].keys()
    assert said["libraries"] == []


def test_a_root_that_is_no_folder_is_wrong_usage(tmp_path):
    result = CliRunner().invoke(program, ["doctor", "--root", str(tmp_path / "gone")])
    assert result.exit_code == 2
    assert "does not exist" in result.output


@pytest.mark.real
@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="there is no /proc to record")
def test_a_capture_of_this_computer_reads_like_this_computer(tmp_path):
    subprocess.run([str(MACHINES / "capture_machine"), str(tmp_path / "here")], check=True, capture_output=True)
    machine, allocation = detect(tmp_path / "here")
    here, allocated = detect()
    assert {**asdict(machine), "architecture": None} == {**asdict(here), "architecture": None}
    assert allocation.quota_cpus == allocated.quota_cpus


@pytest.mark.real
def test_doctor_finds_the_blas_of_numpy_and_of_scipy():
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "doctor", "--json"], check=True, capture_output=True, text=True
    )
    said = json.loads(done.stdout)
    assert said["software"]["numpy"]
    assert [library["user"] for library in said["libraries"]] in (["numpy", "scipy"], ["numpy"], [None], [])
    assert said["allocation"]["usable_cpus"] >= 1
