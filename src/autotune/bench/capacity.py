"""Probe of capacity: the parallel work that the CPUs deliver at this moment.

On virtual machines the hypervisor takes CPUs away for seconds, and no counter of the guest shows it: two spinning
threads reach between 0.97 and 2.07 times the work of one. So threads spin for a few milliseconds next to the pairs.
They spin inside OpenSSL's PBKDF2, which holds no GIL and touches no memory, so that caches stay as they are.

One thread spins alone just before and just after them. Its rate is no constant of the machine: on a virtual machine
whose two CPUs share a core with other guests it was seen at 1.5 and at 2.9 million iterations a second, for seconds
each, and where it was fast two threads were little faster. Against the best rate ever seen the capacity and the true
speed-up of two workers had a rank correlation of -0.65; against the rate at that moment, of +0.69.
"""

from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import perf_counter

Spin = Callable[[int], object]
Task = tuple[int, float, float]
"""Iterations of each call, when the spinning began, and for how many seconds."""

PROBE_SECONDS = 0.003
"""A time slice of the kernel's scheduler is about as long: shorter probes miss a CPU that is shared."""
LARGEST_COST = 0.1
"""Share of the time that probes may take: where many threads make a probe long, there are fewer of them."""
UNIT_SECONDS = 100e-6
"""Length of one call. A probe ends up to one call late."""
GIL_SECONDS = 10e-6
"""Time of the Python code around a call, which holds the GIL. A call lasts this long for each of the threads."""
ALONE_SECONDS = 0.001
"""Duration for which one thread spins alone before the others join it, and again after them."""


class CapacityProbe:
    """Spinning threads on all CPUs of the allocation, which sleep between probes.

    Scope of effect: `cpus` - 1 threads of this process, from `settle` until it ends or `close`. Below two CPUs nothing
    is probed.
    """

    def __init__(self, cpus: int, spin_rate: float | None = None) -> None:
        self._cpus = cpus
        self._spin = _spinner()
        self.spin_rate = spin_rate
        """Iterations a second of one thread, as an earlier process saw them or this one. They set the length of a call
        only."""
        self._threads: dict[Thread, SimpleQueue[Task | None]] = {}
        """With the queue of the tasks of each."""
        self._rates: SimpleQueue[float] = SimpleQueue()
        """That they have reached."""
        self._last = float("-inf")
        self._cost = 0.0

    def settle(self) -> None:
        """Start the threads, and learn the length of a call where no earlier process did."""
        if self._spin is None or self._cpus < 2 or self._threads:
            return
        if self.spin_rate is None:
            self.spin_rate = _first_rate(self._spin)
        with suppress(RuntimeError):  # no thread can be started: the probe is left out
            self._threads = dict(self._start_thread(self._spin) for _ in range(self._cpus - 1))

    def _start_thread(self, spin: Spin) -> "tuple[Thread, SimpleQueue[Task | None]]":
        tasks: SimpleQueue[Task | None] = SimpleQueue()
        thread = Thread(target=_spin_on_demand, args=(spin, tasks, self._rates), name="capacity probe", daemon=True)
        thread.start()
        return thread, tasks

    @property
    def due(self) -> bool:
        """Whether another probe may be made now: its cost is small against the time since the last one."""
        return bool(self._threads) and perf_counter() - self._last >= self._cost / LARGEST_COST

    def probe(self) -> float | None:
        """Measure the parallel work delivered now, in units of one CPU's work; None without threads."""
        if not self._threads or self._spin is None or self.spin_rate is None:
            return None
        began = perf_counter()
        capacity = self._probe(self._spin, self.spin_rate)
        self._last = perf_counter()
        self._cost = self._last - began
        return capacity

    def close(self) -> None:
        """End the threads."""
        for thread, tasks in self._threads.items():
            tasks.put(None)
            thread.join()
        self._threads.clear()

    def _probe(self, spin: Spin, rate: float) -> float:
        unit = max(UNIT_SECONDS, GIL_SECONDS * self._cpus)
        iterations = max(1, int(unit * rate))
        before = _spin_until(spin, iterations, perf_counter(), ALONE_SECONDS)
        task = iterations, perf_counter(), max(PROBE_SECONDS, 4 * unit)
        for tasks in self._threads.values():
            tasks.put(task)
        together = _spin_until(spin, *task) + sum(self._rates.get() for _ in self._threads)
        after = _spin_until(spin, iterations, perf_counter(), ALONE_SECONDS)
        # a burst that hits one of them must not look like capacity
        alone = self.spin_rate = max(before, after)
        return together / alone


def _spin_on_demand(spin: Spin, tasks: "SimpleQueue[Task | None]", rates: "SimpleQueue[float]") -> None:
    """Spin as each task says, and sleep in between; None ends it."""
    while (task := tasks.get()) is not None:
        rates.put(_spin_until(spin, *task))


def _spin_until(spin: Spin, iterations: int, begin: float, length: float) -> float:
    """Spin from now on; return the iterations a second since `begin`. A thread that began late has done less."""
    calls, end = 0, begin + length
    while (now := perf_counter()) < end:
        spin(iterations)
        calls += 1
    return calls * iterations / (now - begin)


def _first_rate(spin: Spin) -> float:
    """Measure the rate of one thread with calls of growing length.

    The first call of a process loads the digest, which takes as long as thousands of iterations: counted as a rate, it
    would make calls so short that the threads only wait for the GIL.
    """
    spin(1)
    iterations, took = 10, 0.0
    while took < UNIT_SECONDS:
        iterations *= 2
        begin = perf_counter()
        spin(iterations)
        took = perf_counter() - begin
    return iterations / took


def _spinner() -> Spin | None:
    """Return a function that computes a number of iterations without the GIL; None where Python has no OpenSSL."""
    try:
        from hashlib import pbkdf2_hmac
    except ImportError:
        return None
    return lambda iterations: pbkdf2_hmac("sha256", b"capacity", b"probe", iterations)
