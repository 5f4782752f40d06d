"""Every call of numpy.linalg, and of matmul if asked for, with the threads that were measured for it."""

import atexit
from typing import TYPE_CHECKING

from autotune.controls import blas
from autotune.controls.intercept import Around, Intercept, Nothing
from autotune.controls.switch import Calls
from autotune.runtime.config import meant
from autotune.runtime.demand import Demand, leave
from autotune.runtime.guard import Dropped, Guard
from autotune.runtime.state import PerCallWish, Setting, sentence, state

if TYPE_CHECKING:
    from autotune.controls.matmul_loop import MatmulLoops
    from autotune.model.operation import Operation
    from autotune.store.resolve import Resolution

_MOST_CALLS = 4096
"""Operations at a size that are told apart; others still get their threads, but are not counted."""

_dropped: list[Dropped] = []
"""By guards that are no longer in force."""


def begin(setting: Setting) -> None:
    """Meet calls as this setting asks for. What was in force before has ended."""
    resolution = setting.resolution
    if resolution is None:
        return
    if setting.record and state.demand is None:
        state.demand = Demand()
    state.per_call = PerCall(resolution, found=setting.found_threads)
    if setting.reproducible:
        state.per_call.start(wish=False, guard=False)
        state.per_call.why = "Calls are not switched: one count for everything was asked for."
    else:
        state.per_call.start(setting.per_call, guard=setting.guard)
    atexit.unregister(_leave)
    atexit.register(_leave)


def end() -> None:
    """Take off what is in force; what it counted is kept."""
    ended, state.per_call = state.per_call, None
    if ended is None:
        return
    ended.stop()
    if ended.guard is not None:
        _dropped.extend(ended.guard.dropped)
    if state.demand is not None:
        ended.hand_over(state.demand)


def _leave() -> None:
    """At the end of the process."""
    end()
    leave([] if state.demand is None else state.demand.rows(), _dropped)
    _dropped.clear()


class PerCall:
    """An intercept in force, with what it decided and counted."""

    def __init__(self, resolution: "Resolution", *, found: int | None) -> None:
        self._resolution = resolution
        self._found = found
        self._most: int | None = None
        """BLAS threads that one call may have; None: nothing is switched."""
        self._calls: dict[object, Calls] = {}
        self._taps: list[Intercept | MatmulLoops] = []
        self.guard: Guard | None = None
        self.why = ""
        """What is switched, and what could not be: sentences."""

    def start(self, wish: PerCallWish, *, guard: bool) -> None:
        """Meet calls from now on, and switch if it is wished; without, they are counted."""
        around: Around = Nothing()
        if wish:
            begun = blas.begin_switching(self._resolution.usable_cpus)
            if begun is None:
                self.why = "Calls are not switched: no BLAS library was found whose threads could be set."
            else:
                around, self._most = begun
                if guard:
                    default = None if self._found is None else min(self._found, self._most)
                    around = self.guard = Guard(around, default)
        refusals = [self._tap(Intercept(self._decide, around))]
        named = "numpy.linalg"
        if wish == "all":
            from autotune.controls.matmul_loop import MatmulLoops

            refusals.append(self._tap(MatmulLoops(self._decide, around)))
            named = "numpy.linalg and matmul"
        refused = " ".join(dict.fromkeys(filter(None, refusals)))
        if not self._taps:
            blas.end_switching()
            self._most = self.guard = None
        if refused or self._most is None:
            self.why = refused or self.why
        else:
            self.why = f"Each call of {named} runs with the threads measured for it."

    def stop(self) -> None:
        """Take it all off."""
        for tap in self._taps:
            tap.remove()
        self._taps = []
        blas.end_switching()

    def counts(self) -> tuple[int, int]:
        """Calls met so far, and how many of them run with a count of their own."""
        known = list(self._calls.values())
        return (
            sum(calls.count for calls in known),
            sum(calls.count for calls in known if calls.threads is not None),
        )

    def uncovered(self) -> "list[tuple[Operation, int]]":
        """Operations that no entry speaks for, with how often they were called."""
        known = [
            calls
            for calls in list(self._calls.values())
            if calls.operation and not calls.covered and calls.count
        ]
        named = [(meant(calls.operation, calls.dtype, dict(calls.sizes)), calls.count) for calls in known]
        return [(operation, count) for operation, count in named if operation is not None]

    def hand_over(self, demand: Demand) -> None:
        """Add the counts to the demand."""
        for operation, count in self.uncovered():
            demand.add(operation, count)

    def forget(self) -> None:
        """Begin to count anew: in a forked child, whose parent tells the rest."""
        for calls in list(self._calls.values()):
            calls.count = 0
        if self.guard is not None:
            self.guard.dropped.clear()
        _dropped.clear()

    def _tap(self, tap: "Intercept | MatmulLoops") -> str | None:
        refusal = tap.install()
        if refusal is None:
            self._taps.append(tap)
        return refusal

    def _decide(self, operation: str, dtype: str, sizes: dict[str, int]) -> Calls:
        key = (operation, dtype, *sizes.items())
        calls = self._calls.get(key)
        if calls is None:
            calls = self._looked_up(operation, dtype, sizes)
            if len(self._calls) < _MOST_CALLS:
                calls = self._calls.setdefault(key, calls)
        return calls

    def _looked_up(self, operation: str, dtype: str, sizes: dict[str, int]) -> Calls:
        from autotune.controls.configured import clamp

        try:
            named = meant(operation, dtype, sizes)
            if named is None:
                return Calls("", dtype, {})
            entry = self._resolution.find(named)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a profile, the call goes on
            self.why = f"{operation} runs as without a profile: {sentence(error)}"
            return Calls("", dtype, {})
        threads = None
        if entry is not None and self._most is not None:
            threads = clamp(entry.tuning.choice, self._resolution.usable_cpus).blas_threads
        return Calls(
            operation,
            dtype,
            sizes,
            threads=None if threads is None or self._most is None else min(threads, self._most),
            covered=entry is not None,
        )
