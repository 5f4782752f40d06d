"""The C core in an unchanged program: long loops of ufuncs, small ones, and loops next to BLAS.

Loops are planned by a profile made for this benchmark: from 100,000 elements on, every usable CPU, 65,536 elements a
slice. Both sides make the same call of NumPy; `apply()` is around the tuned one. Single calls are measured by
`runtime_calls` (switch_*), QR and products in a loop by `runtime_tasks` (loop_*).

    scripts/benchmarks/run native --runs 8 --patience 600 --json
"""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from autotune.controls.wait_policy import DEFAULT_EXPONENT, VARIABLE, variables
from autotune.host.usable_cpus import usable_cpus
from benchmarks.paired_runs import After, Call, NotHere, Pair, Program, main

LARGE, SMALL = 10_000_000, 200_000
"""Elements; with --quick."""

FIRST, SLICE = 100_000, 65_536
"""Elements from which loops are cut, and of a slice."""

WAIT = 20
"""Exponent of the cycles after which idle BLAS threads sleep: half a millisecond."""
SHORT_SPIN: Mapping[str, str] = variables(WAIT)
AFTER_BLAS: Mapping[str, int] = {"functions": 1_000_000, "arithmetic": 4_000_000}
"""Loops that are cut right after a call of BLAS, with such a time-out."""


def numbers(count: int, rows: int = 1) -> Any:
    """Return rows of numbers from 0.5 to 1.5."""
    values = np.random.default_rng(0).random((rows, count)) + 0.5
    return values[0] if rows == 1 else values


def applied(**wishes: Any) -> Callable[[], Any]:
    """Return what applies the profile of this benchmark. Raises NotHere if loops would not be cut by it."""
    import autotune
    from autotune.native import core

    native = core()
    if isinstance(native, str):
        raise NotHere(native)
    if usable_cpus()[0] < 2:
        raise NotHere("with one CPU no loop is cut")
    return partial(autotune.apply, profile=_profile(), strict=True, **wishes)


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


@cache
def _profile() -> Path:
    from autotune.intercept.array_loops import CLASSES, MEASURED_LAYOUTS, REDUCING
    from autotune.model import catalogue
    from autotune.model.configuration import Configuration
    from autotune.model.entry import Entry, Evidence, Status
    from autotune.model.profile import Profile, Provenance
    from autotune.profiles import profile_files
    from autotune.profiles.resolve import this_site

    cpus, limit = usable_cpus()
    names = [name for group in (*CLASSES.values(), REDUCING) for name in (group.cheapest, group.dearest)]
    names += MEASURED_LAYOUTS.values()
    entries = [
        Entry(
            operation=catalogue.operation(name, dtype=dtype, n=FIRST),
            status=Status.TUNED,
            reason="Made for a benchmark of what the C core does.",
            choice=Configuration(workers=cpus, chunk=SLICE),
            evidence=Evidence(speedup=2.0),
        )
        for name in names
        for dtype in ("float64", "float32")
    ]
    site = this_site(cpus, limit)
    path = Path(_folder().name, "loops.yaml")
    profile = Profile(
        key=site.key,
        provenance=Provenance(host=site.host),
        entries=tuple(entries),
        blas_wait=WAIT,
        loops_after_blas=AFTER_BLAS,
    )
    profile_files.write(profile, path)
    return path


def same(make_call: Callable[[int], Call], **wishes: Any) -> Callable[[bool], Pair]:
    """Compare a call with the same call under apply()."""

    def make(quick: bool) -> Pair:
        around = applied(**wishes)
        call = make_call(SMALL if quick else LARGE)
        return Pair(plain=call, tuned=call, around_tuned=around)

    return make


def into(function: np.ufunc) -> Callable[[int], Call]:
    """Call a ufunc with `out=`."""

    def make(n: int) -> Call:
        arrays, out = [numbers(n) for _ in range(function.nin)], np.empty(n)
        return lambda: function(*arrays, out=out)

    return make


class UfuncHead(ctypes.Structure):
    """The beginning of NumPy's PyUFuncObject, as its C interface has it."""

    _fields_ = (
        ("object", ctypes.c_char * object.__basicsize__),
        ("operands", ctypes.c_int * 4),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
    )


