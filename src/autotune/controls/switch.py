"""The BLAS thread count of each single call: set before it, put back after it, shared by calls at once.

A library with one count for the whole process
    A call alone gets its own count. Calls at once get the largest that one of them has, but no more than an
    equal share of the CPUs: 8 CPUs, a call for 1 thread beside one for 8, give both a count of 4.
A library that counts by thread
    Each call gets its own count out of the CPUs that the others have left, at least one.
Several libraries
    NumPy's wheels and SciPy's bring one each. Calls at once are counted together.

The count is read before each change. If it is not the one that was set here last, somebody else set it, and
it is left alone until they put that one back. Scopes (`blas.limit`) go before: while one is active nothing is
switched, and what a call in flight has switched is put back before the scope looks at the count.
"""

from collections.abc import Callable, Iterable, Mapping
from threading import RLock, get_ident
from typing import Any

from autotune.controls import after_fork
from autotune.controls.blas_setters import Library


class Calls:
    """All calls of one operation at one size: what they get, and how many there were."""

    __slots__ = ("count", "covered", "dtype", "operation", "sizes", "threads", "watched")

    def __init__(
        self,
        operation: str,
        dtype: str,
        sizes: Mapping[str, int],
        *,
        threads: int | None = None,
        covered: bool = False,
    ) -> None:
        self.operation = operation
        """A name of the catalogue; "" for calls that no entry of a profile could speak for."""
        self.dtype = dtype
        self.sizes = sizes
        self.threads = threads
        """BLAS threads; None: as many as at rest."""
        self.covered = covered
        """Does an entry of a profile speak for them?"""
        self.count = 0
        """So far; a few fewer where threads count at once."""
        self.watched: Any = None
        """What the live guard knows about them."""


class Flight:
    """The calls in flight in all libraries."""

    __slots__ = ("switches", "wanted")

    def __init__(self) -> None:
        self.wanted: dict[int, int] = {}
        """Their counts, by thread: what an interrupted call leaves here, the thread's next one replaces."""
        self.switches: list[Switch] = []
        """Those of all libraries; a crowd of calls has its one count in each of them."""


class Switch:
    """The count of a library for the calls that are in flight. Any thread may begin and end calls.

    Beginning and ending a call costs 0.4 us together, 1 us more if the count changes.
    """

    def __init__(self, library: Library, lock: RLock, usable_cpus: int, flight: Flight) -> None:
        self.library = library
        self._get: Callable[[], int] = library.get
        self._put: Callable[[int], object] = library.put
        self._lock = lock
        self._usable = usable_cpus
        self._wanted = flight.wanted
        self._all = flight.switches
        self._all.append(self)
        self._aside = True
        self.rest: int | None = None
        """The count while no call is in flight, and that of calls that have none of their own; None: scopes
        were active ever since, so it is not known yet."""
        self._set = 0
        """What was set last; 0 while that is not known."""
        self._ours: tuple[int, int] = (0, 0)
        """Counts that are there because of us. Any other was set by somebody else."""

    # A call that finds nothing to change takes no lock. It says what it wants before it looks for others: of
    # two that begin at once, at least the later sees both, and settles the count for them.

    def begin(self, calls: Calls) -> None:
        """One of these calls begins in this thread."""
        wanted = self._wanted
        wanted[get_ident()] = target = calls.threads or self.rest or 1
        if len(wanted) > 1:
            self._settle(self._all)
        elif target != self._set:
            self._settle((self,))

    def end(self, _begun: object = None) -> None:
        """This thread's call is over."""
        wanted = self._wanted
        wanted.pop(get_ident(), None)
        if wanted or self._set != self.rest or len(self._all) > 1:
            self._settle(self._all)

    def bring(self, count: int | None) -> None:
        """Set this count, if the library does not have it. Under the lock, as all that follows."""
        if count != self._set:
            self._change(count)

    def step_aside(self) -> None:
        """Leave the count, as it was at rest, to scopes."""
        self.bring(self.rest)
        self._aside = True

    def come_back(self) -> None:
        """The last scope has ended."""
        self._aside = False
        if self.rest is None:
            self.rest = self._set = self._get()
            self._ours = (self.rest, self.rest)

    def forget(self, lock: RLock) -> None:
        """Start anew in a forked child, where no other thread's call is in flight."""
        self._lock = lock
        self._wanted.clear()
        self.bring(self.rest)

    def stop(self) -> None:
        """Put back the count at rest, for good: calls in flight change nothing more."""
        self.step_aside()

    def _settle(self, switches: Iterable["Switch"]) -> None:
        """Give these libraries the one count for the calls in flight, or their counts at rest."""
        after_fork.check()
        lock = self._lock
        lock.acquire()  # `with` takes twice as long (CPython 3.11: 250 ns, 110)
        try:
            wanted = list(self._wanted.values())  # a call may begin meanwhile, and settles after this
            target = min(max(wanted), max(1, self._usable // len(wanted))) if len(wanted) > 1 else None
            for switch in switches:
                switch.bring(target or (wanted[0] if wanted else switch.rest))
        finally:
            lock.release()

    def _change(self, target: int | None) -> None:
        now = self._get()
        if target is None or self._aside or now not in self._ours:
            return
        # an exception of a signal handler may come between any two of these lines
        self._ours, self._set = (now, target), 0
        self._put(target)
        reached = target if target < now else self._get()  # it may grow less than it was asked to
        self._ours, self._set = (reached, reached), reached


class ThreadSwitch(Switch):
    """The same for a library in which every thread has a count of its own."""

    def __init__(self, library: Library, lock: RLock, usable_cpus: int, flight: Flight) -> None:
        super().__init__(library, lock, usable_cpus, flight)
        self._undo: dict[int, tuple[int, int]] = {}
        """By thread: what was set, and what has to be put for the former count to come back."""
        self._returns_previous = library.returns_previous

    def begin(self, calls: Calls) -> None:
        here = get_ident()
        after_fork.check()
        with self._lock:
            self._undo_of(here)
            now = self._get()
            others = [count for thread, count in list(self._wanted.items()) if thread != here]
            target = max(1, min(calls.threads or now, self._usable - sum(others)))
            if not self._aside and now == self.rest and target != now:
                previous = self._put(target)
                undo = int(previous) if self._returns_previous else now  # type: ignore[call-overload]
                self._undo[here] = (self._get(), undo)
            self._wanted[here] = target

    def end(self, _begun: object = None) -> None:
        here = get_ident()
        with self._lock:
            self._wanted.pop(here, None)
            self._undo_of(here)

    def step_aside(self) -> None:
        self._undo_of(get_ident())  # a scope that begins in this thread finds the count as at rest
        self._aside = True

    def forget(self, lock: RLock) -> None:
        self._lock = lock
        self._wanted.clear()
        self._undo_of(get_ident())
        self._undo.clear()

    def bring(self, count: int | None) -> None:
        """Each thread's count follows its own calls."""

    def _undo_of(self, thread: int) -> None:
        ours, undo = self._undo.pop(thread, (0, 0))
        if ours and self._get() == ours:
            self._put(undo)
