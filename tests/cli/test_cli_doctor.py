"""`autotune doctor`."""

import json

import pytest
from click.testing import CliRunner

from autotune.cli import messages
from autotune.cli.program import program


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
    assert messages.ALL_WELL in CliRunner().invoke(program, ["doctor", "--root", str(recorded)]).stdout


def test_a_folder_without_a_computer_is_not_called_well(tmp_path):
    said = CliRunner().invoke(program, ["doctor", "--root", str(tmp_path)])
    assert said.exit_code == 0
    assert "No CPU could be read" in said.stdout
    assert messages.ALL_WELL not in said.stdout


@pytest.mark.real
def test_this_machine_is_described_as_json():
    said = json.loads(CliRunner().invoke(program, ["doctor", "--json"]).stdout)
    assert said["allocation"]["usable_cpus"] >= 1
    assert isinstance(said["warnings"], list)
