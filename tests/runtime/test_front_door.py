"""The public names: few, lazy, documented."""

import pytest
from support.programs import printed

import autotune


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'tune'"):
        _ = autotune.tune


def test_every_public_name_is_listed_and_documented():
    for name in dir(autotune):
        assert getattr(autotune, name).__doc__, name


def test_a_mark_changes_nothing_about_a_function():
    def work(n):
        return n

    assert autotune.workload(work) is work
    assert work.__autotune_workload__ == "work"
    assert autotune.workload(name="other")(work).__autotune_workload__ == "other"
    assert work(3) == 3


@pytest.mark.real
def test_importing_autotune_loads_nothing_but_itself():
    code = "import sys; before = set(sys.modules); import autotune; print(*sorted(set(sys.modules) - before))"
    assert printed(code).split() == ["autotune"]
