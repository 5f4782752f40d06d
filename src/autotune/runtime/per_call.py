"""Calls of NumPy and SciPy in this process: linear algebra with the BLAS threads measured for each call, and long
loops of ufuncs on several CPUs. What meets them is the C core; without it nothing here is in force.
"""

import os
from _thread import RLock
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from autotune.controls import after_fork, blas, thread_variables, wait_policy
from autotune.controls.import_hooks import expect_no_longer, when_imported
from autotune.intercept.array_loops import CLASSES, ArrayLoops, is_loop
from autotune.intercept.numpy_calls import Decide, NumpyCalls
from autotune.native import core
from autotune.runtime.process_settings import text_or_raise

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from autotune.model.configuration import Configuration
    from autotune.model.operation import Operation
    from autotune.native._core import Calls, Switch
    from autotune.profiles.resolve import Resolution
    from autotune.runtime.demand import Demand
    from autotune.runtime.guard import Dropped, Guard, Saved
    from autotune.runtime.learner import Learned, Learner
    from autotune.runtime.process_settings import Setting

    class _Tap(Protocol):
        """Something that meets calls."""

        def install(self) -> str | None:
            """Put it in force; a sentence if it cannot be."""

        def remove(self) -> None:
            """Take it off."""


_SCIPYS_FIRST = ("scipy.linalg._basic",)
"""The first of SciPy's modules whose calls are met."""
_ALL_PLAIN = "No call of linear algebra has a tuned entry: all run plain."
_ALL_LEARNED = "No call of linear algebra has a tuned entry: they are learned about."
_SWITCHED = "Calls of numpy.linalg, matmul and dot run with the threads measured for them, others as plain NumPy."
WAKE_FROM_SECONDS = 150e-6
"""Time of NumPy's own loops for which sleeping threads are woken. Waking costs 5 us, on virtual CPUs 20 to 40 us: a
loop of 20 us that is cut 0.2 ms after the last one takes 1.75 times as long, one of 80 us 1.08 times
(`scripts/benchmarks/run native`, rows `alone_`). Twice that time leaves a margin for slower machines."""
_MOST_CALLS = 4096
"""Most operations and sizes that are counted; others still get their threads."""


