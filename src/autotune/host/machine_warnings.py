"""Warnings about this computer's limits and settings. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from autotune.host import cpu_variables
from autotune.host.numeric_libraries import passes_calls_on
from autotune.host.usable_cpus import binding_variables
from autotune.model.allocation import Limit
from autotune.model.machine import Allocation, Machine
from autotune.model.software import BlasLibrary

THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

NO_BLAS = (
    "No BLAS library was recognised in this process (Apple's Accelerate, ATLAS, the reference BLAS and "
    "statically linked ones cannot be). Its threads cannot be tuned; workers and chunks can."
)

NO_CPUS = (
    "No CPU could be read: neither sys/devices/system/cpu nor proc/cpuinfo says anything. Nothing is known of this "
    "computer; with --root, name the folder that holds its sys and proc."
)

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only spoken of
SMALL_SHARED_MEMORY = 256 << 20
"""Bytes. Docker gives containers 64 MiB unless told otherwise."""

NO_SEMAPHORES = (
    "multiprocessing can make no locks here, since /dev/shm is missing or read-only: executor(processes=True) uses "
    "threads, and programs of your own with multiprocessing.Pool fail. Mount a writable /dev/shm if you need them."
)

NO_IDENTITY = (
    "This host is known by its name and its current boot only: after a restart its own profiles are another "
    "host's. Set AUTOTUNE_HOST_ID to a name that stays, or give the container the computer's /etc/machine-id."
)

TOO_BUSY = 0.1
"""Part of the CPUs' time taken by others from which on a calibration leaves entries noisy."""


def machine_warnings(
    machine: Machine,
    allocation: Allocation,
    libraries: Sequence[BlasLibrary] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    governor: str | None = None,
    shared_memory_bytes: int | None = None,
    busy: float | None = None,
    has_semaphores: bool = True,
    has_lasting_identity: bool = True,
    isolating_tool: str | None = None,
) -> tuple[str, ...]:
    """List sentences about limits and settings, the gravest first; none if all is well.

    `libraries` is None when another computer's recording is looked at, and an empty sequence when no BLAS was found
    here. `shared_memory_bytes` is the size of /dev/shm, `busy` the part of the usable CPUs' time that others take now,
    `has_semaphores` whether multiprocessing can make its locks, `has_lasting_identity` whether this host is known
    by more than its name and its current boot, and `isolating_tool` what keeps this environment for one command. Each
    sentence says what follows, and what to do.
    """
    environ = environ or {}
    computing = _computing(libraries or ())
    return (
        *([NO_CPUS] if machine.counts.logical_cpus is None else []),
        *isolation(isolating_tool),
        *_settings(environ),
        *_launchers(allocation, environ),
        *_threads(allocation, computing, environ),
        *([] if libraries is None else _copies(computing)),
        *_structure(machine, allocation),
        *noise(busy),
        *_surroundings(governor, shared_memory_bytes),
        *([] if has_semaphores else [NO_SEMAPHORES]),
        *([] if has_lasting_identity else [NO_IDENTITY]),
    )


def invalid_count(name: str, value: str) -> str:
    """Return the sentence about a cap that is no number."""
    return f"{name}={value!r} is not a whole number of at least 1 and is ignored; correct or unset it."


def _settings(environ: Mapping[str, str]) -> Iterator[str]:
    for name in cpu_variables.invalid(environ):
        yield invalid_count(name, environ[name])
    for name in THREAD_COUNTS:
        value = environ.get(name, "")
        # for OMP_NUM_THREADS it may be a list with one count for each level of nesting
        counts = value.split(",") if name == "OMP_NUM_THREADS" else [value]
        if value and not all(map(cpu_variables.count, counts)):
            yield (
                f"{name}={value!r} is not a number of threads. Libraries ignore it, each in its own way; correct or "
                "unset it."
            )
    for name in binding_variables(environ):
        yield (
            f"{name} is set. As soon as an OpenMP library is loaded it can pin all threads, NumPy's too, to a "
            "few CPUs; unset it unless you rely on it."
        )


def _launchers(allocation: Allocation, environ: Mapping[str, str]) -> Iterator[str]:
    """Name variables of launchers that did not start this process, or that its CPUs do not follow."""
    if (count := cpu_variables.count(environ.get("WEB_CONCURRENCY"))) is not None and count > 1:
        yield (
            f"WEB_CONCURRENCY={count} counts in the workers of gunicorn, uvicorn, fastapi and hypercorn only. For "
            f"other servers, and where a configuration file sets the number, say apply(processes={count}), or set "
            f"AUTOTUNE_PROCESSES={count}."
        )
    tasks = environ.get("SLURM_NTASKS_PER_NODE")
    if (cpu_variables.count(tasks) or 1) > 1 and cpu_variables.ranks(environ)[1] == 1:
        yield (
            f"SLURM_NTASKS_PER_NODE={tasks} counts in tasks that srun starts; this process is none, and takes the "
            "CPUs of the whole job."
        )
    task = cpu_variables.task_cap(environ)
    if task is not None and allocation.limit is Limit.AFFINITY and allocation.usable_cpus < task:
        yield (
            f"SLURM_CPUS_PER_TASK={task}, but the affinity mask allows {allocation.usable_cpus}: srun does not take "
            f"the number over from sbatch since Slurm 22.05. Start the step with srun --cpus-per-task={task}."
        )


