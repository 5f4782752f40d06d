"""CPUs that this process may keep busy: affinity, quota, cap and sharers."""

import os
import sys

import pytest
from support.programs import printed

from autotune.host import cgroup, cpu_variables, usable_cpus
from autotune.host.detect import detect
from autotune.model.allocation import Limit, allocate

OURS = (
    cpu_variables.PROCESSES,
    *(*cpu_variables.CAPS, "SLURM_CPUS_PER_TASK"),
    *(*cpu_variables.RANKS, *cpu_variables.RANKS.values()),
    *("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"),
    *usable_cpus.BINDINGS,
)


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


IN_STEP = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}
BATCH = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
"""Variables that Slurm sets in a batch script and in an interactive shell, too."""


@pytest.mark.parametrize(("name", "mark"), cpu_variables.RANKS.items())
def test_a_launchers_count_is_believed_by_the_processes_that_it_started(name, mark):
    assert cpu_variables.ranks({name: "4", mark: "0"}) == (name, 4)


@pytest.mark.parametrize("name", cpu_variables.RANKS)
@pytest.mark.parametrize("environ", [{}, BATCH, BATCH | {"SLURM_STEP_ID": "4294967290"}])
def test_a_launchers_count_in_a_shell_or_batch_script_is_not(name, environ):
    """`sbatch --ntasks-per-node=4` with `python` in the script: one process, whatever the job may start."""
    assert cpu_variables.ranks(environ | {name: "4"}) == ("", 1)


def test_of_two_counts_of_slurms_that_of_the_step_holds():
    environ = IN_STEP | {"SLURM_STEP_TASKS_PER_NODE": "1", "SLURM_NTASKS_PER_NODE": "4"}
    assert cpu_variables.ranks(environ) == ("SLURM_STEP_TASKS_PER_NODE", 1)


def cpus(first, last):
    return frozenset(range(first, last + 1))


@pytest.mark.parametrize(
    ("local", "mask", "sharing"),
    [
        (4, cpus(0, 15), 4),  # not bound
        (4, cpus(0, 3), 1),  # a quarter each
        (4, cpus(0, 7), 2),  # two on each socket
        (3, cpus(0, 7), 2),
        (4, cpus(0, 0), 1),
        (40, cpus(0, 0), 3),  # more ranks than CPUs
        (1, cpus(0, 7), 1),
        (4, None, 4),
    ],
)
def test_ranks_are_taken_to_be_spread_evenly(local, mask, sharing):
    assert cpu_variables.sharing_ranks(local, mask=mask, host_cpus=16) == sharing


@pytest.mark.parametrize(
    ("masks", "sharing"),
    [
        ([cpus(0, 3)] * 4, 4),  # `taskset -c 0-3 mpirun -n 4`: all on the same four
        ([cpus(0, 3), cpus(4, 7), cpus(8, 11), cpus(12, 15)], 1),
        ([cpus(0, 3), cpus(0, 3), cpus(8, 11), cpus(12, 15)], 2),
        ([cpus(0, 3), cpus(0, 15), cpus(0, 15), cpus(0, 15)], 4),
        ([cpus(0, 3), cpus(0, 3)], 1),  # two of four are seen: the rule for unknown masks
    ],
)
def test_masks_that_can_be_read_tell_which_ranks_share(masks, sharing):
    assert cpu_variables.sharing_ranks(4, mask=cpus(0, 3), host_cpus=16, masks=masks) == sharing


