"""What was measured, put into force for the whole process."""

import os
import sys
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from autotune.controls import blas, thread_variables
from autotune.errors import ProfileError, UnsupportedPlatform, UsageError
from autotune.profiles.folders import Layer, places
from autotune.profiles.resolve import Resolution
from autotune.runtime.applied import DISABLED, Setting, disabled, resolved, sentence, state
from autotune.runtime.lookup_configuration import meant
from autotune.runtime.process_threads import decided

if TYPE_CHECKING:
    from autotune.runtime.applied import PerCallWish


def apply(
    operation: str | None = None,
    /,
    *,
    profile: str | os.PathLike[str] | None = None,
    strict: bool = False,
    processes: int | None = None,
    children: bool = False,
    allocator: Literal["default", "retain"] | None = None,
    per_call: "PerCallWish | None" = None,
    reproducible: bool = False,
    guard: bool = False,
    record: bool | None = None,
    watch: bool = False,
    dtype: Any = "float64",
    **sizes: int,
) -> "Applied":
    """Run this process as was measured to be fastest here. Acts at once; in a `with`, until its end.

    NumPy is imported if it has not been, and the number of threads of its BLAS library is set, but only to
    one at which no measured size is slower than before; if there is none it stays, and the gains come from
    tuned(), executor() and map_blocks(). With an operation and its sizes, as in `apply("svd", n=500)`, the
    count is the one for that work.

    - profile: a profile, or a folder of them, to look at before all others; else $AUTOTUNE_PROFILE is.
    - strict: raise ProfileError or UsageError for what otherwise leaves NumPy as it is, for the reason that
      `why` and explain() give.
    - processes: how many processes share the CPUs, if the environment does not say so.
    - children: export the count to child processes, by the variables of the BLAS libraries that the user has
      not set.
    - allocator: "retain" lets glibc keep freed memory for reuse, at the price of that memory; "default" undoes
      it.
    - per_call: run each call of numpy.linalg, and of scipy.linalg once that is imported, with the threads
      measured for its operation, dtype and size, and put the count back after it; "all": np.matmul, `@`, np.dot
      and np.inner too. Costs 1 us a call, 3 us if the count changes. Calls at once share the CPUs. None: as
      $AUTOTUNE_PER_CALL or `autotune run --per-call` says. No public object of theirs is replaced, and on a
      version that is not known nothing is done, for the reason that explain() gives.
    - guard: like per_call, and let one in a hundred calls longer than 1 ms run with the default; an entry that
      loses against it is dropped, and explain() says what was saved.
    - reproducible: keep one BLAS thread count for everything, the one that is there (with an operation, its
      own): the count decides the bits of results. Entries with another count are not used, in this and later
      profiles; workers and chunks, which change no bits, are.
    - record: count the calls, those that no profile covers apart, for the daemon; None: as $AUTOTUNE_RECORD
      says. What is counted goes into one small file when the process ends.
    - watch: take up new profiles and a new CPU quota within a minute, for programs that run for long. A thread
      looks for them; calls pay nothing.
    - dtype, sizes: those of the operation; sizes in elements, and one that is left out equals `n`.

    Scope of effect: this process, with BLAS libraries that are loaded later. What the user or another
    library limited stays limited. Calling it again reads profiles and CPU quota again, and takes the former
    call's place. It never measures, never opens a connection, and costs about 15 ms. Raises TypeError for a
    keyword that there is not.
    """
    if sizes:  # the catalogue takes 3 ms to load
        _check_keywords(operation, sizes)
    with state.lock:
        before = state.setting
        try:
            now = Setting(failure=DISABLED, why=DISABLED)
            if not disabled():
                now = _looked_at(
                    resolved(profile, processes=processes),
                    before,
                    operation,
                    dtype,
                    sizes,
                    reproducible=reproducible,
                )
                if strict:
                    _insist(now, profile)
                now = _with_allocator(now, allocator, strict=strict)
                now = now._replace(
                    per_call=_wished(per_call) or guard, guard=guard, record=_recorded(wish=record)
                )
                if children:
                    now = now._replace(exported=thread_variables.exports(now.blas_threads, os.environ))
            _put(before, now)
        except Exception as error:
            # The promise: whatever is wrong, the program runs as it would without us.
            if strict:
                raise
            why = sentence(error)
            now = before._replace(failure=None if before.resolution else why, why=why)
        state.take(now)
    applied = Applied(before, now)
    _log(applied)
    if watch and not disabled():
        from autotune.runtime.profile_watch import Watch

        again = partial(
            apply,
            *(() if operation is None else (operation,)),
            profile=profile,
            strict=False,
            processes=processes,
            children=children,
            allocator=allocator,
            per_call=per_call,
            reproducible=reproducible,
            guard=guard,
            record=record,
            watch=False,
            dtype=dtype,
            **sizes,
        )
        Watch(applied, again, named=profile, processes=processes).start()
    return applied


class Applied:
    """What apply() did. In a `with`, its end restores; `restore()` does so at any time."""

    def __init__(self, before: Setting, now: Setting) -> None:
        self._before = before
        self._now = now

    @property
    def why(self) -> str:
        """A sentence: why the thread count was set, or left alone."""
        return self._now.why

    @property
    def blas_threads(self) -> int | None:
        """The process-wide BLAS thread count that was set; None if it was left alone."""
        return self._now.blas_threads

    @property
    def in_force(self) -> bool:
        """Is it what holds now? Not once it was restored, or a later apply() has taken over."""
        return state.setting is self._now

    def renew(self, fresh: "Applied") -> None:
        """A later apply() of the same is part of this one: restoring this restores both."""
        self._now = fresh._now  # noqa: SLF001 - of this class

    def restore(self) -> None:
        """Put back what was there before. Does nothing once a later apply() has taken over."""
        with state.lock:
            if state.setting is self._now and self._now is not self._before:
                _put(self._now, self._before)
                state.take(self._before)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"<autotune: {self}>"

    def __str__(self) -> str:
        count = "left alone" if self.blas_threads is None else f"set to {self.blas_threads}"
        return f"BLAS threads {count}. {self.why}"