def _threads(allocation: Allocation, libraries: Sequence[BlasLibrary], environ: Mapping[str, str]) -> Iterator[str]:
    usable = allocation.usable_cpus
    limit = cpu_variables.count(environ.get("OMP_NUM_THREADS", "").partition(",")[0])
    if limit is not None and limit < usable:
        yield (
            f"OMP_NUM_THREADS={limit} holds the workers of map_blocks, executor and process_map to {limit}, as it does "
            f"libraries; unset it to use {usable} CPUs."
        )
    if any(library.threading == "openmp" and library.api == "openblas" for library in libraries):
        yield (
            "This OpenBLAS uses OpenMP and reads OMP_NUM_THREADS only: `autotune env` and apply(children=True) cannot "
            "set its threads in other processes. `autotune run` and autotune.apply() can."
        )
    why = {
        Limit.NONE: "this machine has",
        Limit.AFFINITY: "the affinity mask or cpuset allows",
        Limit.QUOTA: f"the CPU quota ({allocation.quota_cpus:g} CPUs' worth of time) allows"
        if allocation.quota_cpus is not None
        else "the CPU quota allows",
        Limit.CAP: f"{cpu_variables.cap_source(environ)} allows",
        Limit.SHARED: f"the share of one of {allocation.processes} processes allows",
    }[allocation.limit]
    for library in libraries:
        if library.threads is not None and library.threads > usable:
            yield (
                f"{_name(library)} uses {library.threads} threads, but {why} {usable}; the surplus only gets in the "
                f"way. autotune.apply() keeps to {usable}, like {_variable(library)}={usable} set before the start."
            )


def _computing(libraries: Sequence[BlasLibrary]) -> tuple[BlasLibrary, ...]:
    """Leave out FlexiBLAS, which only passes calls on, unless nothing else can be seen."""
    computing = tuple(library for library in libraries if not passes_calls_on(library.api))
    return computing if any(library.user != "scipy" for library in computing) else tuple(libraries)


def _copies(libraries: Sequence[BlasLibrary]) -> Iterator[str]:
    if not libraries:
        yield NO_BLAS
    # SciPy's wheel always brings a second one, and autotune's own calibration loads it
    counted = [library for library in libraries if library.user != "scipy"]
    if len(counted) > 1:
        yield (
            f"{len(counted)} BLAS libraries are loaded: {', '.join(map(_name, counted))}. Each has threads of its own, "
            "so a limit must be set in all of them. Nothing is to be done where autotune.apply() or `autotune run` "
            "sets it: they do; elsewhere use threadpoolctl, or packages that share one BLAS (conda-forge)."
        )


def _structure(machine: Machine, allocation: Allocation) -> Iterator[str]:
    if allocation.limit is Limit.QUOTA and (allocation.quota_cpus or 1) < 1:
        yield (
            f"The CPU quota is {allocation.quota_cpus:g} of one CPU. Everything runs in one thread and is "
            "paused in between, which makes timings useless for calibration. Ask for at least one CPU (docker run "
            "--cpus=1, resources.limits.cpu: 1)."
        )
    if machine.cpus and allocation.is_renumbered:
        yield (
            "The numbers of this process's CPUs are not those that the system lists (a container with lxcfs): where "
            "they lie is unknown, and the load of others is seen for all CPUs together. Calibrate in quiet."
        )
    if machine.offline_cpus:
        yield (
            f"CPUs switched off, and not counted: {len(machine.offline_cpus)}. If they are to come back, calibrate "
            "after that: a profile is for the CPUs that were there."
        )


def noise(busy: float | None) -> Iterator[str]:
    """Describe the effect on a calibration if others take this part of the usable CPUs' time."""
    if busy is not None and busy >= TOO_BUSY:
        yield (
            f"Others keep {busy:.0%} of the CPUs busy now. Most entries of a calibration would end as noisy: wait for "
            "a quiet moment. `autotune calibrate --neighbours K` is for machines that are never quiet; it starts K "
            "busy processes of its own."
        )


def isolation(tool: str | None) -> Iterator[str]:
    """Warn of an environment that a tool made for the command `autotune` alone."""
    if tool is not None:
        yield (
            f"{tool} made this environment for autotune alone. What is measured is the NumPy in it, and a program with "
            "another refuses the profile: install autotune into the environment of the program."
        )


def _surroundings(governor: str | None, shared_memory_bytes: int | None) -> Iterator[str]:
    if governor == "powersave":
        yield (
            "The CPU frequency governor is powersave: clocks rise late, and short timings vary. Calibrate "
            "with the governor performance if you may set it (cpupower frequency-set -g performance)."
        )
    if shared_memory_bytes is not None and shared_memory_bytes < SMALL_SHARED_MEMORY:
        yield (
            f"{SHARED_MEMORY} holds only {shared_memory_bytes >> 20} MiB; a program that fills it is killed "
            "by SIGBUS. Give a container more (docker run --shm-size=1g) to share arrays between processes."
        )


def _name(library: BlasLibrary) -> str:
    names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "flexiblas": "FlexiBLAS"}
    name = names.get(library.api, library.api)
    package = {"numpy": "NumPy's ", "scipy": "SciPy's "}.get(library.user or "", "")
    return " ".join(part for part in (f"{package}{name}", library.version) if part)


def _variable(library: BlasLibrary) -> str:
    """Return the variable that the library reads; OpenBLAS built on OpenMP reads OpenMP's (tried with 0.3.21)."""
    if library.threading == "openmp" and library.api == "openblas":
        return "OMP_NUM_THREADS"
    return {"openblas": "OPENBLAS_NUM_THREADS", "mkl": "MKL_NUM_THREADS", "blis": "BLIS_NUM_THREADS"}.get(
        library.api, "OMP_NUM_THREADS"
    )
