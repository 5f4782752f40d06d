"""What the environment says about this process's share of the CPUs: a cap, and who shares them."""

from collections.abc import Mapping

CAP = "AUTOTUNE_CPUS"
PROCESSES = "AUTOTUNE_PROCESSES"

LOCAL_PROCESSES = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",  # Open MPI
    "MPI_LOCALNRANKS",  # Intel MPI, MPICH
    "MV2_COMM_WORLD_LOCAL_SIZE",  # MVAPICH2
    "PMI_LOCAL_SIZE",  # Cray
    "LOCAL_WORLD_SIZE",  # torchrun
    "SLURM_STEP_TASKS_PER_NODE",  # srun; "4(x2),1" over the nodes
    "SLURM_NTASKS_PER_NODE",
    "WEB_CONCURRENCY",  # gunicorn, uvicorn, Heroku; these never bind a process to CPUs of its own
)
"""Variables that launchers set to the number of processes on this host, the most specific first."""


def count(text: str | None) -> int | None:
    """A whole number of at least 1; None for anything else."""
    digits = (text or "").strip()
    return int(digits) or None if digits.isascii() and digits.isdigit() and len(digits) < 8 else None


def cap(environ: Mapping[str, str]) -> int | None:
    """The user's cap on CPUs; None if unset or not a whole number of at least 1."""
    return count(environ.get(CAP))


def processes(environ: Mapping[str, str], *, affinity_cpus: int | None, host_cpus: int) -> int:
    """How many processes share the CPUs.

    AUTOTUNE_PROCESSES is believed as it stands. A launcher's variable is not, where the launcher gave each
    process CPUs of its own (`srun --cpu-bind`, `mpirun --bind-to`): the parts of all processes then fit side
    by side into the `host_cpus` that the launcher had to give out.
    """
    told = count(environ.get(PROCESSES))
    if told is not None:
        return told
    name, local = _local_processes(environ)
    apart = affinity_cpus is not None and affinity_cpus < host_cpus and affinity_cpus * local <= host_cpus
    return 1 if apart and name != "WEB_CONCURRENCY" else local


def invalid(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Our variables that are set to something that is not a whole number of at least 1."""
    return tuple(
        name for name in (CAP, PROCESSES) if environ.get(name, "1") and count(environ.get(name, "1")) is None
    )


def _local_processes(environ: Mapping[str, str]) -> tuple[str | None, int]:
    for name in LOCAL_PROCESSES:
        known = count(environ.get(name)) or _on_this_node(
            environ.get(name, ""), environ.get("SLURM_NODEID", "")
        )
        if known is not None:
            return name, known
    return None, 1


def _on_this_node(value: str, node: str) -> int | None:
    """The count for one node of Slurm's `4(x2),1`."""
    position = count(node) or 0
    for part in value.split(","):
        tasks, _, times = part.partition("(x")
        position -= count(times.removesuffix(")")) or 1
        if position < 0:
            return count(tasks)
    return None
