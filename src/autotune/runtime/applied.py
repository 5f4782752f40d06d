"""Puts profiles into force for the process, as a set of wishes says, and undoes it."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from autotune.controls import after_fork, blas, thread_variables, wait_policy
from autotune.host import cpu_variables
from autotune.model.allocation import Limit
from autotune.model.record import Record
from autotune.profiles.resolve import resolve
from autotune.runtime.process_settings import (
    DISABLED,
    NOT_APPLIED,
    Setting,
    import_numpy,
    is_disabled,
    plain_text,
    safe_threads,
    text_or_raise,
    threads_text,
    wait_as_profile_says,
)
from autotune.runtime.process_state import state

if TYPE_CHECKING:
    from autotune.profiles.resolve import Resolution


class Wishes(Record):
    """The arguments of one apply(), which documents them. Immutable: the watch applies the same ones again."""

    profile: str | os.PathLike[str] | None = None
    processes: int | None = None
    children: bool = False
    allocator: str | None = None
    per_call: bool = True
    reductions: bool = False
    reproducible: bool = False
    guard: bool = False
    learn: bool = False
    record: bool | None = None


class Applied:
    """The effect of one apply(). In a `with`, its end restores; `restore()` does so at any time."""

    def __init__(self, before: Setting, now: Setting, wishes: Wishes) -> None:
        self._before = before
        self._now = now
        self._per_call = state.per_call
        self._wishes = wishes
        self._outer: Applied | None = state.applied

    @property
    def why(self) -> str:
        """A sentence: why the thread count was set, or left alone."""
        return self._now.reason

    @property
    def blas_threads(self) -> int | None:
        """The process-wide BLAS thread count that was set; None if it was left alone."""
        return self._now.blas_threads

    @property
    def in_force(self) -> bool:
        """Whether it still holds: not once it was restored, or a later apply() has taken over."""
        return state.setting is self._now

    def refresh(self) -> None:
        """Read the profiles anew and fulfil the same wishes: restoring this restores both."""
        fresh = put_into_force(self._wishes)
        self._now, self._per_call = fresh._now, fresh._per_call  # noqa: SLF001 - of this class
        state.applied = self

    def restore(self) -> None:
        """Put back what was there before. Does nothing once a later apply() has taken over."""
        after_fork.check()
        with state.lock:
            if state.setting is self._now and self._now is not self._before:
                _change_setting(self._now, self._before)
                state.replace_setting(self._before)
                state.applied = self._outer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"<autotune: {self}>"

    def _repr_html_(self) -> str:
        from autotune.model.units import html_table

        threads = "as they are" if self.blas_threads is None else str(self.blas_threads)
        return html_table(
            ("BLAS threads of the process", "single calls and loops"),
            [(threads, self._calls() or "plain NumPy")],
            caption=" ".join(["autotune:", *self._not_used(), self.why, *self._held_down()]),
        )

    def __str__(self) -> str:
        if self._now.failure is not None:
            return plain_text(self._now.failure)
        parts = [*self._not_used(), self._calls(), threads_text(self.blas_threads), self.why, *self._held_down()]
        return " ".join(filter(None, parts))

    def _calls(self) -> str:
        """Return what is done for single calls and loops; empty for nothing."""
        return "" if self._per_call is None or not self.in_force else self._per_call.summary()

    def _not_used(self) -> Iterator[str]:
        """Yield a sentence for each profile that the user named and that is not used."""
        if self._now.resolution is not None:
            yield from self._now.resolution.unused_named

    def _held_down(self) -> Iterator[str]:
        """Yield sentences on what a cap, or the user's environment, holds down."""
        resolution = self._now.resolution
        if resolution is None:
            return
        usable = resolution.usable_cpus
        if resolution.limit is Limit.CAP:
            yield f"A cap, such as AUTOTUNE_CPUS, holds everything to {usable} CPU{'s' * (usable != 1)}."
        held = thread_variables.limit_of_workers(os.environ, usable)
        if held:
            yield f"{held} in the environment holds workers and loops to that many threads."