@pytest.mark.parametrize(
    ("arguments", "environ", "workers"),
    [
        (["/usr/bin/gunicorn", "-w", "4", "app:app"], {}, 4),
        (["/usr/bin/gunicorn", "-w4", "app:app"], {"WEB_CONCURRENCY": "8"}, 4),
        (["/usr/bin/gunicorn", "--workers=4", "app:app"], {}, 4),
        (["gunicorn", "app:app"], {"WEB_CONCURRENCY": "3"}, 3),
        (["gunicorn", "app:app"], {"GUNICORN_CMD_ARGS": "--workers 5 -b :80"}, 5),
        (["/lib/gunicorn/__main__.py", "app:app"], {"WEB_CONCURRENCY": "3"}, 3),
        (["/usr/bin/uvicorn", "--workers", "2", "app:app"], {}, 2),
        (["/usr/bin/celery", "-A", "tasks", "worker", "-c", "6"], {"WEB_CONCURRENCY": "3"}, 6),
        (["/usr/bin/celery", "-A", "tasks", "worker"], {"WEB_CONCURRENCY": "3"}, 16),
        (["/usr/bin/celery", "-A", "tasks", "worker", "-P", "threads", "-c", "6"], {}, 6),
        (["/usr/bin/celery", "-A", "tasks", "worker", "--pool=gevent", "-c1000"], {}, 1),
        (["/usr/bin/celery", "-A", "tasks", "beat"], {}, 1),
        (["/usr/bin/dramatiq", "-p", "3", "tasks"], {}, 3),
        (["/usr/bin/dramatiq", "tasks"], {"WEB_CONCURRENCY": "3"}, 16),
        (["/usr/bin/fastapi", "run", "--workers", "4", "app.py"], {}, 4),
        (["/usr/bin/fastapi", "run", "app.py"], {"WEB_CONCURRENCY": "3"}, 3),
        (["/usr/bin/granian", "--workers", "2", "app:app"], {"WEB_CONCURRENCY": "3"}, 2),
        (["/usr/bin/granian", "app:app"], {"GRANIAN_WORKERS": "3", "WEB_CONCURRENCY": "4"}, 3),
        (["gunicorn", "app:app"], {}, 1),
        (["job.py", "-w", "4"], {"WEB_CONCURRENCY": "4"}, 1),
        (["/usr/bin/autotune", "calibrate"], {"WEB_CONCURRENCY": "4"}, 1),
        (["", "-w", "4"], {"WEB_CONCURRENCY": "4"}, 1),
        ([], {"WEB_CONCURRENCY": "4"}, 1),
    ],
)
def test_only_a_server_divides_by_its_workers(arguments, environ, workers):
    assert cpu_variables.workers_of_server(environ, arguments, online=16) == workers


def test_only_a_worker_of_a_test_run_divides_by_their_number():
    assert cpu_variables.test_workers({"PYTEST_XDIST_WORKER": "gw0", "PYTEST_XDIST_WORKER_COUNT": "4"}) == 4
    assert cpu_variables.test_workers({"PYTEST_XDIST_WORKER_COUNT": "4"}) == 1


@pytest.mark.parametrize(
    ("environ", "cap"),
    [
        ({"AUTOTUNE_CPUS": "3"}, 3),
        ({"PYTHON_CPU_COUNT": "3", "LOKY_MAX_CPU_COUNT": "2"}, 2),
        ({"PYTHON_CPU_COUNT": "default"}, None),
        ({"NSLOTS": "4"}, 4),
        ({"NCPUS": "4"}, None),
        ({"NCPUS": "4", "PBS_JOBID": "7.head"}, 4),
        ({"PBS_NP": "4"}, None),
        ({"PBS_NP": "4", "PBS_JOBID": "7.head"}, 4),
        ({"LSB_DJOB_NUMPROC": "4"}, None),
        ({"LSB_DJOB_NUMPROC": "4", "LSB_JOBID": "7"}, 4),
        (BATCH | {"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_ON_NODE": "8"}, None),
        ({"OMP_NUM_THREADS": "1"}, None),
    ],
)
def test_what_a_batch_system_or_the_user_gave_is_a_cap(environ, cap):
    assert cpu_variables.cap(environ) == cap


@pytest.mark.parametrize(
    ("environ", "cap"),
    [
        ({"SLURM_CPUS_PER_TASK": "4"}, 4),
        (BATCH | {"SLURM_CPUS_PER_TASK": "4", "SLURM_NTASKS": "1"}, 4),
        (BATCH | {"SLURM_CPUS_PER_TASK": "4", "SLURM_NTASKS": "8"}, None),
        (IN_STEP | {"SLURM_CPUS_PER_TASK": "4", "SLURM_NTASKS": "8"}, 4),
    ],
)
def test_slurms_cpus_of_a_task_cap_a_task(environ, cap):
    assert cpu_variables.task_cap(environ) == cap


