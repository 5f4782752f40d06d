"""Threads of the loaded BLAS libraries: read, set for the process, limited for a scope.

The rules that hold whatever threads and libraries do:

Smallest wins
    While scopes are active, in whichever threads, the smallest of their counts is in force, since OpenBLAS
    has one count for the whole process: a caller that asked for one thread because others work at the
    same time is never overrun. When the last one ends, in whatever order and thread, what was there before comes back.
Other people's limits
    What is there when we begin (with a scope, or a process-wide count) is what comes back when we end. Unless
    it is the count that the library started with, other code set it: it is a ceiling. From then on the count
    is read before each change; one that autotune did not set was set by other code and is left alone, until they
    restore ours, which an overlapping `threadpool_limits` does, or until we end and begin again.
    (Code that asks for the very count in force cannot be noticed.)
Scope of effect
    OpenBLAS with its own threads, BLIS and FlexiBLAS: the process. OpenBLAS on OpenMP, and MKL: the thread
    that enters the scope, sets, or refreshes.
Ownership
    threadpoolctl's is neither taken nor needed, see `blas_setters`.
"""

import os
import sys
from _thread import RLock, _local, get_ident  # threading takes a millisecond to load
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from autotune.controls import after_fork, blas_setters, thread_variables
from autotune.controls.blas_setters import Library
from autotune.controls.import_hooks import when_imported

if TYPE_CHECKING:
    from autotune.native._core import Switch

_BRINGS_BLAS = ("scipy.linalg._fblas",)
"""The first of SciPy's modules that is linked to its own BLAS; others are imported right after it."""