@cache
def _equal_parts() -> ctypes.CDLL:
    """Compile what works on equal parts in threads that spin."""
    library = Path(_folder().name, "equal_parts.so")
    source = Path(__file__).with_name("equal_parts.c")
    command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-pthread", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def in_equal_parts(function: np.ufunc, *arrays: Any, out: Any) -> Call:
    """Return a call of NumPy's own loop on equal parts of float64 arrays, in one pinned thread for each CPU."""
    head, operands = UfuncHead.from_address(id(function)), (*arrays, out)
    number = function.types.index("d" * function.nin + "->d")
    loop = ctypes.c_void_p(head.functions[number])
    data = ctypes.c_void_p(head.data[number] if head.data else None)
    args = (ctypes.c_void_p * len(operands))(*(array.ctypes.data for array in operands))
    steps = (ctypes.c_ssize_t * len(operands))(*(array.itemsize for array in operands))
    run, size = _equal_parts().parts_run, ctypes.c_ssize_t(out.size)
    return lambda: run(loop, data, args, steps, len(operands), size)


@contextmanager
def pinned() -> Iterator[None]:
    """Start the threads of `in_equal_parts`, and end them."""
    before = os.sched_getaffinity(0)
    cpus = (ctypes.c_int * len(before))(*sorted(before))
    _equal_parts().parts_start(cpus, len(before))
    try:
        yield
    finally:
        _equal_parts().parts_stop()
        os.sched_setaffinity(0, before)


def by_hand(function: np.ufunc) -> Callable[[bool], Pair]:
    """Compare a call under apply() with NumPy's loop on equal parts: what this machine gives at best."""

    def make(quick: bool) -> Pair:
        around = applied()
        n = SMALL if quick else LARGE
        arrays, out = [numbers(n) for _ in range(function.nin)], np.empty(n)
        return Pair(
            plain=in_equal_parts(function, *arrays, out=out),
            tuned=lambda: function(*arrays, out=out),
            around_plain=pinned,
            around_tuned=around,
        )

    return make


def bound_of_log(quick: bool) -> Pair:
    """Compare a logarithm that makes its result with equal parts into memory that is there: what can be gained."""
    n = SMALL if quick else LARGE
    x, out = numbers(n), np.empty(n)
    return Pair(plain=partial(np.log, x), tuned=in_equal_parts(np.log, x, out=out), around_tuned=pinned)


def bound_of_expression(quick: bool) -> Pair:
    """Do the same for sqrt(x*y + z), one ufunc after the other, as NumPy computes it."""
    n = SMALL if quick else LARGE
    x, y, z = numbers(n, 3)
    product, root = np.empty(n), np.empty(n)
    steps = (
        in_equal_parts(np.multiply, x, y, out=product),
        in_equal_parts(np.add, product, z, out=product),
        in_equal_parts(np.sqrt, product, out=root),
    )
    return Pair(plain=lambda: np.sqrt(x * y + z), tuned=lambda: [step() for step in steps], around_tuned=pinned)


def small_add(n: int) -> Callable[[bool], Pair]:
    """Measure the added time of a loop that is too short to be cut."""

    def make(_quick: bool) -> Pair:
        around = applied()
        call = into(np.add)(n)
        return Pair(plain=call, tuned=call, around_tuned=around)

    return make


def square_add(_quick: bool) -> Pair:
    """Measure the added time of a small call with two axes, which is looked at twice."""
    around = applied()
    a, b, out = np.ones((3, 30, 30))
    return Pair(plain=partial(np.add, a, b, out), tuned=partial(np.add, a, b, out), around_tuned=around)


def matrix(n: int, columns: int = 1000) -> Any:
    """Return about n numbers in rows."""
    return numbers(n // columns * columns).reshape(-1, columns)


def centred(n: int) -> Call:
    """Subtract a vector from each row of a matrix."""
    x = matrix(n)
    mean, out = x.mean(axis=0), np.empty_like(x)
    return lambda: np.subtract(x, mean, out=out)


def distances(n: int) -> Call:
    """Subtract all pairs of two vectors."""
    a, b = numbers(int(n**0.5), 2)
    return lambda: a[:, None] - b


def stencil(n: int) -> Call:
    """Compute one step of the heat equation on the inner part of a grid."""
    u = matrix(n, int(n**0.5))
    return lambda: u[1:-1, 1:-1] + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])


def after_product(n: int) -> Call:
    """Make a logarithm right after a product, whose threads may still spin."""
    del n
    a, x, out = numbers(512, 512), numbers(1_000_000), np.empty(1_000_000)
    return After(before=lambda: a @ a, call=lambda: np.log(x, out=out))


def alone(function: np.ufunc) -> Callable[[int], Call]:
    """Make a call of as few elements as are planned, a millisecond after the last one: the pool's threads sleep."""

    def pause() -> None:
        end = time.perf_counter() + 1e-3
        while time.perf_counter() < end:
            pass

    return lambda _n: After(before=pause, call=into(function)(FIRST))


# --- programs of other projects, as they are ---------------------------------------------------


