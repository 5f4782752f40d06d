"""A probe of how much parallel work the CPUs deliver at this moment.

On virtual machines the hypervisor takes CPUs away for seconds, and no counter of the guest shows it: two spinning
threads reach between 0.97 and 2.07 times the work of one. So threads spin for a few milliseconds next to the pairs.
They spin inside OpenSSL's PBKDF2, which holds no GIL and touches no memory, so that caches stay as they are.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

PROBE_SECONDS = 0.003
"""A time slice of the kernel's scheduler is about as long: shorter probes miss a CPU that is shared."""

LARGEST_COST = 0.1
"""Share of the time that probes may take: where many threads make a probe long, there are fewer of them."""

UNIT_SECONDS = 100e-6
"""Of one call. A probe ends up to one call late."""

GIL_SECONDS = 10e-6
"""Of Python code around a call, during which the other threads wait: calls last this long for each thread."""

SETTLING_PROBES = 3
"""Before the first that counts: the threads are started, and the rate of one is learned."""

PROBES_OF_A_RATE = 8
"""After so many probes the rate of one thread is measured again: it may have been slowed down so far."""


class CapacityProbe:
    """Spinning threads for all CPUs of the allocation, which sleep between probes.

    Scope of effect: `cpus` - 1 threads of this process, from `settle` until it ends or `close`.
    """

    def __init__(self, cpus: int) -> None:
        self._cpus = cpus
        self._spin = _spinner()
        self._iterations = 100
        self._alone = 0.0
        """Calls a second of one thread, the best seen."""
        self._count = 0
        self._threads: list[_SpinningThread] = []
        self._last = float("-inf")
        self._cost = 0.0
        self.best: float | None = None
        """The highest capacity that was probed."""

    def settle(self) -> None:
        """Start the threads, choose how long a call is, and learn the rate of one thread."""
        if self._spin is None or self._cpus < 2 or self._threads:
            return
        unit = max(UNIT_SECONDS, GIL_SECONDS * self._cpus)
        while (took := _seconds(self._spin, self._iterations)) < unit:
            self._iterations = max(
                self._iterations + 1, int(self._iterations * min(10.0, 1.2 * unit / max(took, 1e-7)))
            )
        with suppress(RuntimeError):  # no thread can be started: the probe is left out
            self._threads = [_SpinningThread(self._spin, self._iterations) for _ in range(self._cpus - 1)]
        for _ in range(SETTLING_PROBES):
            self._probe()
        self.best = None

    @property
    def due(self) -> bool:
        """May another probe be made at this moment, by what it costs?"""
        return bool(self._threads) and perf_counter() - self._last >= self._cost / LARGEST_COST

    def probe(self) -> float | None:
        """Parallel work delivered now, in units of one CPU's work; None without threads."""
        if not self._threads or self._spin is None:
            return None
        began = perf_counter()
        capacity = self._probe()
        self._last = perf_counter()
        self._cost = self._last - began
        self.best = capacity if self.best is None else max(self.best, capacity)
        return capacity

    def close(self) -> None:
        """End the threads."""
        for thread in self._threads:
            thread.close()
        self._threads.clear()

    def _probe(self) -> float:
        assert self._spin is not None
        if self._count < SETTLING_PROBES or self._count % PROBES_OF_A_RATE == 0:
            alone = _rate(self._spin, self._iterations, perf_counter(), PROBE_SECONDS / 2)
            self._alone = max(self._alone, alone)
        self._count += 1
        length = max(PROBE_SECONDS, 4 / self._alone)
        begin = perf_counter()
        for thread in self._threads:
            thread.begin(begin, length)
        together = _rate(self._spin, self._iterations, begin, length)
        together += sum(thread.result() for thread in self._threads)
        return together / self._alone


class _SpinningThread:
    """A thread that sleeps until it is told to spin."""

    def __init__(self, spin: Callable[[int], object], iterations: int) -> None:
        self._spin = spin
        self._iterations = iterations
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._span: tuple[float, float] | None = None
        self._rate = 0.0
        self._thread = threading.Thread(target=self._run, name="capacity probe", daemon=True)
        self._thread.start()

    def begin(self, begin: float, length: float) -> None:
        """Spin until `length` seconds after `begin`."""
        self._span = begin, length
        self._go.release()

    def result(self) -> float:
        """Calls a second, once the thread has spun."""
        self._done.acquire()
        return self._rate

    def close(self) -> None:
        self._span = None
        self._go.release()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            if self._span is None:
                return
            self._rate = _rate(self._spin, self._iterations, *self._span)
            self._done.release()


def _rate(spin: Callable[[int], object], iterations: int, begin: float, length: float) -> float:
    """Calls a second since `begin`; a thread that began late has done less."""
    calls, end = 0, begin + length
    while (now := perf_counter()) < end:
        spin(iterations)
        calls += 1
    return calls / (now - begin)


def _seconds(spin: Callable[[int], object], iterations: int) -> float:
    begin = perf_counter()
    spin(iterations)
    return perf_counter() - begin


def _spinner() -> Callable[[int], object] | None:
    """A function that computes without the GIL for so many iterations; None where Python has no OpenSSL."""
    try:
        from hashlib import pbkdf2_hmac
    except ImportError:
        return None
    return lambda iterations: pbkdf2_hmac("sha256", b"capacity", b"probe", iterations)
