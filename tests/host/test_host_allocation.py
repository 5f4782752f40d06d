"""How many CPUs this process may keep busy: affinity, quota, cap and sharers."""

import os

import pytest
from support.programs import printed

from autotune.host import cgroup, shares, usable_cpus
from autotune.host.detect import detect
from autotune.model.allocation import Limit, allocate

OURS = (shares.CAP, shares.PROCESSES, *shares.LOCAL_PROCESSES)


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    for name in OURS:
        monkeypatch.delenv(name, raising=False)


def test_a_quota_of_half_a_cpu_allows_one_thread():
    assert allocate(allowed_cpus=4, online_cpus=4, quota_cpus=0.5) == (1, Limit.QUOTA)


def test_a_quota_is_rounded_up():
    assert allocate(allowed_cpus=4, online_cpus=4, quota_cpus=2.1) == (3, Limit.QUOTA)


def test_the_tightest_limit_names_it():
    assert allocate(allowed_cpus=6, online_cpus=8, quota_cpus=5.0, cap=4) == (4, Limit.CAP)
    assert allocate(allowed_cpus=6, online_cpus=8, quota_cpus=7.5, cap=40) == (6, Limit.AFFINITY)


def test_more_processes_than_cpus_leave_one_each():
    assert allocate(allowed_cpus=2, online_cpus=2, processes=7) == (1, Limit.SHARED)


def shared(environ, *, affinity=8, host=8):
    return shares.processes(environ, affinity_cpus=affinity, host_cpus=host)


@pytest.mark.parametrize("name", shares.LOCAL_PROCESSES)
def test_a_launchers_count_divides(name):
    assert shared({name: "4"}) == 4


def test_the_users_count_is_believed_before_a_launchers():
    assert shared({"AUTOTUNE_PROCESSES": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "8"}) == 2


def test_ranks_with_cpus_of_their_own_do_not_share():
    assert shared({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, affinity=2) == 1


def test_ranks_bound_to_overlapping_cpus_share():
    assert shared({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, affinity=4) == 4


def test_ranks_that_share_a_jobs_cpuset_share():
    """The job was given 8 of the computer's 64 CPUs, and each of its ranks may use all 8."""
    assert shared({"SLURM_STEP_TASKS_PER_NODE": "4"}, affinity=8, host=8) == 4


def test_web_workers_share_whatever_the_affinity_of_the_server():
    assert shared({"WEB_CONCURRENCY": "3"}, affinity=2) == 3


@pytest.mark.parametrize(("node", "tasks"), [("0", 4), ("1", 4), ("2", 1), ("3", 1), ("", 4)])
def test_slurms_list_is_read_for_the_own_node(node, tasks):
    assert shared({"SLURM_STEP_TASKS_PER_NODE": "4(x2),1", "SLURM_NODEID": node}) == tasks


@pytest.mark.parametrize("value", ["abc", "0", "-3", "1.5", "", "1e3", "99999999999"])
def test_what_is_no_count_is_ignored(value):
    environ = {"AUTOTUNE_CPUS": value, "AUTOTUNE_PROCESSES": value, "WEB_CONCURRENCY": value}
    assert shares.cap(environ) is None
    assert shared(environ) == 1


def test_what_is_no_count_is_named_but_an_empty_one_is_unset():
    assert shares.invalid({"AUTOTUNE_CPUS": "abc", "AUTOTUNE_PROCESSES": "0"}) == (
        "AUTOTUNE_CPUS",
        "AUTOTUNE_PROCESSES",
    )
    assert shares.invalid({"AUTOTUNE_CPUS": "", "AUTOTUNE_PROCESSES": "2"}) == ()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AUTOTUNE_CPUS": "1"},
        {"AUTOTUNE_PROCESSES": "2"},
        {"WEB_CONCURRENCY": "2"},
        {"AUTOTUNE_CPUS": "x"},
    ],
)
def test_the_short_way_gives_the_same_answer(environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    _, whole = detect()
    assert usable_cpus.usable_cpus() == (whole.usable_cpus, whole.limit)


def test_the_callers_count_of_processes_wins(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_PROCESSES", "1")
    online = usable_cpus.online_cpus()
    usable, limit = usable_cpus.usable_cpus(processes=online * 2)
    assert (usable, limit) == (1, Limit.SHARED)
    assert detect(processes=online * 2)[1].usable_cpus == 1


def test_a_quota_binds_this_process(monkeypatch):
    monkeypatch.setattr(cgroup, "quota", lambda folders: 0.5)
    assert usable_cpus.usable_cpus()[0] == 1


def test_a_system_without_affinity_counts_the_cpus_that_are_on(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cgroup, "quota", lambda folders: None)
    assert usable_cpus.affinity() is None
    assert usable_cpus.usable_cpus() == (usable_cpus.online_cpus(), Limit.NONE)


def test_python_cpu_count_does_not_change_the_number_of_cpus(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 77)
    assert usable_cpus.online_cpus() != 77 or not hasattr(os, "sysconf")


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity cannot be set here")
def test_a_pinned_process_may_use_one_cpu():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from autotune.host.usable_cpus import usable_cpus; from autotune.host.detect import detect;"
        "print(usable_cpus()[0], detect()[1].affinity_cpus, detect()[1].counts.logical_cpus)"
    )
    assert printed(code).split() == ["1", "1", "1"]


@pytest.mark.real
def test_the_short_way_loads_nothing_heavy():
    code = (
        "import sys; from autotune.host.usable_cpus import usable_cpus; usable_cpus();"
        "print([name for name in ('numpy', 'yaml', 'threadpoolctl', 'json', 'hashlib', 'dataclasses')"
        " if name in sys.modules])"
    )
    assert printed(code).strip() == "[]"