def foreign(module: str, name: str, *more: Any, rows: int = 1) -> Callable[[int], Call]:
    """Call a function of another project that is written in NumPy, on a large array."""

    def make(n: int) -> Call:
        from importlib import import_module

        try:
            function = getattr(import_module(module), name)
        except ImportError:
            raise NotHere(f"{module.partition('.')[0]} is not installed") from None
        x = numbers(n // rows, rows)
        return lambda: function(x, *more)

    return make


def normal_density(n: int) -> Call:
    """Evaluate scipy.stats.norm.pdf."""
    try:
        from scipy.stats import norm
    except ImportError:
        raise NotHere("scipy is not installed") from None
    x = numbers(n)
    return lambda: norm.pdf(x)


def logarithmic_error(n: int) -> Call:
    """Evaluate scikit-learn's mean_squared_log_error."""
    try:
        from sklearn.metrics import mean_squared_log_error
    except ImportError:
        raise NotHere("sklearn is not installed") from None
    x, y = numbers(n, 2)
    return lambda: mean_squared_log_error(x, y)


FOREIGN: Mapping[str, tuple[str, Callable[[int], Call]]] = {
    "chirp": ("scipy.signal.chirp", foreign("scipy.signal", "chirp", 1.0, 1.0, 50.0)),
    "gausspulse": ("scipy.signal.gausspulse", foreign("scipy.signal", "gausspulse", 5)),
    "sawtooth": ("scipy.signal.sawtooth", foreign("scipy.signal", "sawtooth")),
    "softmax": ("scipy.special.softmax", foreign("scipy.special", "softmax")),
    "logsumexp": ("scipy.special.logsumexp", foreign("scipy.special", "logsumexp")),
    "zscore": ("scipy.stats.zscore", foreign("scipy.stats", "zscore")),
    "norm_pdf": ("scipy.stats.norm.pdf", normal_density),
    "circmean": ("scipy.stats.circmean", foreign("scipy.stats", "circmean")),
    "rosen": ("scipy.optimize.rosen", foreign("scipy.optimize", "rosen", rows=4)),
    "log_error": ("sklearn.metrics.mean_squared_log_error", logarithmic_error),
}

PROGRAMS = {
    **{
        f"out_{name}": Program(title=f"np.{name}(x, out=y), 10 million", make=same(into(getattr(np, name))))
        for name in ("log", "exp", "sin", "sqrt", "add")
    },
    **{
        f"by_hand_{name}": Program(
            title=f"np.{name}(x, out=y), 10 million, against equal parts in pinned threads that spin",
            make=by_hand(getattr(np, name)),
        )
        for name in ("log", "sin", "sqrt", "add")
    },
    "bound_log": Program(
        title="np.log(x), 10 million, in equal parts by hand into memory that is there", make=bound_of_log
    ),
    "bound_expression": Program(
        title="sqrt(x*y + z), 10 million, in equal parts by hand into memory that is there", make=bound_of_expression
    ),
    "retain_log": Program(
        title='np.log(x), 10 million, allocator="retain"',
        make=same(lambda n: partial(np.log, numbers(n)), allocator="retain"),
    ),
    "retain_expression": Program(
        title='sqrt(x*y + z), 10 million, allocator="retain"',
        make=same(lambda n: partial(lambda x, y, z: np.sqrt(x * y + z), *numbers(n, 3)), allocator="retain"),
    ),
    **{
        f"small_add_{n}": Program(title=f"np.add of {n:,} elements, over plain", make=small_add(n), short=True)
        for n in (10, 1000, 10_000)
    },
    "small_add_square": Program(title="np.add of 30 x 30 elements, over plain", make=square_add, short=True),
    **{
        f"alone_{function.__name__}": Program(
            title=f"np.{function.__name__} of {FIRST:,} elements, each 1 ms after the last", make=same(alone(function))
        )
        for function in (np.add, np.log)
    },
    "rows_centred": Program(title="np.subtract(x, mean, out=y) of 10,000 rows of 1,000", make=same(centred)),
    "rows_distances": Program(title="a[:, None] - b, 10 million", make=same(distances)),
    "rows_stencil": Program(title="a step of the heat equation in 2-D, 10 million", make=same(stencil)),
    "after_product": Program(
        title="log of a million right after a product (512), BLAS threads spinning",
        make=same(after_product),
        tuned_environment={VARIABLE: str(DEFAULT_EXPONENT)},
    ),
    "after_product_short_spin": Program(
        title=f"the same, BLAS threads spinning for 2^{WAIT} cycles on the tuned side",
        make=same(after_product),
        tuned_environment=SHORT_SPIN,
    ),
    **{
        f"foreign_{name}": Program(title=f"{title}, 10 million", make=same(make))
        for name, (title, make) in FOREIGN.items()
    },
}

if __name__ == "__main__":
    sys.exit(main("benchmarks.native", __doc__, PROGRAMS))
