"""`autotune forget`."""

import errno
import json
import os

import numpy as np  # its BLAS is part of the key of a profile
import pytest
from click.testing import CliRunner
from support.profile_builders import alone, make_entry, of_this_machine

from autotune.cli.program import program
from autotune.profiles import folders, profile_files

assert np

QR = [make_entry("qr", choice={"blas_threads": 1}, m=n, n=n) for n in (100, 300)]
LOG = make_entry("log", n=1000)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The user's own profile of this machine."""
    alone(monkeypatch, tmp_path)
    path = folders.user_profiles() / "here.yaml"
    profile_files.write(of_this_machine(*QR, LOG), path)
    return path


def forget(*words):
    return CliRunner().invoke(program, ["forget", *map(str, words)])


def test_an_entry_of_a_shipped_profile_stays_and_is_said_to_be_one(own, tmp_path, monkeypatch):
    shipped = tmp_path / "class.yaml"
    profile_files.write(of_this_machine(make_entry("svd", m=5, n=5)), shipped)
    monkeypatch.setattr("autotune.profiles.folders.shipped_profiles", lambda: str(tmp_path))
    before = shipped.read_bytes()

    result = forget("svd", "n=5")

    assert (result.exit_code, shipped.read_bytes()) == (1, before)
    assert "shipped with autotune" in result.stderr
    assert "autotune calibrate svd n=5" in result.stderr
    assert "No entry of the profile is about svd n=5" in forget(own, "svd", "n=5").stderr


def entries(path):
    return {str(entry.operation) for entry in profile_files.read(path).entries}


def test_the_entries_of_one_size_are_removed_and_the_others_stay(own):
    result = forget("qr", "n=300")

    assert result.exit_code == 0
    assert "qr" in result.stdout
    assert str(own) in result.stderr
    assert entries(own) == {str(QR[0].operation), str(LOG.operation)}


def test_without_sizes_all_entries_of_an_operation_are_removed(own):
    assert forget("qr").exit_code == 0
    assert entries(own) == {str(LOG.operation)}


def test_a_profile_without_entries_can_be_read(own):
    assert forget("qr", "log").exit_code == 0
    assert entries(own) == set()


def test_entries_of_a_named_file_are_removed(own, tmp_path):
    other = tmp_path / "other.yaml"
    profile_files.write(of_this_machine(*QR, LOG), other)
    before = own.read_bytes()

    assert forget(other, "log").exit_code == 0

    assert entries(other) == {str(entry.operation) for entry in QR}
    assert own.read_bytes() == before


def test_what_was_removed_is_json_with_its_schema(own):
    said = json.loads(forget("qr", "n=300", "--json").stdout)
    assert said["schema"] == "autotune.forget/1"
    assert [len(profile["removed"]) for profile in said["profiles"]] == [1]


@pytest.mark.parametrize(
    ("words", "status"), [(("svd",), 1), (("qr", "n=7"), 1), (("dot",), 1), (("sdv",), 2), (("no_such_operation",), 2)]
)
def test_nothing_is_written_where_no_entry_matches(own, words, status):
    before = own.stat().st_mtime_ns, own.read_bytes()

    result = forget(*words)

    assert result.exit_code == status
    assert words[0] in result.stderr
    assert ("Did you mean svd" in result.stderr) == (words == ("sdv",))
    assert (own.stat().st_mtime_ns, own.read_bytes()) == before


@pytest.mark.parametrize(("words", "status"), [((), 2), (("n=3",), 2), (("qr", "n=x"), 2), (("nothing.yaml", "qr"), 1)])
def test_bad_words_are_refused_before_anything_is_removed(own, words, status):
    before = own.read_bytes()
    assert forget(*words).exit_code == status
    assert own.read_bytes() == before


def test_a_function_of_the_users_that_has_other_sizes_is_no_unknown_operation(own):
    profile_files.write(of_this_machine(make_entry("step", rows=5)), own)
    assert [forget("step", "rows=6").exit_code, forget(own, "step", "rows=6").exit_code] == [1, 1]
    assert "Did you mean step" in forget("steps").stderr


def test_a_full_disk_leaves_the_profile_as_it_was_and_is_told_with_the_file(own, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = own.read_bytes()
    monkeypatch.setattr(os, "fsync", refuse)
    result = forget("qr")
    assert (result.exit_code, own.read_bytes()) == (3, before)
    assert str(own) in result.output.replace("\n", "")
    assert "only its output is lost" not in result.output


def test_a_command_is_suggested_by_the_name_of_its_entry(own):
    command = make_entry("command.simulate", choice={"blas_threads": 1})
    profile_files.write(of_this_machine(*QR, command), own)
    assert "Did you mean command.simulate" in forget("simulate").stderr
