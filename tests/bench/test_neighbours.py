"""Busy processes next to the trials."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from support.fake_bench import FakeBench
from support.processes import gone, wait_until

from autotune.bench.neighbours import Accompanied, neighbours
from autotune.model.measurement import Session, TrialPlan

pytestmark = pytest.mark.real


def test_neighbours_use_the_cpu_in_groups_of_their_own_and_are_gone_afterwards():
    with neighbours(2) as pids:
        processes = [psutil.Process(pid) for pid in pids]
        wait_until(lambda: all(process.cpu_times().user > 0.05 for process in processes))
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

    assert gone([pid])


class Watching:
    """A bench that only waits until a process is, or is not, stopped."""

    def __init__(self, pid):
        self.process = psutil.Process(pid)

    def run(self, plan):
        wait_until(lambda: (self.process.status() == psutil.STATUS_STOPPED) is plan.quiet)
        return Session(measurements=(), wall_seconds=0.0)


def test_neighbours_rest_while_a_plan_asks_for_quiet_and_go_on_afterwards():
    with neighbours(1) as pids:
        bench = Accompanied(Watching(*pids), pids)
        bench.run(TrialPlan(cases=(), rounds=1, quiet=True))
        bench.run(TrialPlan(cases=(), rounds=1))


def test_a_neighbour_that_is_gone_is_taken_for_resting():
    with neighbours(1) as pids:
        psutil.Process(*pids).kill()
        assert gone(pids)
        bench = FakeBench(lambda operation, configuration, luck: 0.01)
        Accompanied(bench, pids).run(TrialPlan(cases=(), rounds=1, quiet=True))
        assert len(bench.plans) == 1
