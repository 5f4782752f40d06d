"""Environment variables that steer threads, placement and memory: whose they are, and what they ask for.

Pure: every function takes an environment and returns values; nothing here reads or changes os.environ.
"""

from collections.abc import Mapping
from itertools import takewhile

EXPORTED = "AUTOTUNE_EXPORTED"
"""Lists the variables that we set ourselves for a child process, by name, separated by commas."""

LIMITS: Mapping[str, tuple[str, ...]] = {
    "openblas": ("OPENBLAS_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "mkl": ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "blis": ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"),
    "accelerate": ("VECLIB_MAXIMUM_THREADS",),
}
"""Thread variables that each BLAS library reads when it is loaded; the first that holds a count wins.

The first of each is read by that BLAS alone: those are what we export. OMP_NUM_THREADS never is, since it
would throttle every OpenMP library of the process. Sources: OpenBLAS openblas_env.c and blas_server;
oneMKL developer guide, "Setting the number of threads"; BLIS docs/Multithreading.md. The order was tried with
OpenBLAS 0.3.31, BLIS 0.9.0 and oneMKL 2026.2.
"""

THREADS = frozenset({
    *(name for names in LIMITS.values() for name in names),
    *("OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_NESTED", "OMP_MAX_ACTIVE_LEVELS"),
    *("KMP_ALL_THREADS", "KMP_DEVICE_THREAD_LIMIT"),
    *("MKL_DOMAIN_NUM_THREADS", "MKL_DYNAMIC", "MKL_THREADING_LAYER"),
    *("BLIS_JC_NT", "BLIS_PC_NT", "BLIS_IC_NT", "BLIS_JR_NT", "BLIS_IR_NT"),
    *("NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER"),
    *("POLARS_MAX_THREADS", "RAYON_NUM_THREADS"),
})  # fmt: skip
"""Variables for the thread count of a library. Kernel choice and waiting (OPENBLAS_CORETYPE, OPENBLAS_THREAD_TIMEOUT,
OMP_WAIT_POLICY) are not among them: they describe the machine that programs will meet, too."""