def put_into_force(wishes: Wishes, *, strict: bool = False) -> Applied:
    """Read the profiles anew and change the process to what they and the wishes say.

    Raises nothing unless `strict`: whatever is wrong, the program runs as it would without autotune.
    """
    after_fork.check()
    with state.lock:
        before = state.setting
        try:
            if not is_disabled():
                import_numpy(wishes.profile, wishes.processes)
            now = _setting_for(wishes, before, strict=strict)
            if now.resolution is not None:
                now = now.replace(waiting=wait_as_profile_says(now.resolution))
            _change_setting(before, now)
        except Exception as error:
            if strict:
                raise
            reason = text_or_raise(error)
            now = before.replace(failure=None if before.resolution else reason, reason=reason)
        state.replace_setting(now)
    applied = state.applied = Applied(before, now, wishes)
    try:
        _log(applied, wishes)
    except (ImportError, OSError) as error:  # files of Python that this process may no longer read
        text_or_raise(error)
    return applied


def refresh() -> None:
    """Take up changed profiles: fulfil the wishes in force anew, or forget what was read without any."""
    with state.lock:
        if state.applied is not None and state.applied.in_force:
            state.applied.refresh()
        else:
            state.replace_setting(state.setting.replace(resolution=None, failure=None))


def _setting_for(wishes: Wishes, before: Setting, *, strict: bool) -> Setting:
    """Return the setting that fulfils the wishes. Changes nothing."""
    if is_disabled():
        return Setting(failure=DISABLED, reason=DISABLED)
    resolution = resolve(wishes.profile, processes=wishes.processes)
    was_set_here = before.blas_threads is not None or state.per_call is not None
    initial = before.initial_threads if was_set_here else blas.current()
    if wishes.reproducible:
        threads, reason = None, "One count for everything was asked for: the one that was there."
    else:
        threads, reason = safe_threads(resolution, current=initial, user_limit=blas.user_limit())
    if strict:
        _check_profile_is_used(resolution)
    allocator = wishes.allocator
    problem = _allocator_problem(allocator)
    if problem is not None:
        if strict:
            raise problem
        allocator, reason = None, f"{reason} {problem}"
    extra = wait_policy.variables(resolution.wait.exponent)
    return Setting(
        resolution=resolution,
        blas_threads=threads,
        initial_threads=initial,
        reason=reason,
        exported=thread_variables.exports(threads, os.environ, extra=extra) if wishes.children else {},
        allocator=allocator,
        per_call=wishes.per_call or wishes.guard or wishes.learn,
        reductions=wishes.reductions or state.initial_reductions,
        guard=wishes.guard,
        learn=wishes.learn or state.initial_learn,
        record=_is_recording(wishes.record),
        reproducible=wishes.reproducible,
    )


def _check_profile_is_used(resolution: "Resolution") -> None:
    """Raise ProfileError if the profile that the user named is not used, or if none is."""
    from autotune.errors import ProfileError

    for refusal in resolution.refusals if resolution.unused_named else ():
        if refusal.sentence in resolution.unused_named:
            raise ProfileError(refusal.reason, refusal.path)
    if next(resolution.entries(), None) is None:
        raise ProfileError("No profile fits this machine. `autotune calibrate` makes one.")


def _allocator_problem(wish: str | None) -> Exception | None:
    """Return why this process cannot have the requested allocator; None if it can."""
    if wish in {None, "default"}:
        return None
    from autotune.controls import allocator
    from autotune.errors import UnsupportedPlatform, UsageError

    if wish != "retain":
        return UsageError(f'allocator must be "default" or "retain", not {wish!r}.')
    refusal = allocator.unsupported_reason()
    return None if refusal is None else UnsupportedPlatform(refusal)


def _is_recording(wish: bool | None) -> bool:
    return os.environ.get("AUTOTUNE_RECORD", "") not in {"", "0"} if wish is None else wish