def apply_from_start(per_call: "PerCallWish") -> None:
    """What `autotune run --per-call` does once the program has NumPy; later apply() calls keep to it."""
    state.wish = per_call
    apply()


def _looked_at(
    resolution: Resolution,
    before: Setting,
    operation: str | None,
    dtype: Any,
    sizes: dict[str, int],
    *,
    reproducible: bool,
) -> Setting:
    """The setting for the whole process, or for one kind of work."""
    ours = before.blas_threads is not None or state.per_call is not None
    known = before.found_threads if ours else blas.current()
    if operation is None and reproducible:
        threads, why = None, "One count for everything was asked for: the one that was there."
    elif operation is None:
        limit = thread_variables.user_limit(os.environ)
        threads, why = decided(resolution, current=known, user_limit=limit)
    else:
        threads, why = _for_work(resolution, operation, dtype, sizes)
    return Setting(
        resolution=resolution,
        blas_threads=threads,
        found_threads=known,
        why=why,
        reproducible=reproducible,
    )


def _check_keywords(operation: str | None, sizes: dict[str, Any]) -> None:
    """Raise TypeError, as Python does, for a keyword that is neither one of apply()'s nor a size."""
    from autotune.model.catalogue import row_of

    row = row_of(operation or "")
    for name in sizes:
        if operation is None or (row is not None and name not in {*row.size_names, "n"}):
            from difflib import get_close_matches

            near = get_close_matches(name, apply.__kwdefaults__ or (), n=1)
            if near or operation is None:
                hint = f"Did you mean {near[0]!r}?" if near else "Sizes need an operation before them."
                raise TypeError(f"apply() got an unexpected keyword argument {name!r}. {hint}")


def _wished(per_call: "PerCallWish | None") -> "PerCallWish":
    """Which calls are to be switched. Raises UsageError for what is neither a bool nor "all"."""
    if per_call is None:
        named = os.environ.get("AUTOTUNE_PER_CALL", "")
        return state.wish or ("all" if named == "all" else named not in {"", "0"})
    if not (isinstance(per_call, bool) or per_call == "all"):
        raise UsageError(f'per_call is True, False or "all", not {per_call!r}.')
    return per_call


def _recorded(*, wish: bool | None) -> bool:
    return os.environ.get("AUTOTUNE_RECORD", "") not in {"", "0"} if wish is None else wish


def _for_work(
    resolution: Resolution, operation: str, dtype: Any, sizes: dict[str, int]
) -> tuple[int | None, str]:
    """The BLAS thread count measured to be best for one kind of work, and why."""
    named = meant(operation, dtype, sizes)
    entry = None if named is None else resolution.find(named)
    if entry is None:
        return None, f"Nothing that was measured speaks for {named or operation}."
    from autotune.controls.apply_configuration import clamp

    return clamp(entry.entry.choice, resolution.usable_cpus).blas_threads, entry.entry.reason


def _insist(now: Setting, profile: str | os.PathLike[str] | None) -> None:
    """Raise ProfileError if the file that the user named is not used, or if nothing is."""
    assert now.resolution is not None
    layer, place = places(profile)[0]
    for refusal in now.resolution.refusals:
        if layer is Layer.NAMED and refusal.entry is None and refusal.path.startswith(place):
            raise ProfileError(refusal.reason, refusal.path)
    if next(now.resolution.entries(), None) is None:
        raise ProfileError("No profile fits this machine. `autotune calibrate` makes one.")


def _with_allocator(now: Setting, wish: str | None, *, strict: bool) -> Setting:
    """The setting with the allocator that is asked for, if this process can have it."""
    if wish in {None, "default"}:
        return now._replace(allocator=wish)
    if wish != "retain":
        problem: Exception = UsageError(f'allocator must be "default" or "retain", not {wish!r}.')
    else:
        from autotune.controls import allocator

        refusal = allocator.supported()
        if refusal is None:
            return now._replace(allocator=wish)
        problem = UnsupportedPlatform(refusal)
    if strict:
        raise problem
    return now._replace(why=f"{now.why} {problem}")


def _put(before: Setting, now: Setting) -> None:
    """Go from one setting to another."""
    if state.per_call is not None:
        from autotune.runtime.per_call import end

        end()
    if now.blas_threads is not None or before.blas_threads is not None:
        blas.set_threads(now.blas_threads)
    for name, value in state.displaced.items():
        if os.environ.get(name) == before.exported.get(name):  # else somebody has set it since
            _set_variable(name, value)
    state.displaced = {name: os.environ.get(name) for name in now.exported}
    os.environ.update(now.exported)
    if now.allocator != before.allocator:
        from autotune.controls import allocator

        if now.allocator == "retain":
            allocator.retain()
        else:
            allocator.default()
    if now.per_call or now.record:
        from autotune.runtime.per_call import begin

        begin(now)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _log(applied: Applied) -> None:
    """One line for those who listen; a program that has not loaded logging cannot be listening."""
    if "logging" in sys.modules:
        import logging

        log = logging.getLogger("autotune")
        if log.isEnabledFor(logging.INFO):
            resolution = state.setting.resolution
            log.info("%s%s", applied, "" if resolution is None else f" {resolution.summary}")
