"""`autotune explain`."""

import json
from dataclasses import replace

import numpy as np  # its BLAS is part of the key of a profile
import pytest
from click.testing import CliRunner
from support.profile_builders import alone
from support.shown_profiles import FILL, SVD

from autotune.cli.program import program
from autotune.host.usable_cpus import usable_cpus
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.profiles import profile_files
from autotune.profiles.resolve import this_site

assert np


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """This machine with folders of its own and one profile, of which all entries fit."""
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "named.yaml"))
    own = replace(FILL, operation=Operation(name="step", sizes=(("rows", 1000),)))
    profile_files.write(Profile(key=this_site(*usable_cpus()).key, entries=(SVD, FILL, own)), tmp_path / "named.yaml")
    return tmp_path


def said(*words):
    return CliRunner().invoke(program, ["explain", *words])


def test_every_entry_is_explained_with_its_source(machine):
    result = said()
    assert (result.exit_code, result.stderr) == (0, "")
    said_once = " ".join(result.stdout.split())
    for text in ("svd m=500 n=500", "fill (1)", str(machine / "named.yaml")):
        assert text in said_once


def test_a_name_asks_for_the_reasons(machine):
    assert SVD.reason in " ".join(said("svd").stdout.split())


def test_sizes_ask_for_one_entry(machine):
    operations = json.loads(said("svd", "n=500", "--json").stdout)["operations"]
    assert [(row["operation"], row["choice"]) for row in operations] == [
        ("svd float64 m=500 n=500", {"blas_threads": 1})
    ]


def test_sizes_of_a_function_of_the_users_are_named(machine):
    operations = json.loads(said("step", "rows=1000", "--json").stdout)["operations"]
    assert [row["reason"] for row in operations] == [FILL.reason]


def test_a_profile_that_is_refused_is_said_with_the_reason(machine):
    (machine / "named.yaml").write_text("schema: 99\n")
    result = said()
    assert "Not used" in result.stdout
    assert "newer autotune" in result.stdout
    assert "autotune calibrate" in result.stderr


@pytest.mark.parametrize("words", [["svdd"], ["svd", "k=5"], ["n=5"], ["svd", "n=0"], ["svd", "qr"]])
def test_what_cannot_be_asked_is_wrong_usage(machine, words):
    assert said(*words).exit_code == 2


def test_hostile_text_of_a_profile_cannot_act_on_the_terminal(machine):
    path = machine / "named.yaml"
    path.write_text(path.read_text("utf-8").replace(SVD.reason, "\\x1b[2J"), "utf-8")
    assert "\x1b" not in said("svd").output


def test_a_size_that_is_not_covered_names_the_command_that_measures_it(machine):
    result = said("svd", "n=600")
    assert "Measured: svd float64 m=500 n=500. `autotune calibrate svd n=600` measures" in result.stderr


@pytest.mark.parametrize("words", [("svd", "n=1000000"), ("log", "n=1e12", "--dtype", "float32")])
def test_a_size_that_no_memory_holds_is_said_to_be_one_and_no_command_is_named(machine, words):
    result = said(*words)
    assert (result.exit_code, "TiB" in result.stderr) == (0, True)
    assert "autotune calibrate" not in result.stderr


def test_a_dtype_that_is_not_covered_names_the_command_that_measures_it(machine):
    assert (
        "`autotune calibrate svd n=500 --dtype float32` measures" in said("svd", "n=500", "--dtype", "float32").stderr
    )


@pytest.mark.parametrize("words", [(), ("svd",), ("svd", "n=600"), ("choleski",)])
def test_where_everything_is_switched_off_that_is_all_that_is_said(machine, monkeypatch, words):
    monkeypatch.setenv("AUTOTUNE_DISABLE", "1")
    result = said(*words)
    assert (result.exit_code, "AUTOTUNE_DISABLE" in result.stdout, result.stderr) == (0, True, "")


def test_a_misspelt_name_is_told_with_its_neighbours_alone(machine):
    result = said("sdv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean svd" in result.stderr


def test_a_misspelt_function_of_the_users_is_told_with_its_name(machine):
    assert "Did you mean step" in said("steps").stderr


def test_a_name_that_may_be_of_a_refused_profile_has_neighbours_too(machine):
    (machine / "named.yaml").write_text("schema: 99\n")
    result = said("sdv")
    assert (result.exit_code, "Did you mean svd" in result.stderr, "not used" in result.stderr) == (1, True, True)


def test_a_name_that_nothing_has_is_wrong_usage_although_a_shipped_profile_is_refused(machine):
    assert said("choleski").exit_code == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("log", "`autotune explain loop_exp`"),
        ("tanh", "`autotune explain loop_exp`"),
        ("multiply", "`autotune explain loop_add`"),
        ("mean", "`autotune explain loop_max`"),
        ("mean", "need `autotune run --reductions`"),
        ("slogdet", "`autotune explain det`"),
        ("pinv", "`autotune explain svd`"),
        ("eigvalsh", "that of eigh, the nearest operation"),
    ],
)
@pytest.mark.parametrize("sizes", [(), ("n=500",)])
def test_a_function_that_another_operation_serves_is_told_which(machine, name, hint, sizes):
    result = said(name, *sizes)
    assert (result.exit_code, hint in " ".join(result.stdout.split())) == (0, True)


def test_a_function_of_the_users_of_the_same_name_is_its_own(machine):
    own = replace(FILL, operation=Operation(name="tanh", sizes=(("n", 1000),)))
    profile_files.write(Profile(key=this_site(*usable_cpus()).key, entries=(own,)), machine / "named.yaml")
    assert "loop_exp" not in said("tanh").stdout


def test_a_tuned_command_is_found_by_the_name_of_its_script(machine):
    command = replace(SVD, operation=Operation(name="command.simulate"))
    profile_files.write(Profile(key=this_site(*usable_cpus()).key, entries=(command,)), machine / "named.yaml")
    operations = json.loads(said("simulate", "--json").stdout)["operations"]
    assert [row["choice"] for row in operations] == [{"blas_threads": 1}]