def _change_setting(before: Setting, now: Setting) -> None:
    stop_interception()
    if now.blas_threads is not None or before.blas_threads is not None:
        blas.set_threads(now.blas_threads)
    for name, value in state.displaced.items():
        if os.environ.get(name) == before.exported.get(name):  # else the program has changed it since
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    state.displaced = {name: os.environ.get(name) for name in now.exported}
    os.environ.update(now.exported)
    if now.allocator != before.allocator:
        from autotune.controls import allocator

        if now.allocator == "retain":
            allocator.retain()
        else:
            allocator.default()
    if now.resolution is not None and (now.per_call or now.record or state.report_folder):
        _start_interception(now, now.resolution)


def _start_interception(setting: Setting, resolution: "Resolution") -> None:
    """Meet single calls as the setting asks for, after the former interception has ended."""
    from autotune.runtime.per_call import PerCall

    state.overrides = {}
    state.per_call = PerCall(resolution, setting, state.override)
    try:
        state.per_call.start()
    except BaseException:
        stop_interception()
        raise
    _leave_files(record=setting.record)


def record_requests() -> None:
    """Count what config() is asked for, where $AUTOTUNE_RECORD says so and apply() was not called."""
    if state.setting.reason is NOT_APPLIED and _is_recording(None):
        _leave_files(record=True)


def _leave_files(*, record: bool) -> None:
    """Have files written at the end of the process, after the counting of requests has begun if it is to be."""
    import atexit

    if record:
        from autotune.runtime.demand import Demand

        state.demand = state.process_demand = state.process_demand or Demand()
    atexit.unregister(write_files_at_exit)
    atexit.register(write_files_at_exit)


def write_files_at_exit() -> None:
    """Leave the report for `autotune compare`, and for the daemon what this process called, dropped and learned."""
    if state.report_folder is not None:
        with suppress(ImportError):  # autotune was removed, or replaced, while the program ran
            from autotune.runtime.at_exit import write_report

            write_report(state.report_folder)
    stop_interception()
    if state.process_demand is not None or state.dropped or state.learned:
        with suppress(ImportError):  # likewise
            from autotune.runtime.at_exit import write_demand

            write_demand()


def stop_interception() -> None:
    """Take off the interception of calls, if there is one; its counts are kept."""
    ended, state.per_call = state.per_call, None
    demand, state.demand = state.demand, None
    if ended is None:
        return
    ended.stop()
    state.overrides = {}
    if ended.guard is not None:
        state.dropped.extend(ended.guard.dropped)
    if ended.learner is not None:
        state.learned.extend(lesson for lesson in ended.learner.lessons() if lesson.choice)
    if demand is not None:
        try:
            ended.hand_over(demand)
        except (ImportError, OSError) as error:  # autotune was removed, say
            text_or_raise(error)


def _log(applied: Applied, wishes: Wishes) -> None:
    """Log one line; a program that has not loaded the logging module has no handler for it.

    Warn of ignored caps, and once of profiles that are out of use.
    """
    for name in cpu_variables.invalid(os.environ):
        import logging

        from autotune.host.machine_warnings import invalid_count

        logging.getLogger("autotune").warning(invalid_count(name, os.environ[name]))
    for warning in _profile_warnings(wishes):
        if warning not in state.reported:
            import logging

            state.reported.add(warning)
            logging.getLogger("autotune").warning(warning)
    if "logging" in sys.modules:
        import logging

        log = logging.getLogger("autotune")
        if log.isEnabledFor(logging.INFO):
            log.info("%s", applied)


def _profile_warnings(wishes: Wishes) -> Iterator[str]:
    """Yield warnings of profiles that an upgrade has put out of use, and of those that are named and not used.

    `autotune run` has printed those of $AUTOTUNE_PROFILE, and `autotune compare` those of upgrades.
    """
    resolution = state.setting.resolution
    if resolution is None:
        return
    if resolution.outdated is not None and state.report_folder is None:
        yield resolution.outdated
    if wishes.profile is not None or not state.is_started_by_run:
        yield from resolution.unused_named
