"""Each limit on the CPUs, with its source."""

import json

import pytest
from click.testing import CliRunner

import autotune
from autotune.cli.program import program
from autotune.host.limit_sources import cpu_limits
from autotune.host.usable_cpus import online_cpus, usable_cpus


def limits(**environ):
    return {limit.name: limit for limit in cpu_limits(environ)}


def test_every_limit_is_listed_set_or_not():
    table = limits()
    assert table["CPUs that are switched on"].value == online_cpus()
    assert table["cap of the job or container"].value is None
    assert table["processes that share the CPUs"].value is None


def test_a_limit_names_the_variable_that_it_comes_from():
    table = limits(AUTOTUNE_CPUS="3", AUTOTUNE_PROCESSES="2")
    assert (table["cap of the job or container"].value, table["cap of the job or container"].source) == (
        3,
        "AUTOTUNE_CPUS=3",
    )
    assert table["processes that share the CPUs"].source == "AUTOTUNE_PROCESSES=2"


def test_a_value_that_is_ignored_says_so():
    cap = limits(AUTOTUNE_CPUS="abc")["cap of the job or container"]
    assert cap.value is None
    assert "abc, which is not a whole number of at least 1 and is ignored" in cap.source


@pytest.fixture
def nproc(monkeypatch):
    for name in ("AUTOTUNE_CPUS", "AUTOTUNE_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(program, ["nproc", *words])


def test_nproc_prints_the_number_that_programs_get(nproc, monkeypatch):
    assert nproc().stdout == f"{usable_cpus()[0]}\n"
    assert autotune.usable_cpus() == usable_cpus()[0]
    monkeypatch.setenv("AUTOTUNE_CPUS", "1")
    assert nproc().stdout == "1\n"
    assert nproc("--all").stdout == f"{online_cpus()}\n"


def test_nproc_ignores_as_many_as_nproc_does_and_leaves_one(nproc):
    assert nproc("--ignore", "9999").stdout == "1\n"


def test_nproc_names_each_limit_before_the_number(nproc, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_CPUS", "1")
    *reasons, number = nproc("--why").stdout.splitlines()
    assert number == "1"
    assert any("AUTOTUNE_CPUS=1" in line for line in reasons)


def test_nproc_for_programs_names_its_schema(nproc):
    said = json.loads(nproc("--json").stdout)
    assert said["schema"] == "autotune.nproc/1"
    assert said["cpus"] >= 1
    assert {"name", "value", "source", "limit"} == said["limits"][0].keys()
