"""`autotune doctor`."""

import importlib
import json

import pytest
from click.testing import CliRunner

from autotune.cli import messages
from autotune.cli.program import program
from autotune.host.pressure import Load
from autotune.model.machine import Allocation

DOCTOR = importlib.import_module("autotune.cli.doctor")


@pytest.fixture
def loads(monkeypatch):
    """Two moments a third of a second apart, between which others took so many seconds of CPU time."""

    def between(others, stolen=0.0):
        moments = iter(
            [
                Load(busy_seconds=10.0, own_seconds=1.0, stolen_seconds=0.0),
                Load(busy_seconds=10.0 + others, own_seconds=1.0, stolen_seconds=stolen),
            ]
        )
        clock = iter([0.0, 0.5])
        monkeypatch.setattr(DOCTOR.pressure, "read", lambda **_: next(moments))
        monkeypatch.setattr(DOCTOR, "monotonic", lambda: next(clock))
        monkeypatch.setattr(DOCTOR, "sleep", lambda _: None)
        return DOCTOR._taken_by_others(Allocation(usable_cpus=2, cpus=(0, 1)))

    return between


@pytest.mark.parametrize(
    ("others", "stolen", "share"), [(0.0, 0.0, 0.0), (0.5, 0.0, 0.5), (0.25, 0.25, 0.5), (9.0, 0.0, 1.0)]
)
def test_what_others_take_is_a_share_of_the_usable_cpus(loads, others, stolen, share):
    assert loads(others, stolen) == pytest.approx(share)


def test_where_the_kernel_does_not_say_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(DOCTOR.pressure, "read", lambda **_: Load())
    monkeypatch.setattr(DOCTOR, "sleep", lambda _: None)
    assert DOCTOR._taken_by_others(Allocation(usable_cpus=2)) is None


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
