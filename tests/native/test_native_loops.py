"""Loops cut by the C core give what plain NumPy gives, to the bit."""

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loop_results import agree, cut_by, operand, replace_loop, same, signed_nans
from support.native import CORE, WHOLE, loops_cut, needs_core

from autotune.intercept.array_loops import CLASSES, TYPES, ArrayLoops, ufunc_of
from autotune.intercept.operations import Layout, Range
from autotune.parallel import blocks

pytestmark = needs_core


class Loop(NamedTuple):
    """One inner loop that is met: its ufunc, and its types as one string."""

    ufunc: np.ufunc
    types: str


LOOPS = [
    Loop(ufunc, types)
    for members in CLASSES.values()
    for name in members.ufuncs.split()
    if (ufunc := ufunc_of(name))
    for types in dict.fromkeys(given.replace("->", "") for given in ufunc.types)
    if set(types) <= set(TYPES) and not (name in {"power", "float_power"} and types[0] not in "fdFD")
]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: f"{loop.ufunc.__name__}-{loop.types}")
def test_every_loop_gives_the_plain_result_to_the_bit(loop):
    types = loop.types[: loop.ufunc.nin]
    operands = [operand(code, 1000 + 37, seed) for seed, code in enumerate(types)]
    signature = f"{types}->{loop.types[loop.ufunc.nin :]}"
    agree(lambda: loop.ufunc(*operands, signature=signature))


def test_loops_of_all_types_are_met():
    assert {code for loop in LOOPS for code in loop.types} == set(TYPES)
    assert len({loop.ufunc for loop in LOOPS}) > 70


def test_every_loop_is_exchanged_and_put_back():
    loops = ArrayLoops(CORE)
    assert loops.install() is None
    assert CORE.release_loops() == len(LOOPS)
    assert CORE.release_loops() == 0


layouts = st.sampled_from(["contiguous", "every other", "backwards", "one value"])


@settings(max_examples=300)
@given(
    st.sampled_from(LOOPS or [None]),
    st.integers(0, 3000),
    st.lists(layouts, min_size=3, max_size=3),
    st.integers(64, 700),
    st.integers(2, 5),
    st.sampled_from(["", "out", "in place", "where", "swapped", "misaligned"]),
    st.sampled_from(["ignore", "warn", "raise", "call"]),
    st.integers(0, 2**32 - 1),
)
def test_whatever_the_layout_results_and_errors_are_plain(loop, n, layout, chunk, workers, how, errors, seed):
    types = loop.types
    nin = loop.ufunc.nin
    signature = f"{types[:nin]}->{types[nin:]}"
    where = np.random.default_rng(seed).random(n) < 0.7

    def call():
        operands = [
            operand(code, n, seed + i, layout=layout[i], swapped=how == "swapped", misaligned=how == "misaligned")
            for i, code in enumerate(types[:nin])
        ]
        keywords = {}
        if how in {"out", "where"}:
            keywords["out"] = tuple(np.zeros(2 * n, code)[::2] for code in types[nin:])
        if how == "where":
            keywords["where"] = where
        if how == "in place" and types[0] == types[nin] and operands[0].flags.writeable:
            keywords["out"] = (operands[0], *(None for _ in types[nin + 1 :]))
        flaws = []
        with np.errstate(all=errors, call=lambda *flaw: flaws.append(flaw)):
            results = loop.ufunc(*operands, signature=signature, **keywords)
        return (*(results if isinstance(results, tuple) else (results,)), np.array(flaws))

    agree(call, elements=100, chunk=chunk, workers=workers)


BINARY = ["add", "multiply", "maximum", "minimum", "logical_or", "logical_and", "bitwise_xor", "subtract"]


@settings(max_examples=150)
@given(
    st.sampled_from(BINARY),
    st.sampled_from("?bilqBHfdD"),
    st.sampled_from(["reduce", "accumulate", "reduceat", "at", "outer", "axis"]),
    st.integers(1, 3000),
    st.integers(0, 2**32 - 1),
)
def test_methods_of_ufuncs_are_plain_without_reductions(name, code, method, n, seed):
    ufunc = getattr(np, name)
    places = np.sort(np.random.default_rng(seed).integers(0, n, 20))

    def call():
        values = operand(code, n, seed)
        with np.errstate(all="ignore"):
            match method:
                case "reduceat":
                    return ufunc.reduceat(values, places)
                case "at":
                    ufunc.at(values, places, values[0])
                    return values
                case "outer":
                    return ufunc.outer(values, values[:3])
                case "axis":
                    return ufunc.reduce(np.broadcast_to(values, (5, n)).copy(), axis=0)
                case _:
                    return getattr(ufunc, method)(values)

    agree(call, elements=100)