def test_the_cap_of_one_task_is_not_divided_by_the_tasks():
    """A node of 16 CPUs, four tasks of four CPUs each, none bound."""
    assert allocate(allowed_cpus=16, online_cpus=16, processes=4, task_cap=4) == (4, Limit.SHARED)
    assert allocate(allowed_cpus=16, online_cpus=16, processes=2, task_cap=4) == (4, Limit.CAP)


@pytest.mark.parametrize(("node", "tasks"), [("0", 4), ("1", 4), ("2", 1), ("3", 1), ("", 4)])
def test_slurms_list_is_read_for_the_own_node(node, tasks):
    environ = IN_STEP | {"SLURM_STEP_TASKS_PER_NODE": "4(x2),1", "SLURM_NODEID": node}
    assert cpu_variables.ranks(environ)[1] == tasks


@pytest.mark.parametrize("value", ["abc", "0", "-3", "1.5", "", "1e3", "99999999999"])
def test_what_is_no_count_is_ignored(value):
    environ = {"AUTOTUNE_CPUS": value, "NSLOTS": value, "LOCAL_WORLD_SIZE": value, "LOCAL_RANK": "0"}
    assert cpu_variables.cap(environ) is None
    assert cpu_variables.ranks(environ) == ("", 1)
    environ, arguments = {"WEB_CONCURRENCY": value}, ["gunicorn", "-w", value]
    assert cpu_variables.workers_of_server(environ, arguments, online=16) == 1


