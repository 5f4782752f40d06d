"""`autotune nproc`, a drop-in for nproc."""

import json

import pytest
from click.testing import CliRunner

from autotune.cli.nproc import nproc


@pytest.fixture
def printed(monkeypatch):
    """Return what `nproc` prints where four CPUs are usable of eight, with variables and options."""
    monkeypatch.setattr("autotune.cli.nproc.usable_cpus", lambda: (4, "affinity"))
    monkeypatch.setattr("autotune.cli.nproc.online_cpus", lambda: 8)
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    return lambda *options, **variables: CliRunner().invoke(nproc, options, env=variables).stdout


@pytest.mark.parametrize(
    ("options", "variables", "count"),
    [
        ([], {}, 4),
        (["--all"], {"OMP_NUM_THREADS": "3"}, 8),
        (["--ignore", "1"], {}, 3),
        (["--ignore", "9"], {}, 1),
        ([], {"OMP_NUM_THREADS": "3"}, 3),
        ([], {"OMP_NUM_THREADS": "9"}, 4),
        ([], {"OMP_NUM_THREADS": "3,2", "OMP_THREAD_LIMIT": "2"}, 2),
        ([], {"OMP_NUM_THREADS": "many"}, 4),
    ],
)
def test_the_count_is_that_of_nproc_with_every_limit_counted(printed, options, variables, count):
    assert printed(*options, **variables) == f"{count}\n"


def test_why_names_each_limit_and_ends_with_the_count(printed):
    *limits, count = printed("--why", OMP_NUM_THREADS="3").splitlines()
    assert count == "3"
    assert [limit for limit in limits if "decides" in limit] == [
        "OpenMP threads: 3 (OMP_NUM_THREADS, OMP_THREAD_LIMIT) <- decides"
    ]
    assert any(limit.startswith("CPU quota") for limit in limits)


@pytest.mark.parametrize(
    ("variables", "quota", "deciding"),
    [
        ({}, None, "CPUs that are switched on: 8 (/sys/devices/system/cpu/online) "),
        ({}, 1.5, "CPU quota: 1.5, rounded up to 2 (/sys/fs/cgroup/box) "),
        ({"AUTOTUNE_CPUS": "3"}, 4.0, "cap of the job or container: 3 (AUTOTUNE_CPUS=3) "),
        ({"AUTOTUNE_PROCESSES": "4"}, None, "processes that share the CPUs: 4 (AUTOTUNE_PROCESSES=4) "),
        ({"AUTOTUNE_CPUS": "5", "SLURM_CPUS_PER_TASK": "2"}, None, "CPUs of this task: 2 (SLURM_CPUS_PER_TASK=2) "),
    ],
)
def test_why_marks_the_limit_that_decides(monkeypatch, variables, quota, deciding):
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "AUTOTUNE_CPUS", "AUTOTUNE_PROCESSES", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for module in ("usable_cpus", "limit_sources"):
        monkeypatch.setattr(f"autotune.host.{module}.online_cpus", lambda: 8)
        monkeypatch.setattr(f"autotune.host.{module}.affinity", lambda: frozenset(range(8)))
    monkeypatch.setattr("autotune.host.cgroup.folders", lambda: {"cpu": [["/sys/fs/cgroup/box"]], "cpuset": []})
    monkeypatch.setattr("autotune.host.cgroup.quota", lambda _: quota)
    *limits, _ = CliRunner().invoke(nproc, ["--why"], env=variables).stdout.splitlines()
    assert [limit for limit in limits if "decides" in limit] == [f"{deciding}<- decides"]


def test_json_names_the_limit_that_decides(printed):
    document = json.loads(printed("--json", OMP_NUM_THREADS="3"))
    assert (document["cpus"], document["limit"]) == (3, "openmp")
    assert json.loads(printed("--json"))["limit"] == "affinity"