@pytest.mark.parametrize("shift", [-129, -3, -1, 1, 3, 129])
@pytest.mark.parametrize("step", [1, 2, -1])
def test_memory_that_overlaps_is_not_cut_between_elements_that_depend_on_each_other(shift, step):
    def call():
        room = np.arange(4000.0)
        source = room[200:3000:step] if step > 0 else room[3000:200:step]
        start = 200 + shift
        target = room[start : start + 2800 : step] if step > 0 else room[3000 + shift : 200 + shift : step]
        return np.add(source, 1.0, out=target[: source.size])

    agree(call)


cuts = st.tuples(st.integers(0, 500), st.sampled_from([-3, -2, -1, 1, 2, 3]))
"""Beginning and step of an operand in a room that all operands share."""


@settings(max_examples=150)
@given(
    st.sampled_from(["add", "multiply", "maximum", "less", "copysign", "sqrt"]), st.integers(1, 1200), cuts, cuts, cuts
)
def test_operands_that_overlap_in_any_way_give_the_plain_result(name, n, first, second, target):
    ufunc = getattr(np, name)

    def part(room, begin, step):
        reach = room[begin : begin + n * abs(step) : abs(step)]
        return reach if step > 0 else reach[::-1]

    def call():
        room = operand("d", 5000, 7)
        kind = np.dtype(bool) if name == "less" else room.dtype
        out = part(room.view(kind), *target)[:n]
        with np.errstate(all="ignore"):
            ufunc(*[part(room, *operand) for operand in (first, second)][: ufunc.nin], out=out)
        return room

    agree(call, elements=100)


@settings(max_examples=100)
@given(
    st.sampled_from(["add", "exp", "maximum", "greater", "logical_or"]),
    st.sampled_from("?bifdD"),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.permutations([0, 1, 2]),
    st.lists(st.sampled_from([-2, -1, 1, 2]), min_size=3, max_size=3),
    st.sampled_from(["call", "reduce", "accumulate", "broadcast", "where"]),
    st.integers(0, 2),
)
def test_arrays_of_any_shape_order_and_axis_give_the_plain_result(name, code, shape, axes, steps, how, axis):
    ufunc = getattr(np, name)
    order = [axis for axis in axes if axis < len(shape)]
    axis %= len(shape)

    def call():
        whole = operand(code, int(np.prod(shape)), 3).reshape(shape)
        view = whole.transpose(order)[tuple(slice(None, None, step) for step in steps[: len(shape)])]
        with np.errstate(all="ignore"):
            if how in {"reduce", "accumulate"} and ufunc.nin == 2:
                return getattr(ufunc, how)(view, axis=axis)
            other = view[:1] if how == "broadcast" else view
            keywords = {"where": view.real > 0, "out": np.zeros(view.shape, "D")} if how == "where" else {}
            return ufunc(*[view, other][: ufunc.nin], **keywords)

    agree(call, elements=100)


def test_long_loops_are_really_cut():
    x = operand("d", 100_000, 1)
    with np.errstate(all="ignore"):
        assert agree(lambda: np.exp(x))
        assert agree(lambda: np.add(x, x, out=x.copy()))
        assert agree(lambda: x + 1.0)
        assert agree(lambda: x[::2] < x[1::2])


@pytest.fixture
def only_contiguous():
    """The core with plans for contiguous operands only."""
    CORE.configure(4)
    cutting = ArrayLoops(CORE)
    assert cutting.install() is None
    cutting.plan("arithmetic", "float64", Layout.CONTIGUOUS, [Range(128, 64, 4)])
    yield cutting
    CORE.blas_spins(0)
    cutting.remove()


def test_a_layout_that_was_not_measured_is_not_cut(only_contiguous):
    x, out = np.ones((2, 2000))
    assert cut_by(lambda: np.add(x, x, out=out)) == 1
    assert cut_by(lambda: np.add(x, 1.0, out=out)) == 0
    assert cut_by(lambda: np.add(x[::2], x[::2], out=out[:1000])) == 0
    assert cut_by(lambda: np.add(x, x, out=out[::-1])) == 0
    only_contiguous.plan("arithmetic", "float64", Layout.BROADCAST, [Range(128, 64, 4)])
    assert cut_by(lambda: np.add(x, 1.0, out=out)) == 1
    assert cut_by(lambda: np.add(x[::2], x[::2], out=out[:1000])) == 0


