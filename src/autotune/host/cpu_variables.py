"""Variables of the environment about CPUs: caps, and processes that share the CPUs. Pure.

A variable counts only where what it speaks of is true of this process. Batch systems and launchers leave variables in
shells and batch scripts that they did not start as one of several: a job's number of tasks says how many *may* be
started, and WEB_CONCURRENCY is only read by web servers.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

CAP = "AUTOTUNE_CPUS"
PROCESSES = "AUTOTUNE_PROCESSES"

CAPS: Mapping[str, str | None] = {
    CAP: None,
    "PYTHON_CPU_COUNT": None,  # Python 3.13; meant for containers whose limit Python cannot see
    "LOKY_MAX_CPU_COUNT": None,  # joblib
    "NSLOTS": None,  # Grid Engine; of all hosts of the job
    "NCPUS": "PBS_JOBID",  # OpenPBS
    "PBS_NP": "PBS_JOBID",  # Torque; of all hosts of the job
    "LSB_DJOB_NUMPROC": "LSB_JOBID",  # LSF
    "SLURM_CPUS_ON_NODE": "SLURM_JOB_ID",
}
"""Variables that cap the CPUs of a job or container, each with the variable that must be set too."""

RANKS: Mapping[str, str] = {
    "OMPI_COMM_WORLD_LOCAL_SIZE": "OMPI_COMM_WORLD_LOCAL_RANK",  # Open MPI
    "MPI_LOCALNRANKS": "MPI_LOCALRANKID",  # Intel MPI, MPICH
    "MV2_COMM_WORLD_LOCAL_SIZE": "MV2_COMM_WORLD_LOCAL_RANK",  # MVAPICH2
    "PMI_LOCAL_SIZE": "PMI_LOCAL_RANK",  # Cray
    "PALS_LOCAL_SIZE": "PALS_LOCAL_RANKID",  # HPE's mpiexec, and Flux in its place
    "HOROVOD_LOCAL_SIZE": "HOROVOD_LOCAL_RANK",  # horovodrun
    "LOCAL_WORLD_SIZE": "LOCAL_RANK",  # torchrun
    "SLURM_STEP_TASKS_PER_NODE": "SLURM_STEP_ID",  # srun; "4(x2),1" over the nodes
    "SLURM_NTASKS_PER_NODE": "SLURM_STEP_ID",
}
"""Variables with the number of a launcher's processes on this host, each with one that only these processes have."""

FIRST_SPECIAL_STEP = 0xFFFFFFF0
"""Slurm's numbers of the batch script, the interactive shell and the like (slurm.h, SLURM_BATCH_SCRIPT)."""

SERVERS: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "gunicorn": (("-w", "--workers"), "WEB_CONCURRENCY"),
    "uvicorn": (("--workers",), "WEB_CONCURRENCY"),
    "fastapi": (("--workers",), "WEB_CONCURRENCY"),
    "hypercorn": (("-w", "--workers"), "WEB_CONCURRENCY"),
    "granian": (("--workers",), "GRANIAN_WORKERS"),
    "celery": (("-c", "--concurrency"), None),
    "dramatiq": (("-p", "--processes"), None),
}
"""Programs that start worker processes, with the options for their number, and the variable from which they take it
without the option. Celery and dramatiq then start one for each CPU."""

_POOLS_OF_ONE = {"solo", "gevent", "eventlet"}
"""Celery's pools whose tasks share one thread."""


def count(text: str | None) -> int | None:
    """Return a whole number of at least 1; None for anything else."""
    digits = (text or "").strip()
    return int(digits) or None if digits.isascii() and digits.isdigit() and len(digits) < 8 else None


