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
    assert "OpenMP threads: 3 (OMP_NUM_THREADS, OMP_THREAD_LIMIT)" in limits
    assert any(limit.startswith("CPU quota") for limit in limits)


def test_json_names_the_limit_that_decides(printed):
    document = json.loads(printed("--json", OMP_NUM_THREADS="3"))
    assert (document["cpus"], document["limit"]) == (3, "openmp")
    assert json.loads(printed("--json"))["limit"] == "affinity"