@pytest.mark.skipif(not WHOLE, reason="this NumPy reduces in pieces")
def test_a_maximum_of_the_measured_size_is_cut_though_its_loop_begins_with_the_second_element(only_contiguous):
    x = np.ones(200_000)
    only_contiguous.plan("reductions", "float64", Layout.CONTIGUOUS, [Range(200_000, 65_536, 2)])
    assert cut_by(lambda: np.max(x)) == 1
    assert cut_by(lambda: np.max(x[1:])) == 0


def test_while_blas_threads_spin_only_loops_are_cut_that_gain_then(only_contiguous):
    """A call that is met with two threads leaves its time; the switch has a library that does nothing."""
    import ctypes

    get, put = (ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 2), ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_ssize_t)(int))
    switch = CORE.Switch(*(ctypes.cast(function, ctypes.c_void_p).value for function in (get, put)), 4)
    calls = CORE.Calls("matmul", "float64", {}, threads=2)
    x, out = np.ones((2, 2000))
    CORE.blas_spins(30.0)
    try:
        switch.come_back()
        assert cut_by(lambda: np.add(x, x, out=out)) == 1
        switch.begin(calls)
        switch.end()
        assert cut_by(lambda: np.add(x, x, out=out)) == 0
        only_contiguous.after_blas("arithmetic", 2000)
        assert cut_by(lambda: np.add(x, x, out=out)) == 1
        assert cut_by(lambda: np.add(x[:1999], x[:1999], out=out[:1999])) == 0
    finally:
        switch.stop()


def test_subclasses_keep_their_class():
    x = np.ma.masked_array(np.arange(5000.0), mask=np.arange(5000) % 7 == 0)
    plain = np.log(x + 1)
    with loops_cut():
        cut = np.log(x + 1)
    assert same(plain.data, cut.data)
    assert same(plain.mask, cut.mask)


class Tagged(np.ndarray):
    """A subclass with an attribute that its results inherit, and that sees every call."""

    def __array_finalize__(self, source):
        self.tag = getattr(source, "tag", "none")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        plain = [value.view(np.ndarray) if isinstance(value, Tagged) else value for value in inputs]
        result = getattr(ufunc, method)(*plain, **keywords).view(Tagged)
        result.tag = f"{ufunc.__name__} of {self.tag}"
        return result


def test_subclasses_that_override_ufuncs_are_asked_as_ever():
    x = np.linspace(0.5, 1.5, 5000).view(Tagged)
    x.tag = "x"
    with loops_cut() as core:
        before = core.status()["cut"]
        cut = np.exp(x) + x
        assert core.status()["cut"] == before + 2
    plain = np.exp(x) + x
    assert (cut.tag, type(cut)) == (plain.tag, Tagged) == ("add of exp of x", Tagged)
    assert same(cut.view(np.ndarray), plain.view(np.ndarray))


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_another_extension_that_replaces_the_same_loop_keeps_its_own(first):
    """Before and after, in any order of going; ctypes plays the other extension, whose loop calls the one before."""
    import ctypes

    loop = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
    inner, seen = [], []

    @loop
    def theirs(args, dimensions, steps, data):
        seen.append(1)
        loop(inner[0])(args, dimensions, steps, data)

    address = ctypes.cast(theirs, ctypes.c_void_p).value
    x = np.arange(1.0, 5001.0)
    plain = np.cbrt(x)

    def right():
        return same(np.cbrt(x), plain)

    if first == "theirs":
        inner.append(replace_loop(np.cbrt, address, "dd"))
        with loops_cut():
            assert right()  # theirs came first, or while ours was off: it is called in any case
            assert seen
        assert right()
        assert replace_loop(np.cbrt, inner[0], "dd") == address
    else:
        with loops_cut():
            inner.append(replace_loop(np.cbrt, address, "dd"))
            assert right()
            assert len(seen) == 1
        assert right()  # theirs stays, and calls ours, which passes on
        with loops_cut():
            assert right()
        assert replace_loop(np.cbrt, inner[0], "dd") == address
        with loops_cut():
            pass
    assert right()