def caps(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the caps on the CPUs of the job or container that hold here, by variable."""
    return {
        name: number
        for name, companion in CAPS.items()
        if (number := count(environ.get(name))) is not None and (companion is None or environ.get(companion))
    }


def task_cap(environ: Mapping[str, str]) -> int | None:
    """Return the CPUs that Slurm gave to this one task; None where it gave none, or where this is no task.

    A batch script is no task, but does the work of the only one where the job has no other.
    """
    is_task = _is_in_step(environ) or (count(environ.get("SLURM_NTASKS")) or 1) == 1
    return count(environ.get("SLURM_CPUS_PER_TASK")) if is_task else None


def cap(environ: Mapping[str, str]) -> int | None:
    """Return the smallest cap on the CPUs of the job or container; None without any."""
    return min(caps(environ).values(), default=None)


def cap_source(environ: Mapping[str, str]) -> str:
    """Return the variable with the smallest cap on this process's CPUs."""
    limits = caps(environ)
    task = task_cap(environ)
    if task is not None:
        limits["SLURM_CPUS_PER_TASK"] = task
    return min(limits, key=lambda name: limits[name], default=CAP)


def ranks(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the processes that an MPI, torch or Slurm launcher started on this host, and its variable.

    1 and an empty name if none started this process.
    """
    for name, mark in RANKS.items():
        if mark not in environ or (mark == "SLURM_STEP_ID" and not _is_in_step(environ)):
            continue
        number = count(environ.get(name)) or _on_this_node(environ.get(name, ""), environ.get("SLURM_NODEID", ""))
        if number is not None:
            return name, number
    return "", 1


def sharing_ranks(
    local: int, *, mask: frozenset[int] | None, host_cpus: int, masks: Sequence[frozenset[int]] = ()
) -> int:
    """Return how many of `local` ranks share this rank's CPUs.

    `masks` are the affinity masks of all of them, if they could be read. Without them, ranks whose mask is smaller
    than the `host_cpus` that the launcher had to give out are taken to be spread evenly, as `srun --cpu-bind` and
    `mpirun --bind-to` do: masks that fit side by side are apart, masks of twice that size are shared by two.
    """
    if mask is None or not mask or local < 2:
        return local
    if len(masks) >= local and mask in masks:
        share = sum(1 / sum(cpu in group for group in masks) for cpu in mask)
        return min(local, ceil(len(mask) / share - 1e-9))
    return min(local, ceil(local * len(mask) / host_cpus)) if len(mask) < host_cpus else local


def workers_of_server(environ: Mapping[str, str], arguments: Sequence[str], *, online: int) -> int:
    """Return the worker processes of the web or task server that this program is; 1 for any other program.

    `online` is the number of CPUs. A number in a configuration file is not seen.
    """
    program = _server(arguments[0] if arguments else "")
    if program is None:
        return 1
    words = arguments[1:]
    options, variable = SERVERS[program]
    given = _number(_values(words, options))
    if given is None and program == "gunicorn":
        given = _number(_values(environ.get("GUNICORN_CMD_ARGS", "").split(), options))
    if variable is not None:
        return given or count(environ.get(variable)) or 1
    if program == "celery" and ("worker" not in words or _POOLS_OF_ONE.intersection(_values(words, ("-P", "--pool")))):
        return 1
    return given or online


def test_workers(environ: Mapping[str, str]) -> int:
    """Return the worker processes of pytest-xdist, of which this is one; 1 elsewhere."""
    return count(environ.get("PYTEST_XDIST_WORKER_COUNT")) or 1 if "PYTEST_XDIST_WORKER" in environ else 1


def invalid(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of autotune whose values are no whole numbers of at least 1."""
    return tuple(name for name in (CAP, PROCESSES) if environ.get(name, "1") and count(environ.get(name, "1")) is None)


def _is_in_step(environ: Mapping[str, str]) -> bool:
    """Did `srun` start this process, or one above it?"""
    step = environ.get("SLURM_STEP_ID", "").strip()
    return step.isascii() and step.isdigit() and int(step[:12]) < FIRST_SPECIAL_STEP


def _on_this_node(value: str, node: str) -> int | None:
    """Return the count for one node of Slurm's `4(x2),1`."""
    position = count(node) or 0
    for part in value.split(","):
        tasks, _, times = part.partition("(x")
        position -= count(times.removesuffix(")")) or 1
        if position < 0:
            return count(tasks)
    return None


def _server(program: str) -> str | None:
    """Return the server that a program's path names, as a script (`bin/gunicorn`) or as a package (`-m gunicorn`)."""
    *folders, name = program.replace("\\", "/").split("/")
    if name in {"__main__.py", "main.py"} and folders:
        name = folders[-1]
    name = name.removesuffix(".exe")
    return name if name in SERVERS else None


def _values(arguments: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return what follows each of these options, as `-w 4`, `-w4`, `--workers 4` or `--workers=4`."""
    values = []
    words = iter(arguments)
    for word in words:
        for name in names:
            if word == name:
                values.append(next(words, ""))
            elif word.startswith(f"{name}=" if name.startswith("--") else name):
                values.append(word.removeprefix(name).removeprefix("="))
    return values


def _number(values: Sequence[str]) -> int | None:
    """Return the last of them that is a count."""
    return next(filter(None, map(count, reversed(values))), None)
