"""Folders of profiles."""

import os
import sys
from pathlib import Path

import pytest

from autotune.profiles import folders
from autotune.profiles.folders import Layer

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG folders are Linux's")


def test_the_named_file_goes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "a.yaml"))
    assert folders.places()[0] == (Layer.NAMED, str(tmp_path / "a.yaml"))
    assert folders.places(tmp_path / "b.yaml")[0] == (Layer.NAMED, str(tmp_path / "b.yaml"))
    assert list(dict.fromkeys(layer for layer, _ in folders.places())) == list(Layer)


@pytest.mark.skipif(os.name != "posix", reason="a current folder cannot be deleted here")
def test_a_relative_name_in_a_folder_that_was_deleted_names_a_file_that_is_not_there(monkeypatch, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert folders.places("x.yaml")[0] == (Layer.NAMED, "x.yaml")


def test_without_a_name_the_users_folder_goes_first(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_PROFILE", "")
    assert Layer.NAMED not in [layer for layer, _ in folders.places()]
    assert folders.places()[0][0] is Layer.USER


def test_the_users_mirror_goes_before_the_nodes(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
    mirrors = [place for layer, place in folders.places() if layer is Layer.CLUSTER]
    assert mirrors[0] == str(folders.cluster_profiles()) == str(tmp_path / "cluster")
    assert mirrors[1:] == ["/var/lib/autotune/cluster"] * sys.platform.startswith("linux")


def test_a_mirror_that_is_the_nodes_too_is_looked_at_once(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", "/var/lib/autotune")
    assert [layer for layer, _ in folders.places()].count(Layer.CLUSTER) == 1


def test_the_state_folder_can_be_set(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
    assert folders.state_dir() == tmp_path


@on_linux
def test_a_relative_xdg_variable_is_ignored(monkeypatch, tmp_path):
    """The specification says so; and nothing is read from the current folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folders.user_profiles() == tmp_path / ".config" / "autotune" / "profiles"


@on_linux
def test_without_a_home_no_folder_is_relative(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "relative")
    assert folders.cache_dir() == "/nonexistent/autotune"


def test_no_folder_is_written_with_a_step_up():
    assert [path for _, path in folders.places() if ".." in Path(path).parts] == []


def test_the_shipped_profiles_are_there():
    layer, place = folders.places()[-1]
    assert layer is Layer.SHIPPED
    assert Path(place).is_dir()