class BlasThreads:
    """The thread counts of one process's BLAS libraries. Any thread may call any method at any time."""

    def __init__(self, find: Callable[[], Iterable[Library]]) -> None:
        self._find = find
        # of the kind that its owner may take twice: a signal handler may enter a scope at any time
        self._lock = RLock()
        self._modules = -1
        self._libraries: tuple[Library, ...] = ()
        self._per_thread: tuple[Library, ...] = ()
        self._process = _Domain()
        self._thread = _local()
        self._base: int | None = None
        self._switches: tuple[tuple[Library, Switch], ...] = ()
        """Those in force, of NumPy's library first."""

    def loaded_libraries(self) -> tuple[Library, ...]:
        """Return the BLAS libraries loaded now, NumPy's first; empty if none can be found."""
        self.refresh()
        return self._libraries

    def current(self) -> int | None:
        """Count the threads that a BLAS call of this thread would use, the most of all libraries; None without any."""
        return max((library.threads for library in self.loaded_libraries()), default=None)

    def user_limit(self) -> int | None:
        """Return the most threads that the user's own variables allow NumPy's library; None if they set no limit."""
        library = next(iter(self.loaded_libraries()), None)
        if library is None:
            return thread_variables.user_limit(os.environ)
        return thread_variables.user_limit(os.environ, api=library.api, is_on_openmp=library.is_on_openmp)

    def set_threads(self, threads: int | None) -> int | None:
        """Set the count that holds while no scope is active; None restores the previous one.

        Process-wide, for the libraries loaded now; those loaded later take it at the next scope or `refresh`,
        SciPy's as soon as it is imported. Returns the count then in force: other code's limit, or an
        active scope, keeps it smaller. Raises ValueError for a count below 1.
        """
        _check_count(threads)
        after_fork.check()
        with self._lock:
            if threads is None and self._base is None:
                return max((library.threads for library in self._libraries), default=None)
            self._base = threads
            self._look()
            self._settle()
        if threads is not None:
            when_imported(_BRINGS_BLAS, self.refresh)
        return self.current()

    def limit(self, threads: int | None) -> "ThreadLimit":
        """Allow at most this many BLAS threads within a `with`. None leaves them as they are.

        Costs 2 to 5 us. Raises ValueError for a count below 1.
        """
        _check_count(threads)
        return ThreadLimit(self, threads)

    def refresh(self) -> None:
        """Set the current count in libraries that were loaded since, and in a new thread.

        Costs 0.1 us, and 0.1 to 0.6 ms after Python modules were imported.
        """
        after_fork.check()
        if len(sys.modules) != self._modules:
            with self._lock:
                if self._look():
                    self._settle()
        if self._per_thread:
            with self._lock:
                self._settle()

    def begin_switching(self, usable_cpus: int) -> tuple["Switch", int] | str:
        """Make a Switch for the calls into NumPy's library; return it, and the most threads that it may give a call.

        Another library's, or the user's, own count is a ceiling. Returns a sentence if calls cannot be switched.
        set_threads() is not to be called before end_switching().
        """
        after_fork.check()
        self.end_switching()
        with self._lock:
            if not self._libraries:  # NumPy's is among those that are known
                self._look()
            self._settle()
            library = next(iter(self._libraries), None)
            if library is None:
                return "no BLAS library was found whose threads could be set."
            return self._switch_for(library, usable_cpus)

    def switch_scipy_too(self, usable_cpus: int) -> tuple["Switch", int] | str:
        """Make one for the library that SciPy is linked to, while calls into NumPy's are switched: the same
        Switch if it is the same library.
        """
        with self._lock:
            self._look()
            self._settle()
            library = blas_setters.of_scipy(self._libraries) if self._switches else None
            if library is None:
                return "the BLAS library that SciPy calls is unknown."
            if not library.is_like(self._libraries[0]):
                return f"its {library} was not measured, but {self._libraries[0]}."
            return self._switch_for(library, usable_cpus)

    def end_switching(self) -> None:
        """Put back the counts at rest; no call changes them any more."""
        with self._lock:
            for _, switch in self._switches:
                switch.stop()
            self._switches = ()

    def enter(self, scope: "ThreadLimit", threads: int) -> None:
        after_fork.check()
        with self._lock:
            if len(sys.modules) != self._modules:
                self._look()
            self._process.scopes[scope] = threads
            if self._per_thread:
                scope.domain = self._here()
                scope.domain.scopes[scope] = threads
            self._settle()

    def leave(self, scope: "ThreadLimit") -> None:
        """Count a scope out.

        If another thread ends it than began it, the latter's own counts follow when it next comes here.
        """
        after_fork.check()
        with self._lock:
            self._process.scopes.pop(scope, None)
            if scope.domain is not None:
                scope.domain.scopes.pop(scope, None)
            self._settle()

    def _look(self) -> bool:
        """Add libraries that were loaded since the last call; True if there are any."""
        if self._modules < 0:
            after_fork.register(self.after_fork)
        self._modules = len(sys.modules)
        paths = {library.path for library in self._libraries}
        new = tuple(library for library in self._find() if library.path not in paths)
        self._libraries += new
        self._per_thread += tuple(library for library in new if library.per_thread)
        self._process.counts += [_Count(library) for library in new if not library.per_thread]
        return bool(new)

    def _switch_for(self, library: Library, usable_cpus: int) -> tuple["Switch", int] | str:
        """Return the Switch of this library, made if it has none, and the most threads that it may give a call."""
        from autotune.native import core

        native, addresses = core(), library.addresses
        if isinstance(native, str):
            return native
        if addresses is None:
            return f"{library} has no function for it that C could call."
        switch: Switch | None = next((made for owner, made in self._switches if owner is library), None)
        if switch is None:
            switch = native.Switch(
                *addresses, usable_cpus, per_thread=library.per_thread, returns_previous=library.returns_previous
            )
            self._switches += ((library, switch),)
            if not self._process.scopes:
                switch.come_back()
        ceiling = (self._here() if library.per_thread else self._process).ceiling(library)
        return switch, usable_cpus if ceiling is None else min(usable_cpus, ceiling)

    def _settle(self) -> None:
        if self._process.scopes:
            for _, switch in self._switches:
                switch.step_aside()
        self._process.settle(self._base)
        if not self._process.scopes:
            for _, switch in self._switches:
                switch.come_back()
        if self._per_thread:
            self._here().settle(self._base)

    def _here(self) -> "_Domain":
        """Return the counts of this thread alone."""
        try:
            domain: _Domain = self._thread.domain
        except AttributeError:
            domain = self._thread.domain = _Domain()
        domain.counts += map(_Count, self._per_thread[len(domain.counts) :])
        return domain

    def after_fork(self) -> None:
        """Reset in a forked child, which has only the thread that forked: the lock is free, other scopes are over."""
        self._lock = RLock()
        me = get_ident()
        self._process.scopes = {scope: n for scope, n in self._process.scopes.items() if scope.thread == me}
        for _, switch in self._switches:
            switch.forget()
        self._settle()


