"""Rows of runtime: what the runtime adds to a call that is too short to gain, in microseconds.

Interception is timed on matrices of 4 x 4, with a profile made for it: its cost does not depend on what the
count is, only on whether it changes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from autotune.host.usable_cpus import usable_cpus
from benchmarks.paired_runs import NotHere, Pair, Program

SIDE = 4
SIZES = (10, 100, 1000)

NOWHERE = {"AUTOTUNE_STATE_DIR": os.devnull}
"""Environment in which the processes' counts are not left for a daemon."""


def small(length: int, *, given: bool) -> Callable[[bool], Pair]:
    """Call sqrt that makes its result, or add that is given it."""

    def make(_quick: bool) -> Pair:
        import autotune

        x, y, out = np.ones((3, length))
        if given:
            return Pair(plain=lambda: np.add(x, y, out=out), tuned=lambda: autotune.map_blocks(np.add, x, y, out=out))
        return Pair(plain=lambda: np.sqrt(x), tuned=lambda: autotune.map_blocks(np.sqrt, x))

    return make


def switched(name: str, *, changes: bool) -> Callable[[bool], Pair]:
    """Compare an intercepted call against the same call left alone."""

    def make(_quick: bool) -> Pair:
        call = _call(name)
        operation = {"dot": "matmul", "scipy": "cholesky"}.get(name, name)
        around = _applied(operation, changes=changes)
        _check(around, call, changes=changes)
        return Pair(plain=call, tuned=call, around_tuned=around)

    return make


def guarded(_quick: bool) -> Pair:
    """Compare switched calls with the guard against switched calls without. They are too short to be a control."""
    call = _call("cholesky")
    around_plain, around_tuned = (_applied("cholesky", changes=True, **{wish: True}) for wish in ("per_call", "guard"))
    _check(around_tuned, call, changes=True)
    return Pair(plain=call, tuned=call, around_plain=around_plain, around_tuned=around_tuned)


def guarded_long(quick: bool) -> Pair:
    """Compare QR of 2 ms, for which one thread is best nearly everywhere: one in a hundred is a control."""
    side, calls = (64, 5) if quick else (320, 300)
    matrix = np.random.default_rng(0).standard_normal((side, side))

    def loop() -> object:
        return [np.linalg.qr(matrix) for _ in range(calls)][-1]

    around_plain, around_tuned = (
        _applied("qr", changes=True, side=side, **{wish: True}) for wish in ("per_call", "guard")
    )
    return Pair(plain=loop, tuned=loop, around_plain=around_plain, around_tuned=around_tuned)


def recorded_question(_quick: bool) -> Pair:
    import autotune
    from autotune.runtime.process_state import state

    @contextmanager
    def unrecorded() -> Iterator[None]:
        with _applied("cholesky", changes=False)():
            demand, state.demand = state.demand, None  # else what was begun to be counted, goes on
            yield
            state.demand = demand

    def call() -> object:
        return autotune.config("svd", n=37)

    around_tuned = _applied("cholesky", changes=False, record=True)
    return Pair(plain=call, tuned=call, around_plain=unrecorded, around_tuned=around_tuned)


def recorded_call(operation: str) -> Callable[[bool], Pair]:
    def make(_quick: bool) -> Pair:
        call = _call(operation)
        around = _applied("qr", changes=False, record=True)
        _check(around, call, changes=False)
        return Pair(plain=call, tuned=call, around_tuned=around)

    return make


def _call(name: str) -> Callable[[], object]:
    matrix, vector = np.eye(SIDE), np.ones(SIDE)
    if name == "scipy":
        try:
            from scipy import linalg
        except ImportError:
            raise NotHere("scipy is not installed") from None
        return lambda: linalg.cholesky(matrix)
    calls: dict[str, Callable[[], object]] = {
        "matmul": lambda: matrix @ matrix,
        "dot": lambda: np.dot(matrix, matrix),
        "cholesky": lambda: np.linalg.cholesky(matrix),
        "solve": lambda: np.linalg.solve(matrix, vector),
    }
    return calls[name]


