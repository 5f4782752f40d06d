"""What a trial process may take, and how much of what it prints is kept."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.bench import resource_limits
from autotune.bench.trial_process import LARGEST_OUTPUT, PrintedText

CONFINED = """
import resource
from autotune.bench import resource_limits as limits
limits.confine(address_space=limits.address_space(2**28, 1), cpus={cpus})
print(resource.getrlimit(resource.RLIMIT_CORE)[0], resource.getrlimit(resource.RLIMIT_AS)[0])
limits.confine(address_space=2**60)
print(resource.getrlimit(resource.RLIMIT_AS)[0])
"""


def test_the_address_space_leaves_four_times_the_workloads_share():
    assert resource_limits.address_space(2**30, threads=2) == 2**30 + 2 * 256 * 2**20 + 4 * 2**30


def test_unknown_memory_sets_no_limit():
    assert resource_limits.address_space(None, threads=2) is None


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no CPU affinity to set")
def test_limits_hold_in_the_process_that_sets_them_and_never_grow():
    code = CONFINED.replace("{cpus}", str(set(list(os.sched_getaffinity(0))[:1])))

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    expected = resource_limits.address_space(2**28, 1)
    assert printed.split() == ["0", str(expected), str(expected)]


@given(st.lists(st.binary(max_size=3000), max_size=12))
def test_of_what_is_printed_the_beginning_and_the_end_are_kept(parts):
    output = PrintedText()
    for part in parts:
        output.add(part)

    text = b"".join(parts)
    short = text if len(text) <= 2 * LARGEST_OUTPUT else text[:LARGEST_OUTPUT] + text[-LARGEST_OUTPUT:]
    assert output.take() == short.decode(errors="replace")
    assert output.take() == ""