def test_a_loop_that_another_extension_put_there_before_is_not_met():
    """It may keep a state, or need the GIL: only NumPy's own loops are called by several threads."""
    import ctypes

    loop = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
    theirs = loop(lambda *_: None)
    numpys = replace_loop(np.spacing, ctypes.cast(theirs, ctypes.c_void_p).value, "ee")
    try:
        assert CORE.meet_loops(np.spacing, "e", 0, 0, 0) == 0
    finally:
        replace_loop(np.spacing, numpys, "ee")
    assert CORE.meet_loops(np.spacing, "e", 0, 0, 0) == 1
    assert CORE.release_loops() == 1


def test_arrays_of_a_users_dtype_are_computed_by_its_own_loops():
    """Its ufuncs have the names and numbers of operands of those that are met."""
    rationals = pytest.importorskip("numpy._core._rational_tests")
    x = np.array([rationals.rational(n, 7) for n in range(1000)])

    def call():
        return x + x, x * x, np.maximum(x, x[::-1]), np.add.reduce(x), x < x[::-1]

    plain = [str(result) for result in call()]
    with loops_cut() as core:
        before = core.status()["cut"]
        assert [str(result) for result in call()] == plain
        assert core.status()["cut"] == before


def test_objects_and_users_ufuncs_are_never_met():
    twice = np.frompyfunc(lambda value: 2 * value, 1, 1)
    with loops_cut() as core:
        with pytest.raises(ValueError, match="GIL"):
            core.meet_loops(np.add, "O", 0, 0, 0)
        before = core.status()["cut"]
        assert twice(np.arange(1000))[999] == 2 * 999
        assert np.add(np.arange(1000).astype(object), 1)[999] == 1000
        assert core.status()["cut"] == before


@pytest.mark.parametrize("value", [2**63, -1, 0])
def test_a_plan_beyond_all_bounds_is_refused(value):
    with pytest.raises((ValueError, OverflowError)):
        CORE.plan(0, True, [(value, 1000, 2, 0)])


def test_cpus_and_seconds_beyond_all_bounds_are_no_placement_and_no_crash():
    assert [CORE.place([number]) for number in (-1, 4096, 2**31 - 1, 2**40)] == [0] * 4
    for wrong, error in (("a", TypeError), (2**70, OverflowError)):
        with pytest.raises(error):
            CORE.place([wrong, 0])
    for seconds in (float("inf"), float("-inf"), float("nan"), 0.0):
        CORE.blas_spins(seconds)
        CORE.watch_calls(None, seconds, seconds)


# --- reductions ---------------------------------------------------------------------------------


WHOLE_NUMBERS = "bBhHiIlLqQ"
EXACT = {
    **dict.fromkeys(("add", "multiply", "bitwise_and", "bitwise_or", "bitwise_xor"), WHOLE_NUMBERS),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), f"{WHOLE_NUMBERS}fd"),
    **dict.fromkeys(("logical_or", "logical_and"), "?"),
}
"""Types of which no order changes what a ufunc reduces to."""


@pytest.mark.parametrize(
    "loop",
    [
        loop
        for loop in LOOPS
        if len(loop.types) == 3 and len(set(loop.types)) == 1 and loop.types[0] in EXACT.get(loop.ufunc.__name__, "")
    ],
    ids=lambda loop: f"{loop.ufunc.__name__}-{loop.types}",
)
@pytest.mark.parametrize("layout", ["contiguous", "every other", "backwards"])
def test_reductions_that_no_order_changes_are_plain(loop, layout):
    values = operand(loop.types[0], 300_001, 5, layout=layout)
    plain = loop.ufunc.reduce(values, dtype=values.dtype)
    with loops_cut(chunk=65536) as core, np.errstate(all="ignore"):
        before = core.status()["cut"]
        cut = loop.ufunc.reduce(values, dtype=values.dtype)
        assert core.status()["cut"] > before or loop.types[0] == "?" or not WHOLE
    if np.isnan(plain):
        assert np.isnan(cut)
    else:
        assert plain == cut


@pytest.mark.parametrize("name", ["any", "all"])
@pytest.mark.parametrize("place", [None, 0, 70_000, 299_999])
def test_any_and_all_find_a_single_value_anywhere(name, place):
    values = np.full(300_000, name == "all")
    if place is not None:
        values[place] = name == "any"
    with loops_cut(chunk=65536):
        assert getattr(np, name)(values) == getattr(np, name)(values.tolist())