Around = Callable[[], AbstractContextManager[object]]


def _applied(operation: str, *, changes: bool, side: int = SIDE, **wishes: Any) -> Around:
    """Apply a profile in which one thread is best for this operation, or nothing was."""
    import autotune

    return partial(autotune.apply, profile=_profile(operation, side, changes=changes), strict=True, **wishes)


def _check(around: Around, call: Callable[[], object], *, changes: bool) -> None:
    """Raise NotHere with its reason where an interception was refused: a row must not time it."""
    from autotune.runtime.process_state import state

    with around():
        call()
        if state.setting.blas_threads is not None:
            raise NotHere("the count at rest is the tuned one, so that nothing would change")
        if state.per_call is None or state.per_call.counts() != (1, int(changes)):
            why = "" if state.per_call is None else f": {state.per_call.why}"
            raise NotHere(f"calls are not met as they should be{why}")


def _profile(operation: str, side: int, *, changes: bool) -> Path:
    from autotune.model import catalogue
    from autotune.model.configuration import DEFAULT, Configuration
    from autotune.model.entry import Entry, Evidence, Status
    from autotune.model.profile import Profile, Provenance
    from autotune.profiles import profile_files
    from autotune.profiles.resolve import this_site

    cpus, limit = usable_cpus()
    if cpus == 1:
        raise NotHere("with one CPU there is no other count")

    def make_entry(name: str, *, tuned: bool) -> Entry:
        return Entry(
            operation=catalogue.operation(name, n=side),
            status=Status.TUNED if tuned else Status.DEFAULT_KEPT,
            reason="Made for a benchmark of what calls cost.",
            choice=Configuration(blas_threads=1) if tuned else DEFAULT,
            evidence=Evidence(speedup=2.0 if tuned else None, default_threads=cpus, safe_threads=(cpus,)),
        )

    # eig keeps the count at rest; without a choice of another operation no call would be intercepted
    others = (make_entry("eig", tuned=False), make_entry("svd", tuned=True))
    entries = (make_entry(operation, tuned=changes), *others)
    site = this_site(cpus, limit)
    path = Path(_folder().name, f"{operation}-{side}-{changes}.yaml")
    profile_files.write(Profile(key=site.key, provenance=Provenance(host=site.host), entries=entries), path)
    return path


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


PROGRAMS = {
    **{
        f"small_sqrt_{length}": Program(
            title=f"map_blocks(np.sqrt, x) of {length}, over the plain call",
            make=small(length, given=False),
            short=True,
        )
        for length in SIZES
    },
    **{
        f"small_add_{length}": Program(
            title=f"map_blocks(np.add, x, y, out=z) of {length}, over the plain call",
            make=small(length, given=True),
            short=True,
        )
        for length in SIZES
    },
    **{
        f"switch_{call}_{name}": Program(
            title=f"per-call switching, {words}, the count {outcome}", make=switched(call, changes=changes), short=True
        )
        for call, words in (
            ("cholesky", "np.linalg.cholesky"),
            ("solve", "np.linalg.solve"),
            ("matmul", "@"),
            ("dot", "np.dot"),
            ("scipy", "scipy.linalg.cholesky"),
        )
        for name, outcome, changes in (("same", "stays", False), ("change", "changes", True))
    },
    "guard_call": Program(title="the guard, over per-call switching", make=guarded, short=True),
    "guard_long": Program(
        title="300 QR of 320 x 320, per-call switching over the same with the guard", make=guarded_long
    ),
    "record_question": Program(
        title="recording, of a question that config() answers with None",
        make=recorded_question,
        tuned_environment=NOWHERE,
        short=True,
    ),
    **{
        f"record_{name}": Program(
            title=f"recording, of a call of np.linalg.{name}",
            make=recorded_call(name),
            tuned_environment=NOWHERE,
            short=True,
        )
        for name in ("cholesky", "solve")
    },
}
