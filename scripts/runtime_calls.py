"""Rows of bench_runtime: what the runtime adds to a call that is too short to gain, in microseconds.

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
from pairing import NotHere, Pair, Program

from autotune.host.allocation import usable_cpus

SIDE = 4
SIZES = (10, 100, 1000)

NOWHERE = {"AUTOTUNE_STATE_DIR": os.devnull}
"""What the processes count is not left for a daemon."""


def small(length: int, *, given: bool) -> Callable[[bool], Pair]:
    """sqrt that makes its result, or add that is given it."""

    def make(_quick: bool) -> Pair:
        import autotune

        x, y, out = np.ones((3, length))
        if given:
            return Pair(
                plain=lambda: np.add(x, y, out=out), tuned=lambda: autotune.map_blocks(np.add, x, y, out=out)
            )
        return Pair(plain=lambda: np.sqrt(x), tuned=lambda: autotune.map_blocks(np.sqrt, x))

    return make


def switched(operation: str, *, changes: bool) -> Callable[[bool], Pair]:
    """An intercepted call against the same call left alone."""

    def make(_quick: bool) -> Pair:
        call = _call(operation)
        around = _applied(operation, changes=changes, per_call="all")
        _check(around, call, changes=changes)
        return Pair(plain=call, tuned=call, around_tuned=around)

    return make


def guarded(_quick: bool) -> Pair:
    """Switched calls with the guard against switched calls without. They are too short to be a control."""
    call = _call("cholesky")
    around_plain, around_tuned = (
        _applied("cholesky", changes=True, **{wish: True}) for wish in ("per_call", "guard")
    )
    _check(around_tuned, call, changes=True)
    return Pair(plain=call, tuned=call, around_plain=around_plain, around_tuned=around_tuned)


def recorded_question(_quick: bool) -> Pair:
    import autotune
    from autotune.runtime.state import state

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


def recorded_call(_quick: bool) -> Pair:
    call = _call("cholesky")
    around = _applied("qr", changes=False, record=True)
    _check(around, call, changes=False)
    return Pair(plain=call, tuned=call, around_tuned=around)


def _call(operation: str) -> Callable[[], object]:
    matrix = np.eye(SIDE)
    return (lambda: matrix @ matrix) if operation == "matmul" else lambda: np.linalg.cholesky(matrix)


Around = Callable[[], AbstractContextManager[object]]


def _applied(operation: str, *, changes: bool, **wishes: Any) -> Around:
    """Applies a profile in which one thread is best for this operation, or nothing was."""
    import autotune

    return partial(autotune.apply, profile=_profile(operation, changes=changes), strict=True, **wishes)


def _check(around: Around, call: Callable[[], object], *, changes: bool) -> None:
    """A row must not time an interception that was refused. Raises NotHere with its reason."""
    from autotune.runtime.state import state

    with around():
        call()
        if state.per_call is None or state.per_call.counts() != (1, int(changes)):
            why = "" if state.per_call is None else f": {state.per_call.why}"
            raise NotHere(f"calls are not met as they should be{why}")


def _profile(operation: str, *, changes: bool) -> Path:
    from autotune.model import catalogue
    from autotune.model.configuration import DEFAULT, Configuration
    from autotune.model.profile import Profile, Provenance
    from autotune.model.tuning import Status, Tuning
    from autotune.store import files
    from autotune.store.resolve import here

    cpus, limit = usable_cpus()
    if cpus == 1:
        raise NotHere("with one CPU there is no other count")
    tuning = Tuning(
        operation=catalogue.operation(operation, n=SIDE),
        status=Status.TUNED if changes else Status.DEFAULT_KEPT,
        reason="Made for a benchmark of what calls cost.",
        choice=Configuration(blas_threads=1) if changes else DEFAULT,
        ratio=0.5 if changes else None,
        default_threads=cpus,
        safe_threads=(cpus,),
    )
    site = here(cpus, limit)
    path = Path(_folder().name, f"{operation}-{changes}.yaml")
    files.write(Profile(key=site.key, provenance=Provenance(host=site.host), tunings=(tuning,)), path)
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
        f"switch_{operation}_{name}": Program(
            title=f"per-call switching, {operation}, the count {words}",
            make=switched(operation, changes=changes),
            short=True,
        )
        for operation in ("cholesky", "matmul")
        for name, words, changes in (("same", "stays", False), ("change", "changes", True))
    },
    "guard_call": Program(title="the guard, over per-call switching", make=guarded, short=True),
    "record_question": Program(
        title="recording, of a question that config() answers with None",
        make=recorded_question,
        tuned_environment=NOWHERE,
        short=True,
    ),
    "record_call": Program(
        title="recording, of a call of numpy.linalg",
        make=recorded_call,
        tuned_environment=NOWHERE,
        short=True,
    ),
}
