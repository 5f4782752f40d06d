"""Counts and times of the recorder, in processes of their own: a recording ends with its process."""

import os
from pathlib import Path

import pytest
from support.native import WHOLE, needs_core
from support.programs import printed

from autotune.recording.ledger import read_ledger

pytestmark = [needs_core, pytest.mark.real]


def recorded(tmp_path, code, *, all_rows=False):
    """Return the rows that a program leaves, by name; `np` and `CORE` are there, and np.add is recorded."""
    begin = f"""
import numpy as np
from support.native import CORE
CORE.record({str(tmp_path / "a.ledger")!r})
assert CORE.record_function(np.add, "add", "u")
assert CORE.record_function(np.ufunc.reduce, "reduce", "r")
assert CORE.record_function(np.ufunc.accumulate, "accumulate", "r")
from autotune.intercept.array_loops import ArrayLoops
ArrayLoops(CORE).install()
CORE.record_loops(4096)
"""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    printed(begin + code, environ={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    rows = read_ledger(tmp_path / "a.ledger").rows
    return rows if all_rows else {row.name: row for row in rows}


def test_a_call_with_too_few_operands_is_numpys_error(tmp_path):
    rows = recorded(
        tmp_path,
        """
x = np.ones((100, 100))
for arguments in ({}, {"out": x}):
    try:
        np.add(x[:, 1:], **arguments)
    except TypeError:
        continue
    raise AssertionError
""",
    )
    assert rows["add"].calls == 2


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


ROWS = 3
SHORT = "none, or no longer than NumPy's buffer"
LOOPS = {  # loops of a call: class, layout, whether they round, number of them, elements of each
    "np.add(np.ones((300, 300)), np.ones((300, 300)))": (3, 1, False, 1, 90_000),
    "np.add(np.ones((300, 300)), 2.0)": (3, 2, False, 1, 90_000),
    "np.add(np.ones((300, 300)).T, np.ones((300, 300)).T)": (3, 1, False, 1, 90_000),
    "np.add(np.ones(90_000)[::2], np.ones(45_000))": (3, 0, False, 1, 45_000),
    "np.add(np.ones((4, 50_000))[:, 5:], 2.0)": (3, ROWS, False, 1, 199_980),
    "np.add(np.ones((302, 302))[1:-1, 1:-1], np.ones((300, 300)))": (3, ROWS, False, 1, 90_000),
    "np.add(np.ones((20_000, 1)), np.ones((20_000, 32)))": (3, ROWS, False, 1, 640_000),
    "np.add(np.ones((20_000, 1)), np.ones((20_000, 32), 'f4'))": SHORT,
    "np.add(np.ones((200, 300)), np.ones(300), where=np.ones((200, 300), '?'), out=np.ones((200, 300)))": SHORT,
    "np.add(np.ones((40, 40)), np.ones((1, 40)))": SHORT,
    "np.add(np.ones(90_000, 'i1'), np.ones(90_000, 'i1'))": (0, 1, False, 1, 90_000),
    "np.add(np.ones(90_000), np.ones(90_000, 'f4'))": SHORT,  # converted in pieces
    "np.add.accumulate(np.ones(90_000))": SHORT,
    "np.add.reduce(np.ones((3, 200_000)), axis=0)": (3, 1, False, 3, 200_000),
    "np.add.reduce(np.ones((3, 200_000)), axis=1)": (15, 1, True, 3, 200_000),
    "np.add.reduce(np.ones((3, 200_000), 'i8'), axis=None)": (15, 1, False, 1, 600_000),
    "np.add.reduce(np.ones((20_000, 32)), axis=1)": SHORT,
    "np.add.reduce(np.ones(90_000))": SHORT,  # shorter than two blocks
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each call is recorded in a forked process of its own")
def test_the_inner_loops_of_a_call_are_those_that_the_core_could_cut(tmp_path):
    code = f"""
import os
for number, call in enumerate({list(LOOPS)!r}):
    if os.fork() == 0:
        for _ in range(3 + number):
            eval(call)
        os._exit(0)
    os.wait()
"""
    recorded(tmp_path, code)
    ledgers = [read_ledger(path) for path in tmp_path.glob("*-*.ledger")]
    rows = {sum(row.calls for row in ledger.rows): ledger.rows for ledger in ledgers}
    for number, (call, expected) in enumerate(LOOPS.items()):
        (row,) = rows[3 + number]
        own = row.rows or row.loops
        if expected is SHORT or ("reduce" in call and not WHOLE):
            assert own is None or own.elements <= 8192, call
        else:
            assert (own.class_number, own.layout, own.rounds, own.number, own.elements) == expected, call


@pytest.mark.skipif(not WHOLE, reason="this NumPy reduces in pieces")
def test_calls_of_one_size_with_other_loops_are_told_apart(tmp_path):
    rows = recorded(
        tmp_path,
        """
array = np.ones((3, 200_000))
for _ in range(4):
    np.add.reduce(array, axis=0)
    np.add.reduce(array, axis=1)
    np.add.reduce(array.reshape(-1, 3), axis=1)
""",
        all_rows=True,
    )
    calls = [(row.calls, row.loops and row.loops.class_number) for row in rows if row.name == "add.reduce"]
    assert sorted(calls, key=str) == [(4, 15), (4, 3), (4, None)]


def test_loops_that_begin_within_a_tenth_of_a_second_after_blas_are_told_apart(tmp_path):
    add = "for _ in range(3):\n    np.add(x, x)\n"
    code = "import time\nassert CORE.record_function(vars(np.ndarray)['dot'], 'dot', 'g')\nx = np.ones(90_000)\n"
    rows = recorded(tmp_path, f"{code}{add}x.dot(x)\n{add}time.sleep(0.02)\n{add}time.sleep(0.2)\n{add}")
    short, medium, default = rows["add"].loops.after_blas
    assert short <= medium < default < 1


def test_what_operands_are_broadcast_to_is_the_size_of_a_call(tmp_path):
    row = recorded(tmp_path, "for _ in range(3):\n    np.add(np.ones((2000, 1)), np.ones((1, 3000)))")["add"]
    assert row.elements == 3 * 6_000_000
