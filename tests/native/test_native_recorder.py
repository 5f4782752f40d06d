"""Counts and times of the recorder, in processes of their own: a recording ends with its process."""

import os
from pathlib import Path

import pytest
from support.native import needs_core
from support.programs import printed

from autotune.recording.ledger import read_ledger

pytestmark = [needs_core, pytest.mark.real]


def recorded(tmp_path, code):
    """Return the rows that a program leaves, by name; `np` and `CORE` are there, and np.add is recorded."""
    begin = f"""
import numpy as np
from support.native import CORE
CORE.record({str(tmp_path / "a.ledger")!r})
assert CORE.record_function(np.add, "add", "u")
"""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    printed(begin + code, environ={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    return {row.name: row for row in read_ledger(tmp_path / "a.ledger").rows}


@pytest.mark.unsanitized  # the address sanitizer takes a stack that is moved for an error
def test_calls_that_greenlets_interleave_are_counted_and_not_timed(tmp_path):
    """Within a call NumPy calls Python, where another greenlet may go on, whose time is not this call's."""
    pytest.importorskip("greenlet")
    rows = recorded(
        tmp_path,
        """
import time
from greenlet import getcurrent, greenlet
class Yielding(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        getcurrent().parent.switch()
        return "sum"
def deep(levels):  # so that a greenlet moves the stack that another one has
    return deep(levels - 1) if levels else np.add(np.ones(3).view(Yielding), 1)
def alone():
    return np.add(np.ones(3), 1)
waiting = [greenlet(deep) for _ in range(3)]
for level, one in enumerate(waiting):
    one.switch(level)
alone()  # begins and ends within the others, so its time is its own
time.sleep(0.05)
assert [waiting[i].switch() for i in (1, 0)] == ["sum"] * 2
alone()
assert waiting[2].switch() == "sum"
alone()
""",
    )
    assert (rows["add"].calls, rows["add"].timed) == (6, 3)
    assert rows["add"].seconds < 0.05


@pytest.mark.parametrize(
    ("operands", "loop"),
    [
        ("np.ones((300, 300)), np.ones((300, 300))", None),
        ("np.ones((300, 300)), 2.0", None),
        ("np.ones((300, 300)).T, np.ones((300, 300)).T", None),
        ("np.ones(90_000)[::2], np.ones(45_000)", None),
        ("np.ones((4, 50_000))[:, 5:], 2.0", 49_995),
        ("np.ones((302, 302))[1:-1, 1:-1], np.ones((300, 300))", 300),
        ("np.ones((20_000, 1)), np.ones((20_000, 32))", 32),
        ("np.ones((50, 1, 1)), np.ones((50, 20, 30))", 600),
        ("np.ones((300, 300)), np.ones((300, 300)).T", 300),
        ("np.ones((40, 40)), np.ones((1, 40))", None),  # small
    ],
)
def test_the_length_of_inner_loops_is_told_where_it_is_shorter_than_large_operands(tmp_path, operands, loop):
    row = recorded(tmp_path, f"for _ in range(3):\n    np.add({operands})")["add"]
    assert row.calls == 3
    assert row.sizes[1] == (-1 if loop is None else loop.bit_length() - 1)