def test_sums_of_numbers_that_round_are_plain_unless_asked_for():
    values = operand("d", 500_000, 9)
    values = values[np.isfinite(values)]
    plain = values.sum()
    with loops_cut(chunk=65536):
        assert values.sum() == plain
    with loops_cut(chunk=65536, reductions=True) as core:
        before = core.status()["cut"]
        total = values.sum()
        assert core.status()["cut"] > before or not WHOLE
    assert total == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("chunk", [1, 65536, 200_000])
def test_sums_depend_neither_on_workers_nor_on_chunks(workers, chunk):
    values = np.random.default_rng(3).standard_normal(700_001).astype("f")
    with loops_cut(chunk=65536, reductions=True):
        expected = values.sum(), values.mean(), values.std(), values.prod()
    with loops_cut(chunk=chunk, workers=workers, reductions=True):
        assert (values.sum(), values.mean(), values.std(), values.prod()) == expected
    with loops_cut(elements=2**40, reductions=True):  # nothing was measured: one thread, the same blocks
        assert (values.sum(), values.mean(), values.std(), values.prod()) == expected


# --- floating-point state -----------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 5000, 9999])
def test_an_error_in_any_slice_is_raised_in_the_caller(place):
    values = np.ones(10_000)
    values[place] = -1
    with loops_cut(), np.errstate(invalid="raise"), pytest.raises(FloatingPointError, match="invalid"):
        np.sqrt(values)


def test_errors_of_a_cast_that_a_loop_clears_are_none_of_the_call():
    """The loop of tanh clears the processor's flags, those of the cast before it among them."""
    generator = np.random.default_rng(1)
    x = (generator.standard_normal(1204) * 10.0 ** generator.integers(-300, 300, 1204)).reshape(14, 86)

    def flaws():
        met = []
        with np.errstate(all="call", call=lambda *flaw: met.append(flaw)):
            np.tanh(x, dtype="f")
        return met

    plain = flaws()
    with loops_cut():
        assert all(flaws() == plain for _ in range(1000))


@pytest.mark.parametrize("code", ["f", "d", "F", "D"])
@pytest.mark.parametrize("n", [131, 511, 2819])
def test_of_two_nans_the_result_is_the_one_that_numpy_chooses(code, n):
    """Which depends on the position in a vector register, and on whether one is filled."""
    for ufunc in (np.add, np.multiply, np.subtract):
        for other in (signed_nans(code, n, 2), signed_nans(code, 5, 3)[:1], signed_nans(code, 2 * n, 4)[::2]):
            agree(lambda ufunc=ufunc, other=other: ufunc(signed_nans(code, n, 1), other))


def test_rounding_of_the_caller_holds_in_the_workers():
    import ctypes

    libm = ctypes.CDLL(None)
    upward, nearest = 0x800, 0
    values = np.full(200_000, 1.0)
    plain = values / 3.0
    assert libm.fesetround(upward) == 0
    try:
        rounded = values / 3.0
        with loops_cut():
            cut = values / 3.0
    finally:
        libm.fesetround(nearest)
    assert same(rounded, cut)
    assert not same(plain, cut)


# --- threads, processes, signals -----------------------------------------------------------------


def test_threads_that_call_at_once_all_get_the_plain_result():
    x = operand("d", 50_000, 4)
    wrong = []
    with np.errstate(all="ignore"):
        plain = np.exp(x), x * x, x.max()
    seconds = float(os.environ.get("AUTOTUNE_STRESS_SECONDS", "2"))

    def work():
        from time import monotonic

        end = monotonic() + seconds
        with np.errstate(all="ignore"):
            while monotonic() < end:
                if not (same(np.exp(x), plain[0]) and same(x * x, plain[1])):
                    wrong.append("a result differs")

    with loops_cut(elements=1000, chunk=2000):
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_removal_while_calls_are_in_flight_changes_no_result():
    x = operand("d", 200_000, 4)
    with np.errstate(all="ignore"):
        plain = np.sin(x)
    over = threading.Event()
    wrong = []

    def work():
        with np.errstate(all="ignore"):
            while not over.is_set():
                if not same(np.sin(x), plain):
                    wrong.append("a result differs")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        with loops_cut(elements=1000, chunk=2000):
            pass
        CORE.stop(False)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong


