"""Calls in several inner loops, shared by the C core, give what plain NumPy gives: values, memory order, errors."""

import contextlib
import gc
import subprocess
import sys
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loop_results import agree, cut_by, operand, replace_loop, same, signed_nans
from support.native import CORE, loops_cut, needs_core

from autotune.intercept.array_loops import CLASSES, ArrayLoops, ufunc_of
from autotune.intercept.operations import Layout, Range

pytestmark = needs_core


@pytest.fixture
def only_rows():
    """The core with plans for calls in rows only."""
    CORE.configure(4)
    cutting = ArrayLoops(CORE)
    assert cutting.install() is None
    for dtype in ("float64", "float32"):
        cutting.plan("arithmetic", dtype, Layout.ROWS, [Range(2000, 500, 4)])
    yield cutting
    cutting.remove()


x = operand("d", 6000, 1).reshape(60, 100)
x[np.isnan(x)] = np.nan  # sums and products of NaNs that differ are left to NumPy
cube = x.reshape(10, 20, 30)


@pytest.mark.parametrize(
    "call",
    [
        lambda: x - x[0],
        lambda: x - x[:, :1],
        lambda: x[:, 0][:, None] * x[0],
        lambda: x[1:-1, 2:] + x[1:-1, :-2],
        lambda: x[1:-1, 1:-1] * 0.25,
        lambda: 2 / x[1:-1, 1:-1],
        lambda: np.float64(3) - x[1:-1, 1:-1],
        lambda: np.sqrt(x[::-1, 1:]),
        lambda: x > x[:, :1],
        lambda: x < x.mean(0),
        lambda: cube * cube[:, :1],
        lambda: cube.transpose(2, 0, 1)[:-1] + 1,
        lambda: np.subtract(x, x[0], out=np.empty((60, 100))),
        lambda: np.add(x, x[0], out=np.empty((60, 200))[:, 50:150]),
        lambda: np.add(x[:, 1:], 1.0, out=x[:, 1:]),
        lambda: np.multiply(x[::-1, 1:], -1.0, out=x[::-1, 1:]),
        lambda: np.subtract(x.T, x.T[:, :1], np.empty((100, 60), order="F")),
    ],
)
def test_rows_are_shared(call, only_rows):
    with np.errstate(all="ignore"):
        assert cut_by(call) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: x[:10] - x[0],  # fewer elements than were measured
        lambda: x[:, :1] - x[0, :1],  # one loop
        lambda: x + x,
        lambda: x.T + x.T,
        lambda: x[:, 1:] + np.float32(1.0) * np.ones(99, "f"),  # casts
        lambda: np.add(x, x[0], where=x > 0, out=np.empty((60, 100))),
        lambda: np.add(x, x[0], dtype="D"),
        lambda: np.add(x, x[0], out=np.lib.stride_tricks.as_strided(np.empty(7000), (60, 100), (8, 8))),
        lambda: np.divmod(x, x[0]),
        lambda: x.reshape(2000, 3) - x[0, :3],  # NumPy gathers short rows, and is as fast as two threads
        lambda: np.sqrt(x[:, ::-1]),
        lambda: x + np.asfortranarray(x),  # NumPy's loops of gaps may choose another of two NaNs
        lambda: np.maximum(x, x[0]),  # ... and of two zeros
        lambda: (x > 0)[:, 1:] >= 100,
        lambda: np.clip(x[:, 1:], -0.5, 0.5),
        lambda: x[:, 1:].astype("i4") + 2**40,  # an error of NumPy's
        lambda: x.view(type("Sub", (np.ndarray,), {})) + x[0],
    ],
)
def test_other_calls_are_numpys_own(call, only_rows):
    def run():
        with np.errstate(all="ignore"):
            try:
                call()
            except OverflowError:
                return

    assert cut_by(run) == 0