OTHERS = ("OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
"""Thread counts of libraries that are not BLAS. Set only for a command that is tuned as a whole, on request."""

PLACEMENT = frozenset({
    *("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"),
    *("KMP_AFFINITY", "KMP_HW_SUBSET", "KMP_PLACE_THREADS"),
    *("OPENBLAS_MAIN_FREE", "GOTOBLAS_MAIN_FREE"),
})  # fmt: skip
"""Variables for the placement of threads. OMP_PROC_BIND narrows the affinity of the whole process as soon as
libgomp is loaded."""

ALLOCATOR = frozenset({
    *("MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_CHECK_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_"),
    *("MALLOC_PERTURB_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"),
})  # fmt: skip
"""glibc's variables for malloc (malloc/arena.c). A Dask nanny sets MALLOC_TRIM_THRESHOLD_."""

TUNABLES = "GLIBC_TUNABLES"
"""Also holds the choice of memory-copy kernels, so that only its malloc part is ours to take out."""

STARTS = frozenset({"AUTOTUNE_START", "AUTOTUNE_START_CHILDREN", "AUTOTUNE_START_REPORT"})
"""Variables by which `autotune run` and recordings reach the Pythons that a program starts (`runtime/startup`)."""

_DIGITS = frozenset("0123456789")
_LARGEST = 2**31 - 1


def scrub(environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the environment without what a shell, a scheduler or we set for threads, placement and malloc.

    Returns it and the sorted names of the variables taken out (of GLIBC_TUNABLES only the malloc part is). Our own are
    taken out without a name: under `autotune run --children` a trial would else run tuned.
    """
    steering = THREADS | PLACEMENT | ALLOCATOR
    clean = {name: value for name, value in environ.items() if name not in steering | STARTS | {EXPORTED}}
    removed = [name for name in environ if name in steering]
    if _malloc_tunables(environ):
        removed.append(TUNABLES)
        kept = [part for part in environ[TUNABLES].split(":") if not part.startswith("glibc.malloc.")]
        if kept:
            clean[TUNABLES] = ":".join(kept)
        else:
            del clean[TUNABLES]
    return clean, tuple(sorted(removed))


def allocator_settings(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the sorted names of the variables with which the user steers glibc's malloc."""
    names = [name for name in environ if name in ALLOCATOR]
    return tuple(sorted([*names, TUNABLES] if _malloc_tunables(environ) else names))


def exports(
    blas_threads: int | None, environ: Mapping[str, str], *, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return variables that give child processes this many BLAS threads, none for None, and the `extra` ones.

    BLAS-specific variables only. One that the user set is left out, and a count that the user gave by
    another variable of the same library (OMP_NUM_THREADS=2) is not exceeded. AUTOTUNE_EXPORTED lists what
    is there, so that an autotune in the child does not take it for the user's wish.
    """
    own_names = exported_names(environ)
    values = {name: text for name, text in (extra or {}).items() if name not in environ or name in own_names}
    for api, (name, *_) in LIMITS.items():
        if blas_threads is not None and (name not in environ or name in own_names):
            values[name] = str(min(blas_threads, user_limit(environ, api=api) or blas_threads))
    return {**values, EXPORTED: ",".join(values)} if values else {}


def whole(blas_threads: int, others: int) -> dict[str, str]:
    """Return variables that give a whole command these thread counts: BLAS libraries, and all others.

    What the user set is replaced, since it is these variables that he asks to have tuned.
    """
    own = {names[0]: str(blas_threads) for names in LIMITS.values()}
    return own | dict.fromkeys(OTHERS, str(others))


def user_limit(environ: Mapping[str, str], *, api: str = "openblas", is_on_openmp: bool = False) -> int | None:
    """Return the most BLAS threads that the user's own variables allow; None if they set no limit.

    `api` is the BLAS library as threadpoolctl names it; an unknown one is taken to read OMP_NUM_THREADS. An OpenBLAS
    that `is_on_openmp` (conda-forge's, Debian's) reads nothing else either [tried with 0.3.21].
    As OpenBLAS reads them: "1,4" is 1, and what is no number, or 0, counts as not set [tried with 0.3.31].
    What AUTOTUNE_EXPORTED lists is not the user's.
    """
    own_names = exported_names(environ)
    names = LIMITS.get(api, ()) if not (api == "openblas" and is_on_openmp) else ()
    own = (name for name in names or ("OMP_NUM_THREADS",) if name in environ and name not in own_names)
    counts = (_count(environ[name]) for name in own)
    return next((count for count in counts if count is not None), None)


def worker_limit(environ: Mapping[str, str]) -> int | None:
    """Return the most workers that the user's environment allows; None if it sets no limit.

    Frameworks that start several processes (joblib, Spark, a Dask nanny) tell libraries by OMP_NUM_THREADS that one
    thread is theirs; a pool that is not OpenMP's is meant as well.
    """
    return min(_worker_limits(environ).values(), default=None)


def limit_of_workers(environ: Mapping[str, str], usable_cpus: int) -> str:
    """Return the variable that holds workers below the usable CPUs, such as "OMP_NUM_THREADS=1"; empty if none does."""
    limits = _worker_limits(environ)
    name = min(limits, key=lambda name: limits[name], default=None)
    return "" if name is None or limits[name] >= usable_cpus else f"{name}={limits[name]}"


def _worker_limits(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the user's variables that limit workers, with their counts."""
    own_names = exported_names(environ)
    names = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT")
    counts = {name: _count(environ[name]) for name in names if name in environ and name not in own_names}
    return {name: count for name, count in counts.items() if count is not None}


def worker_cpus(environ: Mapping[str, str], usable_cpus: int) -> int:
    """Return how many of the usable CPUs workers may keep busy."""
    return min(usable_cpus, worker_limit(environ) or usable_cpus)


def exported_names(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the variables that an `autotune run`, or our exports in a shell, set."""
    return frozenset(name for name in environ.get(EXPORTED, "").split(",") if name)


def _count(value: str) -> int | None:
    """Return the count that C's atoi finds at the start of a value; None where it finds none."""
    digits = "".join(takewhile(_DIGITS.__contains__, value.lstrip().removeprefix("+")))
    count = int(digits) if 0 < len(digits) < 20 else 0
    return count if 1 <= count <= _LARGEST else None


def _malloc_tunables(environ: Mapping[str, str]) -> bool:
    return any(part.startswith("glibc.malloc.") for part in environ.get(TUNABLES, "").split(":"))
