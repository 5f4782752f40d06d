"""A thread that is held to some CPUs for a while."""

import os

import pytest
from support.programs import printed

from autotune.controls.placement import hold_to
from autotune.errors import UnsupportedPlatform

can_be_held = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot do it")


@can_be_held
@pytest.mark.real
def test_what_is_started_within_runs_on_these_cpus_and_afterwards_all_are_back():
    before = os.sched_getaffinity(0)
    with hold_to({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
        code = "import os; print(sorted(os.sched_getaffinity(0)))"
        assert printed(code).strip() == f"[{min(before)}]"
    assert os.sched_getaffinity(0) == before


@can_be_held
def test_an_exception_within_puts_them_back_too():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), hold_to({min(before)}):
        raise KeyError
    assert os.sched_getaffinity(0) == before


@can_be_held
def test_cpus_that_are_not_there_are_refused_with_a_sentence():
    with pytest.raises(UnsupportedPlatform, match="may not be held to the CPUs 1000"), hold_to({1000}):
        pass


def test_where_the_system_cannot_do_it_the_option_is_named(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(UnsupportedPlatform, match="leave --cpus out"), hold_to({0}):
        pass


def test_no_cpus_named_change_nothing(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with hold_to(None):
        pass