@pytest.fixture(params=[None, "legacy"] if hasattr(np, "_set_promotion_state") else [None])
def promotion(request):
    """State of promotion: NumPy 2.0 and 2.1 can be told to go by the values of numbers."""
    if request.param is None:
        yield
        return
    before = np._get_promotion_state()
    np._set_promotion_state(request.param)
    yield
    np._set_promotion_state(before)


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("dtype", ["?", "b", "B", "l", "f", "d"])
@pytest.mark.parametrize("number", [2, -1, 0, 200, 2**31, 2**63, 0.5, True, np.int8(1), np.float32(3)])
def test_numbers_are_promoted_as_ever(dtype, number):
    part = operand(dtype, 6000, 2).reshape(60, 100)[:, 1:]
    # NumPy 2.0 crashes by itself where it compares with an integer out of range
    compares = not np.__version__.startswith("2.0.")
    for ufunc in (np.add, np.multiply, np.maximum, *([np.less] if compares else [])):
        agree(lambda ufunc=ufunc: ufunc(part, number))
        agree(lambda ufunc=ufunc: ufunc(number, part))


@pytest.mark.parametrize("code", ["f", "d", "F", "D"])
@pytest.mark.parametrize("columns", [16, 19, 70, 131])
def test_of_two_nans_the_result_is_the_one_that_numpy_chooses(code, columns):
    part = signed_nans(code, 60 * (columns + 1), 1).reshape(60, columns + 1)[:, 1:]
    row = signed_nans(code, columns, 2)
    for ufunc in (np.add, np.multiply, np.subtract):
        for other in (row, part[::-1], part[:, :1], row[:1].reshape(())):

            def in_place(ufunc=ufunc, other=other):
                place = np.hstack([part, part])[:, :columns]
                return ufunc(place, other, out=place)

            agree(lambda ufunc=ufunc, other=other: ufunc(part, other))
            agree(in_place)
    agree(lambda: np.square(part))


def test_rows_without_two_nans_are_shared_in_place_too(only_rows):
    part = np.ones((60, 101))[:, 1:]
    part[3, 3] = -np.nan
    assert cut_by(lambda: np.multiply(part, 0.5, out=part)) == 1
    assert cut_by(lambda: np.add(part, np.ones((60, 101))[:, 1:], out=part)) == 1
    assert cut_by(lambda: part + part[:1]) == 1
    assert cut_by(lambda: part + part[3]) == 1
    assert cut_by(lambda: part + np.copysign(part[3], 1.0)) == 0
    assert cut_by(lambda: np.add(part, np.copysign(part, 1.0), out=part)) == 0


def test_metadata_of_a_dtype_are_those_that_numpy_gives(only_rows):
    marked = x.astype(np.dtype("d", metadata={"unit": "m"}))
    with np.errstate(all="ignore"):
        assert (marked - marked[0]).dtype.metadata == (marked[:1] - marked[0]).dtype.metadata


def test_arrays_too_large_for_any_memory_are_refused_as_ever(only_rows):
    with pytest.raises(ValueError, match=r"array is too big|broadcast dimensions too large|too large"):
        np.broadcast_to(1.0, (2**40, 1)) + np.broadcast_to(1.0, (1, 2**23 + 1))


def test_an_array_that_is_given_is_no_memory_of_the_call_that_stands_for_the_rows(only_rows):
    """Another thread may take the loops off meanwhile, so that NumPy's own loop writes there."""
    out, divisor, sums = np.empty((60, 100)), np.ones(100), []
    divisor[0] = 0
    with np.errstate(all="call", call=lambda *_: sums.append(np.add(out, 1, out=out).copy())):
        np.divide(np.ones((60, 1)), divisor, out=out)
    assert np.array_equal(sums[0][:, 1:], np.full((60, 99), 2.0))


