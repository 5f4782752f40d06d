"""`autotune show`."""

import importlib
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.shown_profiles import DEFAULTS_ONLY, EMPTY, USUAL

from autotune.cli import messages
from autotune.cli.program import program
from autotune.profiles import profile_files

SHOW = importlib.import_module("autotune.cli.show")


@pytest.fixture
def shown(tmp_path):
    """Writes a profile and shows it."""

    def show(profile, *options, columns="100"):
        path = tmp_path / "some.yaml"
        profile_files.write(profile, path)
        return CliRunner().invoke(program, ["show", str(path), *options], env={"COLUMNS": columns})

    return show


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("profile", [USUAL, EMPTY, DEFAULTS_ONLY])
def test_any_profile_is_shown_at_any_width(shown, profile, columns):
    result = shown(profile, columns=columns)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "usable CPU" in result.stdout


def test_json_is_the_document_with_its_path(shown, tmp_path):
    said = json.loads(shown(USUAL, "--json").stdout)
    assert (said["path"], said["schema"], list(said["operations"])) == (
        str(tmp_path / "some.yaml"),
        1,
        ["fill", "svd"],
    )


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path):
    assert CliRunner().invoke(program, ["show", str(tmp_path / "none.yaml")]).exit_code == 2


def test_a_folder_is_wrong_usage(tmp_path):
    assert CliRunner().invoke(program, ["show", str(tmp_path)]).exit_code == 2


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"a: *b", b"\xff\xfe", b"schema: 2\n", b"- 1\n", b"{" * 10_000]
)
def test_a_file_that_is_no_profile_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    result = CliRunner().invoke(program, ["show", str(path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"autotune: {path}: ")


def test_where_nothing_applies_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(SHOW, "applying", lambda: None)
    result = CliRunner().invoke(program, ["show"])
    assert (result.exit_code, result.stderr) == (1, f"{messages.NO_PROFILE}\n")


def test_the_profile_that_applies_here_is_shown_without_naming_it(shown, tmp_path, monkeypatch):
    shown(USUAL)
    monkeypatch.setattr(SHOW, "applying", lambda: tmp_path / "some.yaml")
    assert CliRunner().invoke(program, ["show"]).stdout.startswith(f"Profile {tmp_path}")


@pytest.mark.real
def test_the_profile_that_the_user_names_applies_if_it_fits_this_machine(tmp_path, monkeypatch):
    import numpy as np  # noqa: F401 - its BLAS is part of the key

    from autotune.host.usable_cpus import usable_cpus
    from autotune.profiles.resolve import here

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "here.yaml"))
    profile_files.write(replace(USUAL, key=here(*usable_cpus()).key), tmp_path / "here.yaml")
    assert SHOW.applying() == tmp_path / "here.yaml"
