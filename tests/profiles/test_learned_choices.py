"""Choices that programs learned are kept in one file, and calibrations start from them."""

import pytest
from support.profile_builders import alone

from autotune.model.catalogue import operation
from autotune.model.configuration import Configuration
from autotune.profiles import learned_choices
from autotune.search.warm_starts import suggestions, warm_starts

QR = operation("qr", n=128)
ALONE = Configuration(blas_threads=1)


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)


def test_what_a_program_learned_is_what_a_calibration_tries_first():
    learned_choices.add({QR: ALONE}, usable_cpus=8)
    starts = warm_starts(learned_choices.read())
    assert suggestions(starts, QR, 8)[0] == ALONE


def test_the_latest_choice_for_a_size_stays():
    learned_choices.add({QR: ALONE}, usable_cpus=8)
    learned_choices.add({QR: Configuration(blas_threads=2)}, usable_cpus=8)
    (profile,) = learned_choices.read()
    assert [entry.choice.blas_threads for entry in profile.entries] == [2]


def test_more_choices_than_are_kept_push_the_oldest_out():
    sizes = range(1, learned_choices.MOST_CHOICES + 11)
    learned_choices.add({operation("qr", n=n): ALONE for n in sizes}, usable_cpus=8)
    (profile,) = learned_choices.read()
    assert len(profile.entries) == learned_choices.MOST_CHOICES
    assert profile.entries[0].operation.size["n"] == 11


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 1, "choices": []}',
        '{"format": 2, "choices": {}}',
        '{"format": 2, "choices": [1]}',
        '{"format": 2, "choices": [{"operation": {"name": "x"}, "cpus": 1, "choice": {"workers": 2}}]}',
        '{"format": 2, "choices": [{"operation": {"name": "exp", "sizes": {"n": -1}}, "cpus": 1, "choice": {"workers": 2}}]}',
        '{"format": 2, "choices": [{"operation": {"name": "exp", "sizes": {"n": 5}}, "cpus": 1, "choice": {"path": "x"}}]}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_not_valid_suggests_nothing(text):
    path = learned_choices.path()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert learned_choices.read() == []


def test_a_file_that_others_may_write_suggests_nothing():
    learned_choices.add({QR: ALONE}, usable_cpus=8)
    learned_choices.path().chmod(0o666)
    assert learned_choices.read() == []


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    learned_choices.add({QR: ALONE}, usable_cpus=8)
    assert learned_choices.read() == []