def test_the_call_of_another_extension_is_given_no_operands_that_stand_for_others():
    code = """
import ctypes, sys
import numpy as np
call = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
offset = ctypes.c_ssize_t.from_address(id(np.ufunc) + 56).value  # tp_vectorcall_offset
place = ctypes.c_void_p.from_address(id(np.add) + offset)
numpys, theirs_calls = call(place.value), []
@call
def theirs(*args):
    theirs_calls.append(1)
    return numpys(*args)
place.value = ctypes.cast(theirs, ctypes.c_void_p).value
from support.native import CORE, loops_cut
x = np.ones((60, 100))
with loops_cut():
    before = CORE.status()["cut"]
    x - x[0]
    assert CORE.status()["cut"] == before + 1
    x + x[0]
    assert len(theirs_calls) == 1
assert place.value == ctypes.cast(theirs, ctypes.c_void_p).value
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def views(seed):
    """Return a function that draws parts of an array, as programs cut them."""
    generator = np.random.default_rng(seed)

    def draw(shape, code):
        room = operand(code, int(np.prod([n * 2 + 2 for n in shape])), seed).reshape([n * 2 + 2 for n in shape])
        cuts = []
        for n in shape:
            begin, step = int(generator.integers(0, 3)), int(generator.choice([1, 1, 1, 2, -1]))
            cuts.append(
                slice(begin, begin + n) if step == 1 else slice(n * 2 + 1, None, -1) if step < 0 else slice(0, 2 * n, 2)
            )
        part = room[tuple(cuts)][tuple(slice(0, n) for n in shape)]
        match generator.integers(0, 5):
            case 0:
                return np.ascontiguousarray(part)
            case 1:
                return np.asfortranarray(part)
            case 2:
                return np.broadcast_to(part[:1], part.shape)
            case _:
                return part

    return draw, generator


UFUNCS = [
    ufunc
    for members in CLASSES.values()
    for name in members.ufuncs.split()
    if (ufunc := ufunc_of(name)) is not None and ufunc.nout == 1
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(UFUNCS),
    st.sampled_from("?bilqBHfdFD"),
    st.lists(st.integers(1, 24), min_size=2, max_size=4),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["new", "C", "F", "in place", "of a part", "backwards", "overlapping", "number", "keyword"]),
    st.integers(1, 900),
    st.sampled_from(["ignore", "warn", "raise"]),
)
def test_any_shape_order_and_output_gives_the_plain_result(ufunc, code, shape, seed, how, chunk, errors):
    def call():
        draw, generator = views(seed)
        operands = []
        for _ in range(ufunc.nin):
            own = [1 if generator.random() < 0.25 else n for n in shape]
            operands.append(draw(own[int(generator.integers(0, 2)) :] if operands else own, code))
        if how == "number" and ufunc.nin > 1:
            operands[-1] = [2, 0.5, np.float32(2), True, 100][int(generator.integers(0, 5))]
        place = np.broadcast_shapes(*(np.shape(value) for value in operands))
        plain = np.dtype(np.result_type(*operands)) if ufunc.types[-3][-1] != "?" else np.dtype(bool)
        outputs = {
            "C": lambda: [np.zeros(place, plain)],
            "F": lambda: [np.zeros(place, plain, order="F")],
            "in place": lambda: operands[:1] if operands[0].flags.writeable else [],
            "of a part": lambda: [np.zeros([2 * n for n in place], plain)[tuple(slice(0, n) for n in place)]],
            "backwards": lambda: [
                np.zeros([3 * n for n in place], plain)[tuple(slice(3 * n, None, -3) for n in place)]
            ],
            "overlapping": lambda: [operands[0][::-1]] if operands[0].flags.writeable else [],
        }.get(how, list)()
        with np.errstate(all=errors):
            keywords = {"out": np.zeros(place, plain)} if how == "keyword" else {}
            result = ufunc(*operands, *outputs, **keywords)
        return result, np.array(result.strides), np.array(result.dtype.str), np.array(operands[0])

    agree(call, elements=100, chunk=chunk)


def test_floating_point_errors_are_told_as_ever(only_rows):
    flaws = []
    with np.errstate(all="call", call=lambda *flaw: flaws.append(flaw)):
        assert cut_by(lambda: np.divide(x[:, 1:], 0)) == 1
    assert {text for text, _ in flaws} <= {"divide by zero", "invalid value"}
    assert flaws
    with np.errstate(divide="raise", invalid="ignore"), pytest.raises(FloatingPointError, match=r"\bdivide$"):
        np.divide(x[:, 1:], 0)
    with pytest.warns(RuntimeWarning, match=r"\bsqrt$"):
        np.sqrt(-np.abs(x[:, 1:]) - 1)


def test_a_call_that_no_second_thread_takes_part_in_warns_once():
    whole = x.view("l")

    def messages():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            np.maximum(whole, whole[0], np.empty_like(whole))
        return [str(warning.message) for warning in caught]

    plain = messages()
    with loops_cut():
        CORE.configure(1)
        assert messages() == plain


class Overriding(np.float64):
    """A number that sees the calls it is an operand of."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return "mine"


def test_numbers_that_override_ufuncs_are_asked_as_ever(only_rows):
    assert np.add(x[:, 1:], Overriding(1)) == "mine"
    assert np.add(x[:, 1:], np.float64(1)).shape == (60, 99)


