"""Programs are told about settings that are ignored."""

import logging
from dataclasses import replace

import pytest
from support.profile_builders import make_entry, of_this_machine

import autotune
from autotune.profiles import folders, profile_files


def test_a_cap_that_is_no_number_is_warned_of(monkeypatch, caplog):
    monkeypatch.setenv("AUTOTUNE_CPUS", "abc")
    with caplog.at_level(logging.WARNING, "autotune"), autotune.apply():
        pass
    assert "AUTOTUNE_CPUS='abc'" in caplog.text


@pytest.mark.parametrize("again", [False, True])
def test_an_upgrade_of_numpy_is_warned_of_once_until_the_machine_was_calibrated_again(fresh, caplog, again):
    made = of_this_machine(make_entry("qr", choice={"blas_threads": 1}, m=8, n=8))
    old = replace(made, key=replace(made.key, software=replace(made.key.software, numpy="1.0")))
    profile_files.write(old, folders.user_profiles() / "old.yaml")
    if again:
        profile_files.write(made, folders.user_profiles() / "new.yaml")
    with caplog.at_level(logging.WARNING, "autotune"):
        for _ in range(2):
            with autotune.apply():
                pass
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(",")[0] for text in said] == ([] if again else ["1 profile of this host is for NumPy 1.0"])