PROGRAM = """
import os, sys, signal, resource
import numpy as np
from support.native import loops_cut, CORE
x = np.random.default_rng(0).random(200_000)
plain = np.log(x)
def check():
    assert np.log(x).tobytes() == plain.tobytes()
"""


def run(code, *options, **keywords):
    from pathlib import Path

    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM + code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **keywords,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def isolated():
    return CORE.status()["alone"]["isolated"]


@contextmanager
def woken_from(seconds, *, elements=1000):
    """Cut loops of `elements` or more whose threads are awake, or that take NumPy `seconds`."""
    with loops_cut(elements=elements, chunk=10_000, workers=2):
        CORE.wake_from(seconds)
        try:
            yield
        finally:
            CORE.wake_from(0)


@pytest.mark.parametrize("function", [np.log, *([np.maximum.reduce] if WHOLE else [])])
def test_sleeping_threads_are_woken_only_for_loops_that_take_long(function):
    x = np.random.default_rng(3).random(200_000)
    plain = function(x)
    with woken_from(3600):
        function(x)  # now its pace is known
        for _ in range(3):
            time.sleep(0.01)
            before = isolated()
            assert cut_by(lambda: function(x)) == 0
            assert isolated() == before + 1
        CORE.wake_from(1e-9)
        time.sleep(0.01)
        assert cut_by(lambda: function(x)) == 1
    assert same(function(x), plain)


@pytest.mark.real
def test_rows_too_short_to_wake_threads_for_are_numpys():
    rows, mean = np.random.default_rng(3).random((500, 400)), np.arange(400.0)
    with woken_from(3600):
        for _ in range(4):  # until the paces of the rows and of NumPy's own loops are known
            np.subtract(rows, mean)
            time.sleep(0.01)
        assert cut_by(lambda: np.subtract(rows, mean)) == 0


@pytest.mark.real
def test_threads_are_woken_for_loops_that_follow_each_other():
    """As soon as a series has lasted long enough, and from then on for the first loop of each."""
    x, y = np.random.default_rng(3).random(20_000), np.empty(20_000)
    with woken_from(0.02):  # longer than a call that has lost its CPU
        np.log(x, out=y)
        time.sleep(0.01)
        assert cut_by(lambda: np.log(x, out=y)) == 0
        assert 0 < cut_by(lambda: [np.log(x, out=y) for _ in range(5000)]) < 5000
        for _ in range(20):  # a thread that loses its CPU ends a series
            time.sleep(0.01)
            if cut_by(lambda: np.log(x, out=y)) == 1:
                break
            for _ in range(5000):
                np.log(x, out=y)
        else:
            pytest.fail("No series was expected to be long.")


@pytest.mark.real
def test_a_series_of_rows_goes_on_when_numpys_own_call_has_ended():
    rows, mean, out = np.random.default_rng(3).random((500, 400)), np.arange(400.0), np.empty((500, 400))
    with woken_from(0.002, elements=20_000):  # no loop that NumPy runs itself is as long
        for _ in range(4):
            np.subtract(rows, mean, out=out)
            time.sleep(0.01)
        assert cut_by(lambda: [np.subtract(rows, mean, out=out) for _ in range(500)]) > 0


@pytest.mark.real
@pytest.mark.unsanitized
@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"])
def test_a_forked_child_makes_workers_of_its_own(fork):
    """C's own fork() does not tell Python."""
    printed = run(
        f"""
import ctypes
with loops_cut(elements=1000, chunk=2000):
    check()
    parent = CORE.status()["threads"]
    for _ in range(20):
        child = {fork}()
        if child == 0:
            assert CORE.status()["threads"] == 0
            check()
            assert CORE.status()["threads"] == parent
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        check()
print("well")
"""
    )
    assert printed == "well\n"