def test_wrong_arguments_are_refused_as_ever(only_rows):
    for call in (
        lambda: np.add(x, x[0], np.empty((60, 100)), np.empty((60, 100))),
        lambda: np.add(x, x[0], out=np.empty((60, 99))),
        lambda: np.add(x, x[:7]),
        lambda: np.add(x, x[0], np.broadcast_to(np.empty(100), (60, 100))),
        lambda: np.add(x[:, 1:], "1"),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()


def test_a_given_array_is_held_no_longer_than_the_call(only_rows):
    out = np.empty((60, 100))
    for shape in ((60, 100), (1, 60, 100)):  # shared, and refused by NumPy's iterator
        with contextlib.suppress(ValueError):
            np.add(np.broadcast_to(x, shape), x[0], out=out)
    assert sys.getrefcount(out) == 2


def test_a_handler_of_errors_that_calls_numpy_in_rows_gets_its_own_result(only_rows):
    ones, results = np.ones((60, 100)), []
    plain = ones - ones[0]
    with np.errstate(all="call", call=lambda *_: results.append(ones - ones[0])):
        np.divide(ones[:, 1:], 0)
    assert results
    assert all(same(result, plain) for result in results)


def test_ufuncs_that_the_collection_of_garbage_calls_within_a_call_get_their_own_results(only_rows):
    """A collection may begin wherever NumPy makes a tuple, and run destructors and callbacks."""
    ones, long, seen = np.ones((60, 100)), np.ones(8000), []

    def collect(phase, _information):
        if phase == "stop":
            seen.append(np.add(long, 1.0, long.copy())[-1] + np.add(ones[:, 1:], 2.0)[-1, -1])

    for kind in ("arithmetic", "functions"):
        only_rows.plan(kind, "float64", Layout.BROADCAST, [Range(2000, 500, 4)])
    thresholds = gc.get_threshold()
    gc.callbacks.append(collect)
    gc.set_threshold(1)
    try:
        results = [np.add(ones[:, 1:], 5.0, ones[:, 1:].copy())[0, 0] for _ in range(300)]
        for _ in range(300):
            ones[:, 1:] += 0.0
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collect)
    assert set(results) == {6.0}
    assert set(seen) <= {5.0}
    assert same(ones, np.ones((60, 100)))


def test_a_part_is_cut_between_rows_and_long_rows_in_pieces(only_rows):
    wide = operand("d", 40_000, 5).reshape(2, 20_000)
    plain = wide - wide[:, :1]
    only_rows.plan("arithmetic", "float64", Layout.ROWS, [Range(2000, 100, 4)])
    result = []
    assert cut_by(lambda: result.append(wide - wide[:, :1])) == 1
    assert same(result[0], plain)


def test_the_loop_of_another_extension_gets_the_operands_as_they_are():
    """And none that stand for them, which the core hands to NumPy in a call of its own."""
    import ctypes

    inner, seen = [], []
    loop = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_ssize_t), ctypes.POINTER(ctypes.c_ssize_t), ctypes.c_void_p
    )

    @loop
    def theirs(args, dimensions, steps, data):
        seen.append(steps[0])
        loop(inner[0])(args, dimensions, steps, data)

    plain = np.cbrt(x[:, 1:])
    with loops_cut():
        assert same(np.cbrt(x[:, 1:]), plain)
        inner.append(replace_loop(np.cbrt, ctypes.cast(theirs, ctypes.c_void_p).value, "dd"))
        assert same(np.cbrt(x[:, 1:]), plain)
        assert seen
        assert 0 not in seen
        replace_loop(np.cbrt, inner[0], "dd")


def test_results_and_operands_are_freed(only_rows):
    big = np.ones((100, 100))
    for _ in range(3):
        big - big[0]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(50):
            big - big[0]
            np.subtract(big[:, 1:], 0.5)
            with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
                np.divide(big[:, 1:], 0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2 * big.nbytes


def test_threads_share_rows_at_once_and_while_loops_are_taken_off():
    """And none meets an error of the operands that stand for others."""
    ones, faults = np.ones((60, 100)), []
    plain = ones / (2 * ones[0])
    stop = threading.Event()

    def work():
        with np.errstate(all="raise"):
            while not stop.is_set():
                try:
                    if not same(ones / (2 * ones[0]), plain):
                        faults.append("a result differs")
                except FloatingPointError as error:
                    faults.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(400):
        with loops_cut():
            ones - ones[0]
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
