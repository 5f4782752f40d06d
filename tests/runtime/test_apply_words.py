"""Programs are told about settings that are ignored."""

import logging

import autotune


def test_a_cap_that_is_no_number_is_warned_of(monkeypatch, caplog):
    monkeypatch.setenv("AUTOTUNE_CPUS", "abc")
    with caplog.at_level(logging.WARNING, "autotune"), autotune.apply():
        pass
    assert "AUTOTUNE_CPUS='abc'" in caplog.text