@pytest.mark.real
@pytest.mark.unsanitized
def test_a_fork_in_the_middle_of_a_loop_leaves_two_processes_that_finish_it():
    """C's fork() is the signal handler: it comes while the thread that forks computes a slice."""
    printed = run(
        """
import ctypes, time
libc = ctypes.CDLL(None)
x = np.random.default_rng(1).random(4_000_000)
y, expected, parent = np.empty_like(x), np.log(x), os.getpid()
def seconds():
    began = time.perf_counter()
    np.log(x, out=y)
    return time.perf_counter() - began
plain = min(seconds() for _ in range(3))
libc.signal(signal.SIGALRM, ctypes.cast(libc.fork, ctypes.c_void_p))
in_the_middle = 0
with loops_cut(elements=1000, chunk=20_000, workers=2):
    np.log(x, out=y)
    for turn in range(12):
        y.fill(0)
        signal.setitimer(signal.ITIMER_REAL, (0.05 + 0.03 * turn) * plain)
        np.log(x, out=y)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert y.tobytes() == expected.tobytes()
        if os.getpid() != parent:  # the children of later turns' signals, too
            np.log(x, out=y)
            assert y.tobytes() == expected.tobytes()
            assert CORE.status()["threads"] == 1
            os._exit(0)
        try:
            assert os.wait()[1] == 0
            in_the_middle += 1
        except ChildProcessError:
            pass
print(in_the_middle > 1)
"""
    )
    assert printed == "True\n"


@pytest.mark.real
@pytest.mark.unsanitized
def test_a_fork_while_other_threads_compute_leaves_a_child_that_computes():
    printed = run(
        """
import threading
over = threading.Event()
def work():
    while not over.is_set():
        check()
with loops_cut(elements=1000, chunk=2000):
    threads = [threading.Thread(target=work) for _ in range(3)]
    [thread.start() for thread in threads]
    for _ in range(30):
        child = os.fork()
        if child == 0:
            check(); check()
            assert CORE.status()["threads"] > 0
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    over.set()
    [thread.join() for thread in threads]
print("well")
"""
    )
    assert printed == "well\n"


@pytest.mark.real
def test_a_signal_handler_that_raises_leaves_the_pool_as_it_was():
    printed = run(
        """
class Interrupted(Exception): pass
def handler(*_): raise Interrupted
signal.signal(signal.SIGALRM, handler)
y = np.empty_like(x)
with loops_cut(elements=1000, chunk=2000):
    interrupted = 0
    for _ in range(40):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            for _ in range(50):
                np.log(x, out=y)
        except Interrupted:
            interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        check()
print(interrupted > 0)
"""
    )
    assert printed == "True\n"


@pytest.mark.real
@pytest.mark.unsanitized
def test_too_few_processes_for_workers_leave_the_caller_to_do_all():
    printed = run(
        """
os.setgroups([]) if os.getuid() == 0 else None
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
with loops_cut(elements=1000, chunk=2000):
    check()
    print(CORE.status()["threads"], CORE.status()["refusal"] != 0)
"""
    )
    assert printed == "0 True\n"


@pytest.mark.real
@pytest.mark.unsanitized
def test_a_thousand_times_in_force_and_off_leak_nothing():
    printed = run(
        """
import gc
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
def turn(times):
    for _ in range(times):
        with loops_cut(elements=1000, chunk=2000):
            np.log(x[:5000])
turn(200)
gc.collect()
before = resident()
references = sys.getrefcount(np.add)
turn(1000)
gc.collect()
assert sys.getrefcount(np.add) == references
print(resident() - before < 3 * 2**20)
"""
    )
    assert printed == "True\n"


@pytest.mark.real
@pytest.mark.unsanitized
def test_a_sub_interpreter_runs_plainly_and_cannot_load_the_core():
    printed = run(
        """
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
import ctypes
from autotune.intercept.numpy_calls import NumpyCalls
libc, told, product = ctypes.CDLL(None), [], np.ones((2, 2))
def decide(operation, dtype, sizes, **_):
    return CORE.Calls(operation, dtype, sizes, threads=1)
get, put = (ctypes.cast(one, ctypes.c_void_p).value for one in (libc.getpagesize, libc.abs))
switch = CORE.Switch(get, put, 2)
switch.come_back()
calls = NumpyCalls(CORE, decide, switch)
calls.install()
CORE.watch_calls(lambda *call: told.append(call))
product @ product
assert len(told) == 1
with loops_cut(elements=1000, chunk=2000):
    number = interpreters.create()
    problem = interpreters.run_string(number, '''
try:
    import numpy as np
    np.ones((2, 2)) @ np.ones((2, 2))
    x = np.arange(100000.0) + 1
    assert abs(np.log(x).sum() - 1051299.2) < 1
except ImportError:
    pass
try:
    from autotune.native import core
    loaded = core()
except ImportError as error:
    loaded = str(error)
assert isinstance(loaded, str), loaded
''')
    assert problem is None, problem
    interpreters.destroy(number)
    check()
assert len(told) == 1, "the guard was called in another interpreter"
product @ product
assert len(told) == 2
calls.remove()
print("well")
"""
    )
    assert printed == "well\n"


