"""Every call of numpy.linalg and scipy.linalg, and of products if asked for, with the threads that were measured
for it.
"""

from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Literal, Protocol

import autotune.model.catalogue
import autotune.model.interpolation  # noqa: F401 - see below
from autotune.controls import blas
from autotune.controls.switch import Calls
from autotune.errors import error_text
from autotune.intercept.linalg_calls import Around, Decide, Intercept, Nothing
from autotune.intercept.scipy_calls import ScipyIntercept
from autotune.model.configuration import clamp
from autotune.runtime.demand import Demand
from autotune.runtime.guard import Guard
from autotune.runtime.naming import as_operation

if TYPE_CHECKING:
    from autotune.model.operation import Operation
    from autotune.profiles.resolve import Resolution

# Everything that a call needs is imported above, before there is one. If the first call of a thread imported it, a
# fork at that moment would leave the lock of the module taken in the child for ever, whose own first call waits for it.

PerCallWish = bool | Literal["all"]
"""Calls to switch: none, those of numpy.linalg, or those of matmul too."""

_MOST_CALLS = 4096
"""Operations at a size that are told apart; others still get their threads, but are not counted."""


class _Tap(Protocol):
    """Something that meets calls."""

    def install(self) -> str | None:
        """Put it in force; a sentence if it cannot be."""

    def remove(self) -> None:
        """Take it off."""


class PerCall:
    """An intercept in force, with what it decided and counted."""

    def __init__(self, resolution: "Resolution", *, initial: int | None) -> None:
        self._resolution = resolution
        self._initial = initial
        self._lock = RLock()
        """SciPy may come, in some other thread, just as all of it is being taken off."""
        self._calls: dict[object, Calls] = {}
        self._taps: list[_Tap] = []
        self.guard: Guard | None = None
        self.why = ""
        """What is switched, and what could not be: sentences."""

    def start(self, wish: PerCallWish, *, guard: bool) -> None:
        """Meet calls from now on, and switch if it is wished; without, they are counted."""
        around: Around = Nothing()
        most: int | None = None
        if wish:
            begun = blas.begin_switching(self._resolution.usable_cpus)
            if begun is None:
                self.why = "Calls are not switched: no BLAS library was found whose threads could be set."
            else:
                around, most = begun
                if guard:
                    around = self.guard = Guard(around, self._default(most))
        decide = partial(self._decide, most)
        refusals = [self._tap(Intercept(decide, around))]
        if wish == "all":
            from autotune.intercept.dot_calls import DotCalls
            from autotune.intercept.matmul_loop import MatmulLoops

            refusals += [self._tap(MatmulLoops(decide, around)), self._tap(DotCalls(decide, around))]
        refused = " ".join(dict.fromkeys(filter(None, refusals)))
        if not self._taps:
            blas.end_switching()
            most = self.guard = None
        if refused or most is None:
            self.why = refused or self.why
        else:
            named = "numpy.linalg, matmul and dot" if wish == "all" else "numpy.linalg"
            self.why = f"Each call of {named} runs with the threads measured for it."
        if self._taps:
            self._tap(self._scipy(around, switched=most is not None))

    def stop(self) -> None:
        """Take it all off."""
        with self._lock:
            for tap in self._taps:
                tap.remove()
            self._taps = []
        blas.end_switching()

    def _scipy(self, around: Around, *, switched: bool) -> ScipyIntercept:
        """What meets SciPy's calls, as soon as SciPy is there."""

        def its_own() -> tuple[Around, Decide] | str:
            with self._lock:
                if not self._taps:
                    return "they came too late."
                if not switched:
                    return around, partial(self._decide, None)
                begun = blas.switch_scipy_too(self._resolution.usable_cpus)
                if isinstance(begun, str):
                    return begun
                switch, most = begun
                self._say("So do those of scipy.linalg.")
                guarded = self.guard.beside(switch, self._default(most)) if self.guard is not None else switch
                return guarded, partial(self._decide, most, library="scipy")

        return ScipyIntercept(its_own, self._say)

    def _say(self, sentence: str) -> None:
        self.why = f"{self.why} {sentence}"

    def _default(self, most: int) -> int | None:
        """The count of a live control."""
        return None if self._initial is None else min(self._initial, most)

    def counts(self) -> tuple[int, int]:
        """Calls met so far, and how many of them run with a count of their own."""
        known = list(self._calls.values())
        return (
            sum(calls.count for calls in known),
            sum(calls.count for calls in known if calls.threads is not None),
        )

    def met(self, *, covered: bool) -> "list[tuple[Operation, int]]":
        """Operations that some entry speaks for, or none, with how often they were called."""
        known = [
            calls
            for calls in list(self._calls.values())
            if calls.operation and calls.covered is covered and calls.count
        ]
        named = [
            (as_operation(calls.operation, calls.dtype, dict(calls.sizes)), calls.count) for calls in known
        ]
        return [(operation, count) for operation, count in named if operation is not None]

    def hand_over(self, demand: Demand) -> None:
        """Add the counts, which every call leaves anyway, to the demand."""
        for covered in (False, True):
            for operation, count in self.met(covered=covered):
                demand.add(operation, count, covered=covered)

    def forget(self) -> None:
        """Begin to count anew: in a forked child, whose parent tells the rest, and has whoever held the lock."""
        self._lock = RLock()
        for calls in list(self._calls.values()):
            calls.count = 0
        if self.guard is not None:
            self.guard.dropped.clear()

    def _tap(self, tap: _Tap) -> str | None:
        self._taps.append(tap)  # first: one that comes into force later asks whether any is
        refusal = tap.install()
        if refusal is not None:
            self._taps.remove(tap)
        return refusal

    def _decide(
        self,
        most: int | None,
        operation: str,
        dtype: str,
        sizes: dict[str, int],
        *,
        library: str = "numpy",
    ) -> Calls:
        """What these calls get: of at most so many BLAS threads, or None where nothing is switched."""
        key = (library, operation, dtype, *sizes.items())
        calls = self._calls.get(key)
        if calls is None:
            calls = self._looked_up(most, operation, dtype, sizes)
            if len(self._calls) < _MOST_CALLS:
                calls = self._calls.setdefault(key, calls)
        return calls

    def _looked_up(self, most: int | None, operation: str, dtype: str, sizes: dict[str, int]) -> Calls:
        try:
            requested = as_operation(operation, dtype, sizes)
            if requested is None:
                return Calls("", dtype, {})
            match = self._resolution.find(requested)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a profile, the call goes on
            self.why = f"{operation} runs as without a profile: {error_text(error)}"
            return Calls("", dtype, {})
        threads = None
        if match is not None and most is not None:
            threads = clamp(match.entry.choice, self._resolution.usable_cpus).blas_threads
        return Calls(
            operation,
            dtype,
            sizes,
            threads=None if threads is None or most is None else min(threads, most),
            covered=match is not None,
        )