class PerCall:
    """The interception in force, with what it decided and counted."""

    def __init__(
        self, resolution: "Resolution", setting: "Setting", override: "Callable[[Operation, Configuration], None]"
    ) -> None:
        """Store the resolution; `override` gets configurations that this process found to be better."""
        self._resolution = resolution
        self._setting = setting
        self._override = override
        self._began = perf_counter()
        self._lock = RLock()
        """Guards against another thread that imports SciPy while everything is being undone."""
        self._calls: dict[tuple[Any, ...], Calls] = {}
        self._taps: list[_Tap] = []
        self._core: Any = None
        self._switches = False
        self._through: Switch | None = None
        """Of NumPy's BLAS; None: its calls are counted at most."""
        self._loops: ArrayLoops | None = None
        self._loop_workers = 1
        """Most workers of a loop that is met; 1: none are."""
        self._plans_loops = False
        self.guard: Guard | None = None
        self.learner: Learner | None = None
        self.why = ""
        """Sentences about settings that could not be set, and about loops."""

    def start(self) -> None:
        """Meet calls and loops from now on, as far as a profile covers them and the setting asks for it."""
        loaded = core()
        if isinstance(loaded, str):
            self.why = f"Calls run as NumPy makes them. {loaded}"
        else:
            self._core = loaded
            self._meet()
        if self._setting.reproducible:
            self._say("Calls are not switched: one count for everything was asked for.")
            if self._setting.learn:
                self._say("Nothing is learned either.")

    def _meet(self) -> None:
        setting, may_differ = self._setting, not self._setting.reproducible
        learn = setting.learn and may_differ
        if setting.per_call:
            self._meet_loops(reductions=setting.reductions and may_differ, learn=learn)
        switch = setting.per_call and may_differ and (learn or self._resolution.tunes_calls())
        if setting.record or switch or self._taps:
            self._meet_calls(switch=switch, learn=learn and switch)
        if setting.per_call and not self.why and not self._switches and may_differ:
            self.why = "No profile has a choice for single calls here, so they run as plain NumPy."

    def stop(self) -> None:
        expect_no_longer(_SCIPYS_FIRST)
        with self._lock:
            for tap in self._taps:
                tap.remove()
            self._taps, self._loops = [], None
        if self._core is not None:
            self._core.watch_calls(None)
            self._core.blas_spins(0)
            self._core.wake_from(0)
        if self.learner is not None:
            self.learner.release()
        blas.end_switching()

    def summary(self) -> str:
        """Return what is on, in a sentence: for how many operations a profile chose threads, and for which loops."""
        if not self._taps:
            return self.why
        tuned = self._tuned_calls()
        on = []
        if self._switches:
            plural = "" if tuned == 1 else "s"
            on.append(f"Per-call switching is on: {tuned} operation{plural} tuned." if tuned else self._none_tuned)
        if self._plans_loops:
            on.append("Long loops of ufuncs run on several CPUs.")
        return " ".join(on) or self.why

    def reason(self) -> str:
        """Return the sentences about the settings in force, and about those that could not be set."""
        if not self._switches:
            return self.why
        switched = _SWITCHED if self._tuned_calls() else self._none_tuned
        return f"{switched} {self.why}".rstrip()

    @property
    def _none_tuned(self) -> str:
        return _ALL_PLAIN if self.learner is None else _ALL_LEARNED

    def _tuned_calls(self) -> int:
        """Count the operations of linear algebra for whose calls a profile chose threads."""
        from autotune.model.catalogue import is_call

        calls = filter(is_call, self._resolution.operations())
        used = (self._resolution.look_up(operation)[0] for operation in calls)
        chosen = {match.entry.operation.name for match in used if match and match.entry.choice.blas_threads is not None}
        return len(chosen)

    def met_calls(self) -> "list[Calls]":
        """Return the counter of each operation and size that was met so far."""
        return list(self._calls.values())

    def counts(self) -> tuple[int, int]:
        """Count the calls met so far, and how many of them run with a count of their own."""
        met_calls = self.met_calls()
        return (
            sum(calls.count for calls in met_calls),
            sum(calls.count for calls in met_calls if calls.threads is not None),
        )

    def loops_cut(self) -> int | None:
        """Count the long loops computed in slices so far; None: none are met."""
        return None if self._loops is None else int(self._core.status()["cut"])

    def loops_alone(self) -> "dict[str, int]":
        """Count the long loops that one thread computed, by the reason (`native/loops.h`)."""
        return {} if self._loops is None else self._core.status()["alone"]

    def hand_over(self, demand: "Demand") -> None:
        """Add the counts, which every call leaves anyway, to the demand."""
        from autotune.errors import UsageError
        from autotune.runtime.naming import operation_of

        for (_, _, _, follows, *_), calls in list(self._calls.items()):
            if calls.operation and calls.count and not follows:
                with suppress(UsageError):  # more elements than any computer holds: a view of a single one
                    operation = operation_of(calls)
                    if operation is not None:
                        demand.add(operation, calls.count, covered=calls.covered)

    def savings(self) -> "Saved | None":
        """Return what the guard knows to have been saved since this began."""
        return None if self.guard is None else self.guard.savings(perf_counter() - self._began)

    def forget(self) -> None:
        """Begin to count anew: in a forked child, whose parent counts the rest and has the thread with the lock."""
        self._lock = RLock()
        for calls in self.met_calls():
            calls.count = 0
        if self.guard is not None:
            self.guard.dropped.clear()
        if self.learner is not None:
            self.learner.forget_calls_in_flight()
        if after_fork.is_cut_off and self._taps:
            self._core.watch_calls(None)
            self._say("In this process calls run as plain NumPy: it was forked while another thread read profiles.")

    # --- calls of linear algebra ---------------------------------------------------------------

    def _meet_calls(self, *, switch: bool, learn: bool) -> None:
        """Meet calls of linear algebra, to switch or to count them, or for loops that wait for their threads."""
        most: int | None = None
        if switch or self._taps:
            begun = blas.begin_switching(self._resolution.usable_cpus)
            if isinstance(begun, str):
                self._say(f"Calls are not switched: {begun}")
            else:
                self._through, most = begun[0], begun[1] if switch else None
        if self._through is not None and most is not None:
            self._switches = True
            self._through.control = self._default(most)
        if learn or (self._setting.guard and self._switches):
            self._watch(most if self._switches else None, learn=learn)
        self._tap(NumpyCalls(self._core, partial(self._decide, most), self._through))
        when_imported(_SCIPYS_FIRST, partial(self._meet_scipy, most))

    def _meet_scipy(self, most: int | None) -> None:
        """Meet SciPy's calls, once the program has imported scipy.linalg."""
        try:
            from autotune.intercept.scipy_calls import ScipyCalls

            with self._lock:
                if self._taps:  # else all of it has been taken off meanwhile
                    self._tap(ScipyCalls(self._core, partial(self._for_scipy, most), self._say))
        except Exception as error:  # noqa: BLE001 - autotune was removed, or replaced, while the program ran
            self._say(f"Calls of scipy.linalg run as plain NumPy: {text_or_raise(error)}")

    def _watch(self, most: int | None, *, learn: bool) -> None:
        """Let the guard look at long calls that have a count of their own, and the learner at those without.

        `most` is the largest count of BLAS threads; None: calls are not switched.
        """
        # a program without them starts 15 ms sooner
        from autotune.runtime.guard import LONG_SECONDS, Guard
        from autotune.runtime.learner import Learner
        from autotune.runtime.lesson import LEARNED_FROM_SECONDS

        through = self._through if most is not None else None
        default = None if through is None else through.control or None
        self.guard = Guard(default=default, on_drop=self.take_over, slack=self._slack)
        rest = None if through is None else through.rest
        threads = most if most is not None and rest is not None else 1
        if learn and max(threads, self._loop_workers) > 1:
            self.learner = Learner(
                self.guard,
                rest=min(rest or 1, threads),
                most=threads,
                workers=self._loop_workers,
                on_choice=self.take_over,
            )
            self._say("Calls and loops that no entry covers are learned about while the program runs.")
        elif learn:
            self._say("Nothing is learned: calls and loops may have one thread only.")
        self._core.watch_calls(self._look, LONG_SECONDS, LEARNED_FROM_SECONDS)
        # not before there is a learner: loops of other threads would be decided without it
        if self.learner is not None and self._loops is not None:
            self._loops.learn(self._decide_loop)

    def _look(self, calls: "Calls", seconds: float, control: int, trial: int) -> None:
        """Take in a long call, as the C core tells it."""
        try:
            if self.learner is not None and self.learner.learns(calls):
                self.learner.look(calls, seconds, trial)
            elif self.guard is not None:
                self.guard.look(calls, seconds, control)
        except (RecursionError, MemoryError):
            raise  # the core tells of a later call
        except Exception as error:  # noqa: BLE001 - the call has succeeded
            self._say(f"Calls are neither watched nor learned about any more: {text_or_raise(error)}")
            self._core.watch_calls(None)

    def _slack(self, calls: "Calls") -> float:
        """Return the share of the time that an entry may cost whose objective was fewer CPU seconds."""
        from autotune.model.policy import CPU_SLACK
        from autotune.runtime.naming import operation_of

        operation = operation_of(calls)
        match = None if operation is None else self._resolution.find(operation)
        return 0.0 if match is None or match.entry.evidence.cpu_ratio is None else CPU_SLACK

    def take_over(self, result: "Dropped | Learned") -> None:
        """Let config() answer what this process found out."""
        from autotune.runtime.naming import operation_of

        operation = operation_of(result)
        if operation is not None:
            self._override(operation, result.configuration)

    def _for_scipy(self, most: int | None) -> "tuple[Switch | None, Decide] | str":
        """Return the settings of SciPy's calls, as soon as SciPy is loaded."""
        with self._lock:
            if not self._taps:
                return "they came too late."
            if self._through is None:
                return None, partial(self._decide, None)
            begun = blas.switch_scipy_too(self._resolution.usable_cpus)
            if isinstance(begun, str):
                return begun
            through, own = begun
            if most is not None:
                most = own
                through.control = self._default(most)
                self._say("So do those of scipy.linalg.")
            return through, partial(self._decide, most, library="scipy")

    def _default(self, most: int) -> int:
        """Return the count of a live control; 0: as at rest."""
        return min(self._setting.initial_threads or 0, most)

    def _say(self, sentence: str) -> None:
        self.why = f"{self.why} {sentence}".lstrip()

    def _tap(self, tap: "_Tap") -> None:
        self._taps.append(tap)  # first: one that comes into force later asks whether any is
        refusal = tap.install()
        if refusal is not None:
            self._say(refusal)

    def _decide(
        self,
        most: int | None,
        operation: str,
        dtype: str,
        sizes: dict[str, int],
        *,
        library: str = "numpy",
        follows: bool = False,
    ) -> "Calls":
        """Return the BLAS threads of these calls, or None if nothing is switched.

        Calls of a function that `follows` another one of the same operation are not counted with those of the
        operation, and are timed apart: two such functions take different times.
        """
        key = (library, operation, dtype, follows, *sizes.items())
        calls = self._calls.get(key)
        if calls is None:
            calls = self._new_calls(most, operation, dtype, sizes)
            if len(self._calls) < _MOST_CALLS:
                calls = self._calls.setdefault(key, calls)
        return calls

    def _new_calls(self, most: int | None, operation: str, dtype: str, sizes: dict[str, int]) -> "Calls":
        new = self._core.Calls
        threads, covered, learns = None, False, True
        after_fork.check()
        if after_fork.is_cut_off:
            return new("", dtype, {})  # type: ignore[no-any-return]
        if self._resolution.names_operation(operation, dtype):
            try:
                with after_fork.importing:  # what follows loads the data types when it is first asked
                    from autotune.model.operation import Operation

                    # the calls name all sizes, in the catalogue's order; the catalogue takes 2 ms to load
                    requested = Operation(name=operation, dtype=dtype, sizes=tuple(sizes.items()))
                    match = self._resolution.find(requested)
                    choice = None if match is None else self._resolution.clamp(match.entry.choice)
            except (RecursionError, MemoryError):
                raise  # the core lets the call run without a choice, and asks again
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a profile, the call goes on
                self.why = f"{operation} runs as without a profile: {text_or_raise(error)}"
                return new("", dtype, {})  # type: ignore[no-any-return]
            if match is not None and choice is not None:
                covered = True
                if most is not None and choice.blas_threads is not None:
                    threads = min(choice.blas_threads, most)
                # a loop whose entry has a choice is here since others of its class were not measured to gain
                learns = not match.entry.is_decided or (is_loop(operation) and not choice.is_default)
        calls: Calls = new(operation, dtype, sizes, threads=threads, covered=covered)
        calls.learns = learns and self.learner is not None
        return calls

    # --- loops of ufuncs ------------------------------------------------------------------------

    def _meet_loops(self, *, reductions: bool, learn: bool) -> None:
        plans = self._resolution.loops
        cpus = thread_variables.worker_cpus(os.environ, self._resolution.usable_cpus)
        if cpus < 2 or not (reductions or learn or plans):
            return
        self._core.configure(cpus)
        self._core.wake_from(WAKE_FROM_SECONDS)
        self._core.blas_spins(wait_policy.spin_seconds(wait_policy.process.exponent))
        kinds = {plan.kind for plan in plans}
        self._loops = loops = ArrayLoops(
            self._core, CLASSES if learn else kinds | {"reductions"} if reductions else kinds
        )
        self._tap(loops)
        for plan in plans:
            loops.plan(plan.kind, plan.dtype, plan.layout, plan.ranges)
        if wait_policy.process.exponent == self._resolution.wait.exponent:
            for kind in CLASSES.keys() & self._resolution.wait.loops:  # a newer autotune may know more
                loops.after_blas(kind, self._resolution.wait.loops[kind])
        self._core.reductions(reductions)
        self._loop_workers = cpus
        self._plans_loops = reductions or bool(plans)
        if plans:
            start = min(plan.ranges[0].elements for plan in plans)
            self._say(f"Loops of ufuncs run on up to {cpus} CPUs, from {start:,} elements on.")
        if reductions:
            self._say("Sums of floating-point numbers are computed in fixed blocks.")

    def _decide_loop(self, operation: str, dtype: str, elements: int) -> "Calls":
        """Return the Calls of a lesson about loops that no plan covers."""
        calls = self._new_calls(None, operation, dtype, {"n": elements})
        if len(self._calls) < _MOST_CALLS:
            self._calls["loops", operation, dtype, False, len(self._calls)] = calls
        return calls