@pytest.mark.real
@pytest.mark.parametrize("how", ["importlib.reload(np)", "[sys.modules.pop(name) for name in numpys]; import numpy"])
def test_numpy_may_be_loaded_again_while_loops_and_calls_are_met(how):
    """NumPy 2 refuses, or gives the same compiled functions again; what it does is what it does without this."""
    printed = run(
        f"""
import importlib, warnings
from support.native import Recording
from autotune.intercept.numpy_calls import NumpyCalls
warnings.simplefilter("ignore")
numpys = [name for name in sys.modules if name.partition(".")[0] == "numpy"]
recording = Recording()
calls = NumpyCalls(CORE, recording.decide, None)
with loops_cut(elements=1000, chunk=2000):
    calls.install()
    try:
        {how}
    except ImportError as error:
        assert "more than once" in str(error), error
    before = CORE.status()["cut"]
    check()
    x[:4].reshape(2, 2) @ x[:4].reshape(2, 2)
    assert CORE.status()["cut"] > before
    assert recording.met[-1] == ("matmul", "float64", 2, 2, 2)  # importing NumPy multiplies, too
    calls.remove()
check()
print("well")
"""
    )
    assert printed == "well\n"


DAEMONS = """
import threading
sys.cutting = loops_cut(elements=1000, chunk=2000)
sys.cutting.__enter__()
def work():
    while True:
        check()
[threading.Thread(target=work, daemon=True).start() for _ in range(4)]
check()
assert CORE.status()["threads"] > 0
"""


@pytest.mark.real
@pytest.mark.unsanitized
@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        "os._exit(0)",
        "import ctypes; ctypes.CDLL(None).exit(0)",
        "os.fork() and os.wait()",
        "os.fork() or check(); sys.exit(0)",
    ],
    ids=["its end", "sys.exit", "os._exit", "exit() of C", "a fork before", "a fork that computes"],
)
def test_a_process_ends_while_daemon_threads_compute(end):
    run(DAEMONS + end)


@pytest.mark.real
def test_the_workers_are_joined_before_the_interpreter_ends():
    printed = run(
        """
import atexit
sys.cutting = loops_cut(elements=1000, chunk=2000)
sys.cutting.__enter__()
check()
assert CORE.status()["threads"] > 0
told = []
def decide(slot, reduces, layout, n):
    told.append(n)
CORE.learn_loops(decide)
for number in range(64):
    CORE.plan(number, 1, [])
    CORE.learn_from(number, 1000)
atexit._run_exitfuncs()  # as the interpreter does, while daemon threads may still compute
check()
assert told == [], "a loop told what it learned at the end of the interpreter"
print(CORE.status()["threads"], CORE.status()["stopped"])
"""
    )
    assert printed == "0 True\n"


@pytest.mark.real
def test_signals_go_to_the_threads_of_the_program():
    printed = run(
        """
from pathlib import Path
with loops_cut(elements=1000, chunk=2000):
    check()
    blocked = []
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("autotune"):
            status = (task / "status").read_text()
            blocked.append(int(status.split("SigBlk:")[1].split()[0], 16))
def bits(*numbers): return sum(1 << number - 1 for number in numbers)
programs = bits(signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
own = bits(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE)  # faulthandler tells where they came from
print(len(blocked) > 0 and all(one & (programs | own) == programs for one in blocked))
"""
    )
    assert printed == "True\n"


def test_loops_in_a_worker_of_map_blocks_are_not_cut():
    x = np.random.default_rng(0).random(100_000)
    with loops_cut() as core:
        before = core.status()["cut"]
        result = blocks.map_blocks(np.sqrt, (x,), None, workers=2, chunk=10_000)
        assert core.status()["cut"] == before
        np.sqrt(x)
        assert core.status()["cut"] > before
    assert same(result, np.sqrt(x))


def test_numpy_and_its_functions_are_what_they_were():
    public = {name: getattr(np, name) for name in dir(np)}
    with loops_cut():
        assert {name: getattr(np, name) for name in dir(np)} == public
        assert np.add.types == public["add"].types
