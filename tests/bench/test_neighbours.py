"""Busy processes beside the trials."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from autotune.bench.neighbours import neighbours

pytestmark = pytest.mark.real


def test_neighbours_use_the_cpu_in_groups_of_their_own_and_are_gone_afterwards():
    with neighbours(2) as pids:
        processes = [psutil.Process(pid) for pid in pids]
        _wait(lambda: all(process.cpu_times().user > 0.05 for process in processes))
        assert {os.getpgid(pid) for pid in pids} == set(pids)

    assert not any(map(psutil.pid_exists, pids))


def test_none_are_none():
    with neighbours(0) as pids:
        assert pids == ()


def test_neighbours_are_gone_after_an_exception():
    with pytest.raises(KeyboardInterrupt), neighbours(1) as pids:
        raise KeyboardInterrupt

    assert not psutil.pid_exists(pids[0])


HOST = """
import sys, time
from autotune.bench.neighbours import neighbours
with neighbours(1) as pids:
    print(*pids, flush=True)
    time.sleep(600)
"""


def test_neighbours_end_with_a_parent_that_was_killed():
    with subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)

    _wait(lambda: not _runs(pid))


def _runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