def test_what_is_no_count_is_named_but_an_empty_one_is_unset():
    assert cpu_variables.invalid({"AUTOTUNE_CPUS": "abc", "AUTOTUNE_PROCESSES": "0"}) == (
        "AUTOTUNE_CPUS",
        "AUTOTUNE_PROCESSES",
    )
    assert cpu_variables.invalid({"AUTOTUNE_CPUS": "", "AUTOTUNE_PROCESSES": "2"}) == ()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AUTOTUNE_CPUS": "1"},
        {"AUTOTUNE_PROCESSES": "2"},
        {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"PYTEST_XDIST_WORKER": "gw0", "PYTEST_XDIST_WORKER_COUNT": "2"},
        {"SLURM_CPUS_PER_TASK": "1"},
        {"AUTOTUNE_CPUS": "x"},
    ],
)
def test_the_short_way_gives_the_same_answer(environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    _, whole = detect()
    assert usable_cpus.usable_cpus() == (whole.usable_cpus, whole.limit)


def test_the_users_count_of_processes_is_believed_before_a_launchers(monkeypatch):
    environ = {"AUTOTUNE_PROCESSES": "2", "LOCAL_WORLD_SIZE": "8", "LOCAL_RANK": "0"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert detect()[1].processes == 2


def test_the_callers_count_of_processes_wins(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_PROCESSES", "1")
    online = usable_cpus.online_cpus()
    usable, limit = usable_cpus.usable_cpus(processes=online * 2)
    assert (usable, limit) == (1, Limit.SHARED)


def test_a_quota_binds_this_process(monkeypatch):
    monkeypatch.setattr(cgroup, "quota", lambda folders: 0.5)
    assert usable_cpus.usable_cpus()[0] == 1


def test_a_system_without_affinity_counts_the_cpus_that_are_on(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cgroup, "quota", lambda folders: None)
    assert usable_cpus.affinity() is None
    assert usable_cpus.usable_cpus() == (usable_cpus.online_cpus(), Limit.NONE)


def test_where_the_affinity_may_not_be_asked_for_the_cpus_that_are_on_count(monkeypatch):
    def refuse(_):
        raise PermissionError(1, "a seccomp filter")

    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    assert usable_cpus.affinity() is None
    assert usable_cpus.schedulable_cpus() == usable_cpus.online_cpus()


def test_an_embedded_interpreter_without_arguments_is_no_server(monkeypatch):
    before = usable_cpus.usable_cpus()
    monkeypatch.delattr(sys, "argv")
    assert usable_cpus.usable_cpus() == before


def test_python_cpu_count_does_not_change_the_number_of_cpus(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 77)
    assert usable_cpus.online_cpus() != 77 or not hasattr(os, "sysconf")


def test_cpus_that_the_system_does_not_list_were_renumbered(monkeypatch):
    assert not detect()[1].is_renumbered
    monkeypatch.setattr("autotune.host.detect.affinity", lambda: frozenset({10_000, 10_001}))
    assert detect()[1].is_renumbered


def test_where_sysconf_counts_the_affinity_mask_as_in_musl_the_kernels_list_counts(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda _name: 2)
    monkeypatch.setattr(usable_cpus, "read", lambda path: "0-3,8-11\n" if path.endswith("cpu/online") else None)
    assert usable_cpus.online_cpus() == 8
    monkeypatch.setattr(usable_cpus, "read", lambda _path: None)
    assert usable_cpus.online_cpus() == 2


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


PIN = """
import os, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
os.environ.update({environ})
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})   # as an OpenMP library that is loaded
from autotune.host.usable_cpus import online_cpus, usable_cpus
from autotune.parallel import thread_pool
masks = set()
def begin():
    masks.add(frozenset(os.sched_getaffinity(0)))
    return lambda _: [n * n for n in range(100_000)]
thread_pool.run(begin, 20, 2)
print(usable_cpus()[0] == online_cpus(), max(map(len, masks)) == online_cpus())
"""


@pytest.mark.real
@pytest.mark.skipif(usable_cpus.schedulable_cpus() < 2, reason="needs two CPUs")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < usable_cpus.online_cpus(), reason="needs all CPUs")
@pytest.mark.parametrize("environ", [{"OMP_PROC_BIND": "close"}, {"KMP_AFFINITY": "compact"}])
def test_a_thread_that_openmp_pinned_does_not_make_the_process_small(environ):
    assert printed(PIN.format(environ=environ)) == "True True\n"


@pytest.mark.real
@pytest.mark.skipif(usable_cpus.schedulable_cpus() < 2, reason="needs two CPUs")
@pytest.mark.parametrize("environ", [{}, {"OMP_PROC_BIND": "false"}])
def test_a_thread_that_the_program_pinned_keeps_to_its_cpu(environ):
    assert printed(PIN.format(environ=environ)) == "False False\n"


RANKS = """
import os, subprocess, sys
if "OMPI_COMM_WORLD_LOCAL_RANK" in os.environ:
    from autotune.host.usable_cpus import usable_cpus
    print(usable_cpus()[0], flush=True)
    sys.stdin.read()
else:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    masks = {masks}
    environ = {{**os.environ, "OMPI_COMM_WORLD_LOCAL_SIZE": str(len(masks))}}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", sys.argv[1], sys.argv[1]],
            env={{**environ, "OMPI_COMM_WORLD_LOCAL_RANK": str(rank)}},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda mask=mask: os.sched_setaffinity(0, mask),
        )
        for rank, mask in enumerate(masks)
    ]
    print([rank.stdout.readline().strip() for rank in ranks])
    for rank in ranks:
        rank.stdin.close()
        rank.wait()
"""


@pytest.mark.real
@pytest.mark.skipif(usable_cpus.schedulable_cpus() < 2, reason="needs two CPUs")
@pytest.mark.parametrize(
    ("masks", "sharing"),
    [("[{first}, {second}]", ["1", "1"]), ("[{first, second}] * 2", ["1", "1"]), ("[{first, second}]", ["2"])],
)
def test_ranks_see_whose_masks_they_share(masks, sharing):
    code = RANKS.format(masks=masks)
    folded = f"import sys; code = {code!r}; sys.argv = ['', code]; exec(code)"
    assert printed(folded) == f"{sharing}\n"