class ThreadLimit:
    """A scope of `limit`, for one `with`."""

    __slots__ = ("_of", "_threads", "domain", "thread")

    def __init__(self, of: BlasThreads, threads: int | None) -> None:
        self._of = of
        self._threads = threads
        self.domain: _Domain | None = None
        """Counts of the thread that entered; None if no library counts by thread."""
        self.thread = 0
        """The thread that entered."""

    def __enter__(self) -> None:
        if self._threads is not None:
            self.thread = get_ident()
            self._of.enter(self, self._threads)

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._of.leave(self)


class _Domain:
    """Counts that one set of scopes decides: those of the process, or those of one thread."""

    __slots__ = ("counts", "scopes")

    def __init__(self) -> None:
        self.counts: list[_Count] = []
        self.scopes: dict[ThreadLimit, int] = {}

    def ceiling(self, library: Library) -> int | None:
        return next(count for count in self.counts if count.library is library).ceiling()

    def settle(self, base: int | None) -> None:
        wanted = min(self.scopes.values()) if self.scopes else base
        for count in self.counts:
            count.settle(wanted)


class _Count:
    """The count of one library in one domain: autotune's, or other code's."""

    __slots__ = ("_before", "_own", "_undo", "_wanted", "library")

    def __init__(self, library: Library) -> None:
        self.library = library
        self._own: int | None = None
        """Count that autotune set and has not undone."""
        self._before = 0
        """Count before autotune's first change."""
        self._undo = 0
        """Value that restores it."""
        self._wanted: int | None = None

    def ceiling(self) -> int | None:
        """Return the most threads that other code allows; None if it set no limit."""
        now = self.library.get()
        return self.library.ceiling(self._before if self._own is not None and now == self._own else now)

    def settle(self, wanted: int | None) -> None:
        """Set what is wanted, as far as others allow; None undoes."""
        begins = self._wanted is None and wanted is not None
        self._wanted = wanted
        now = self.library.get()
        if self._own is not None and now != self._own:
            if not begins:
                return
            self._own = None
        if self._own is None:
            self._before = now
        ceiling = self.library.ceiling(self._before)
        target = self._before if wanted is None else wanted if ceiling is None else min(wanted, ceiling)
        if target == now:
            return
        if target == self._before:
            self.library.put(self._undo)
            self._own = None
            return
        previous = self.library.put(target)
        if self._own is None:
            self._undo = int(previous) if self.library.returns_previous else self._before  # type: ignore[call-overload]
        # a library may grow less than it was asked to: the wheels' OpenBLAS stops at 64
        self._own = target if target < self._before else self.library.get()


def _check_count(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise ValueError(f"BLAS needs at least one thread, not {threads}.")


_threads = BlasThreads(blas_setters.find)

loaded_libraries = _threads.loaded_libraries
current = _threads.current
user_limit = _threads.user_limit
set_threads = _threads.set_threads
limit = _threads.limit
refresh = _threads.refresh
begin_switching = _threads.begin_switching
end_switching = _threads.end_switching
switch_scipy_too = _threads.switch_scipy_too
