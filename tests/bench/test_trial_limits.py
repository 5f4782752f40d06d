"""Limits of a trial process."""

import subprocess
import sys

import pytest

from autotune.bench.trial_server import data_bytes

CONFINED = """
import resource
from autotune.bench import trial_server as limits
limits.confine(limits.data_bytes(2**28, 1))
print(resource.getrlimit(resource.RLIMIT_CORE)[0], resource.getrlimit(resource.RLIMIT_DATA)[0])
limits.confine(2**60)
print(resource.getrlimit(resource.RLIMIT_DATA)[0])
"""


def test_the_limit_leaves_four_times_the_workloads_share():
    assert data_bytes(2**30, threads=2) == 2**30 + 2 * 256 * 2**20 + 4 * 2**30


def test_unknown_memory_sets_no_limit():
    assert data_bytes(None, threads=2) is None


@pytest.mark.real
def test_limits_hold_in_the_process_that_sets_them_and_never_grow():
    printed = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True).stdout

    expected = data_bytes(2**28, 1)
    assert printed.split() == ["0", str(expected), str(expected)]


RESERVE = """
import mmap, resource
MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h; Python has a name for it from 3.14 on
from autotune.bench import trial_server as limits
limits.confine(limits.data_bytes(2**28, 1))
reserved = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, prot=mmap.PROT_READ)
print(len(reserved) == 1 << 40)
try:
    bytearray(1 << 36)
except MemoryError:
    print("too much")
"""


@pytest.mark.real
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts so on Linux")
def test_a_runtime_may_reserve_addresses_but_not_take_the_memory():
    """CUDA, the JVM and WebAssembly reserve many times the machine's memory, and write to little of it."""
    printed = subprocess.run([sys.executable, "-c", RESERVE], capture_output=True, text=True, check=True)
    assert printed.stdout.split("\n")[:2] == ["True", "too much"]
