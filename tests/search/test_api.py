"""Arguments that autotune.calibrate() refuses before it measures or writes anything."""

import numpy as np
import pytest

from autotune.errors import BadBudget, BadSize, UsageError
from autotune.search import api


def work(n):
    return n


@pytest.fixture(autouse=True)
def unreached(monkeypatch):
    def measure(*_, **__):
        raise AssertionError("it was measured")

    monkeypatch.setattr(api, "calibrate_machine", measure)


@pytest.mark.parametrize("value", ["abc", None, 0, [100, -1], [1.5], True, 2**60])
def test_what_is_no_size_is_refused(value):
    """A profile with such a size could not be read any more."""
    with pytest.raises(BadSize):
        api.calibrate(work, sizes={"n": value})


@pytest.mark.parametrize("budget", [0, -1.0, float("nan"), float("inf")])
def test_what_is_no_budget_is_refused(budget):
    with pytest.raises(BadBudget):
        api.calibrate(work, sizes={"n": 10}, budget_seconds=budget)


def test_an_unknown_effort_is_refused():
    with pytest.raises(UsageError, match="quick, normal, thorough"):
        api.calibrate(work, sizes={"n": 10}, effort="huge")


@pytest.mark.parametrize("values", [np.array([10, 20]), range(10, 30, 10), (10, np.int64(20)), {10: 0, 20: 0}])
def test_sizes_come_from_anything_that_can_be_counted_through(values):
    assert api.all_sizes({"n": values}) == ({"n": 10}, {"n": 20})
