"""Load of the computer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.namespaces import unshared
from support.programs import printed

from autotune.host.pressure import Load, read, read_own
from autotune.host.usable_cpus import schedulable_cpus

STAT = "proc/stat: cpu  100 20 30 1000 50 6 4 7 90 0\\ncpu0 1 2 3 4\n"
PROCESS = "({name}) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} {reaped} 0 20 0 1 0 0"


def process(number, *, user=0, system=0, reaped=0, name="python", children="", left=0):
    stat = PROCESS.format(name=name, user=user, system=system, reaped=reaped)
    task = f"proc/{number}/task/{number}"
    return (
        f"proc/{number}/stat: {number} {stat}\n{task}/children: {children}\n"
        f"{task}/status: Name: x\\nvoluntary_ctxt_switches:\\t9\\nnonvoluntary_ctxt_switches:\\t{left}\n"
    )


def test_ticks_are_hundredths_of_seconds_and_guests_are_not_counted_twice(tree):
    load = read(tree(STAT), pid=1)
    assert load.busy_seconds == pytest.approx(1.6)
    assert load.stolen_seconds == 0.07


def test_foreign_load_is_counted_on_the_cpus_that_are_asked_for(tree):
    root = tree(
        "proc/stat: cpu  900 0 0 0 0 0 0 9 0 0\\ncpu1 100 0 20 7 7 0 0 1 0 0\\n"
        "cpu2 30 0 0 7 7 0 0 2 0 0\\ncpu11 700 0 0 0 0 0 0 6 0 0"
    )
    load = read(root, pid=1, cpus={1, 2})
    assert (load.busy_seconds, load.stolen_seconds) == (1.5, 0.03)


@pytest.mark.parametrize("cpus", [{5}, {1, 8}])
def test_where_the_cpus_are_not_listed_the_load_of_all_is_better_than_none(tree, cpus):
    """lxcfs lists cpu0 and cpu1 in a container whose affinity mask says 8 and 9."""
    root = tree("proc/stat: cpu  900 0 0 0 0 0 0 9 0 0\ncpu0 100 0 20 7 7 0 0 1 0 0\ncpu1 30 0 0 7 7 0 0 2 0 0")
    load = read(root, pid=1, cpus=cpus)
    assert (load.busy_seconds, load.stolen_seconds) == (9.0, 0.09)


def test_waiting_is_the_total_of_tasks_that_wanted_a_cpu(tree):
    root = tree("proc/pressure/cpu: some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\\nfull avg10=0 total=1")
    assert read(root, pid=1).waiting_seconds == 2.5


def test_descendants_are_ones_own(tree):
    root = tree(
        STAT
        + process(5, user=10, system=5, reaped=1, children="6 7", left=2)
        + process(6, user=20, name="a) b (c", children="8")
        + process(8, user=30, left=3)
        + process(9, user=4000)
    )
    load = read(root, pid=5)
    assert load.own_seconds == pytest.approx(0.66)
    assert load.own_preemptions == 5
    assert load.foreign_seconds == pytest.approx(1.6 - 0.66)


def test_what_is_not_there_is_none(tree):
    assert read(tree("other: 1"), pid=1) == Load()
    assert Load().foreign_seconds is None


@pytest.mark.parametrize("stat", ["cpu", "cpu a b c d", "cpu  1 2 3", "", "cpux 1 2 3 4"])
def test_a_broken_stat_is_none(tree, stat):
    load = read(tree(f"proc/stat: {stat}"), pid=1)
    assert (load.busy_seconds, load.stolen_seconds) == (None, None)


def test_a_kernel_that_knows_no_stolen_time_says_none(tree):
    load = read(tree("proc/stat: cpu 100 0 0 50"), pid=1)
    assert (load.busy_seconds, load.stolen_seconds) == (1.0, None)


def test_processes_that_name_each_other_as_children_end(tree):
    assert read(tree(process(5, user=1, children="6") + process(6, user=1, children="5")), pid=5).own_seconds == 0.02


@pytest.mark.parametrize("word", ["²", "٣", "--6", "6-", "9" * 5000])
def test_what_only_looks_like_a_number_is_none(word, tree):
    root = tree(process(5, user=1, children=word) + process(7, user=word))
    assert read(root, pid=5).own_seconds == 0.01
    assert read(root, pid=7).own_seconds is None


@pytest.mark.real
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no /proc")
def test_the_work_of_a_child_counts_as_ones_own():
    before = read()
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        during = read()
        alone = read(pid=child.pid)
    finally:
        child.kill()
        child.wait()
    assert alone.own_seconds is not None
    assert alone.own_seconds >= 0.25
    if Path(f"/proc/self/task/{os.getpid()}/children").exists():
        assert during.own_seconds - before.own_seconds >= 0.25


@pytest.mark.real
@pytest.mark.skipif(schedulable_cpus() < 2, reason="needs two CPUs")
def test_a_container_with_renumbered_cpus_still_sees_load(tmp_path):
    (tmp_path / "stat").write_text(
        "".join(line for line in Path("/proc/stat").read_text().splitlines(True) if not line.startswith("cpu1 "))
    )
    code = """
        import os
        os.sched_setaffinity(0, {1})
        from autotune.host import pressure
        from autotune.host.usable_cpus import affinity
        load = pressure.read(cpus=affinity())
        print(load.busy_seconds is not None)
    """
    command = unshared("--mount", setup=f"mount --bind {tmp_path}/stat /proc/stat")
    assert printed(code, command=command) == "True\n"


def test_ones_own_waiting_is_the_sum_over_threads(tree):
    root = tree(
        "proc/self/task/7/schedstat: 900 1500000000 3\nproc/self/task/8/schedstat: 900 500000000 3\n"
        "proc/pressure/cpu: some avg10=0.00 avg60=0.00 avg300=0.00 total=9000000"
    )
    assert read_own(root).waiting_seconds == 2.0


@pytest.mark.parametrize("text", ["", "1 2", "1 x 3", "-"])
def test_where_threads_do_not_say_how_long_they_waited_that_of_all_tasks_counts(tree, text):
    root = tree(
        f"proc/self/task/7/schedstat: {text}\nproc/pressure/cpu: some avg10=0.00 avg60=0.00 avg300=0.00 total=9000000"
    )
    assert read_own(root).waiting_seconds == 9.0


def test_of_many_threads_the_waiting_of_all_tasks_is_read(tree):
    threads = "".join(f"proc/self/task/{number}/schedstat: 1 1000000000 1\n" for number in range(17))
    root = tree(threads + "proc/pressure/cpu: some avg10=0.00 avg60=0.00 avg300=0.00 total=9000000")
    assert read_own(root).waiting_seconds == 9.0


@pytest.mark.real
def test_ones_own_cpu_time_is_that_of_the_process():
    before = read_own().own_seconds
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.15 <= read_own().own_seconds - before <= 10.0
