"""Machines and work that are out of the ordinary: each ends with timings, or with a reason why there are none."""

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from support.behaving_work import behaving, case_of

import autotune.bench
from autotune.bench.process_bench import ProcessBench
from autotune.model.catalogue import operation
from autotune.model.configuration import Configuration
from autotune.model.measurement import Case, FailureKind, TrialPlan

GROUPS = Path("/sys/fs/cgroup/cpu")
TWO = Configuration(workers=2)
LOG = Case(operation=operation("log", n=100_000), configurations=(Configuration(workers=2, chunk=50_000),))


@pytest.mark.real
def test_a_candidate_that_crashes_in_its_fourth_process_fails_there_and_the_default_does_not(tmp_path):
    environ = {**os.environ, "AUTOTUNE_TEST_LOG": str(tmp_path / "log")}
    bench = ProcessBench(workloads=behaving("crashing_late"), environ=environ)

    sessions = [
        bench.run(TrialPlan(cases=(case_of("crashing_late", TWO),), rounds=1, seed=seed, seconds=0.0))
        for seed in range(4)
    ]

    failures = [session.measurements[1].failure for session in sessions]
    assert failures[:3] == [None, None, None]
    assert failures[3].kind is FailureKind.CRASH
    assert all(session.measurements[0].seconds for session in sessions)


@pytest.mark.real
def test_a_machine_that_sleeps_in_the_middle_goes_on_where_it_was():
    bench = ProcessBench()

    def sleep():
        time.sleep(1.5)
        for process in psutil.Process().children(recursive=True):
            process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        for process in psutil.Process().children(recursive=True):
            process.send_signal(signal.SIGCONT)

    night = threading.Thread(target=sleep)
    night.start()
    session = bench.run(TrialPlan(cases=(LOG,), rounds=2000, seconds=4.0))
    night.join()

    assert [trial.failure for trial in session.measurements] == [None, None]
    assert session.measurements[1].pairs


@pytest.mark.real
def test_on_one_cpu_nothing_is_probed_and_everything_is_measured():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("the system has no CPU affinity to set")
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        session = ProcessBench().run(TrialPlan(cases=(LOG,), rounds=2))
    finally:
        os.sched_setaffinity(0, cpus)

    assert session.best_capacity is None
    assert [pair.capacity for pair in session.measurements[1].pairs] == [None] * len(session.measurements[1].pairs)
    assert session.measurements[1].pairs


HALF = """
from autotune.bench.process_bench import ProcessBench
from autotune.model.catalogue import operation
from autotune.model.configuration import Configuration
from autotune.model.measurement import Case, TrialPlan
case = Case(operation=operation("log", n=100_000), configurations=(Configuration(workers=2, chunk=50_000),))
session = ProcessBench().run(TrialPlan(cases=(case,), rounds=4, seconds=20.0))
print(session.best_capacity, *(len(one.seconds) for one in session.measurements))
"""


@pytest.mark.real
def test_a_quota_of_half_a_cpu_is_no_interference_of_others():
    """Its own throttling makes threads wait, which must not be held against others."""
    group = GROUPS / "autotune-test"
    try:
        group.mkdir(exist_ok=True)
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError:
        pytest.skip("control groups cannot be made here")
    try:
        join = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))\n"
        done = subprocess.run(
            [sys.executable, "-c", join + HALF],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    finally:
        _remove(group)

    best, default, candidate = done.stdout.split()
    assert best == "None"
    assert int(default) >= 4
    assert int(candidate) >= 4


def _remove(group):
    deadline = time.monotonic() + 30
    while group.exists() and time.monotonic() < deadline:
        try:
            group.rmdir()
        except OSError:  # its last processes are ending
            time.sleep(0.1)


@pytest.mark.parametrize("file", sorted(Path(autotune.bench.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_a_clock_that_jumps_is_never_looked_at(file):
    """Intervals come from the monotonic clocks; the wall clock may be set while they pass."""
    tree = ast.parse(file.read_text("utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    assert not imported & {"time", "time_ns"}
    assert not names & {"now", "utcnow", "today"}
