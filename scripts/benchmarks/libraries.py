"""Programs of scikit-learn, SciPy, pandas, Dask and joblib, plain and with autotune: does it help, does it ever hurt?

Prints a table, with --json JSON: plain time / time with autotune (above 1 is faster) and its 95 % interval, in
fresh processes, one after the other in random order, only while the machine is quiet. Each program is there twice:
after `autotune.apply(per_call=False)`, and in `autotune.apply()`; it is otherwise the same on both sides. A row whose
library is missing says so: `pip install scikit-learn scipy pandas "dask[array]" joblib`.

The rows boosting_1000 and boosting_100000 run next to two busy processes, plain and in
`tuned("hist_gradient_boosting")`. They need entries, which are made within three minutes:

    autotune calibrate hist_gradient_boosting rows=1000,100000 columns=20 --neighbours 2 --budget 3m
    scripts/benchmarks/run libraries boosting_1000 boosting_100000 --json
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.paired_runs import NotHere, Pair, Program, covered, main

Work = Callable[[bool], Callable[[], object]]
"""Makes a program's inputs, small ones for True, and the call that is timed."""


def needed(module: str, package: str | None = None) -> Any:
    """Return the module. Raises NotHere where it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise NotHere(f"needs {package or module.partition('.')[0]}, which is not installed") from None


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


def kmeans(quick: bool) -> Callable[[], object]:
    cluster = needed("sklearn.cluster", "scikit-learn")
    data = numbers(2_000 if quick else 20_000, 30)
    return lambda: cluster.KMeans(n_clusters=8, n_init=1, max_iter=20, random_state=0).fit(data)


def pca(quick: bool) -> Callable[[], object]:
    decomposition = needed("sklearn.decomposition", "scikit-learn")
    data = numbers(500 if quick else 4_000, 100)
    return lambda: decomposition.PCA(n_components=10, svd_solver="full").fit_transform(data)


def pca_small(quick: bool) -> Callable[[], object]:
    """Make many fits of small data, as in cross-validation."""
    decomposition = needed("sklearn.decomposition", "scikit-learn")
    parts = [numbers(128, 128) for _ in range(2 if quick else 20)]
    return lambda: [decomposition.PCA(n_components=5, svd_solver="full").fit(part) for part in parts]


def eigh(quick: bool) -> Callable[[], object]:
    linalg = needed("scipy.linalg")
    matrix = numbers(*(100 if quick else 500,) * 2)
    matrix += matrix.T
    return lambda: linalg.eigh(matrix)


def eigh_small(quick: bool) -> Callable[[], object]:
    linalg = needed("scipy.linalg")
    matrix = numbers(128, 128)
    matrix += matrix.T
    return lambda: [linalg.eigh(matrix) for _ in range(3 if quick else 50)]


def fft(quick: bool) -> Callable[[], object]:
    """Run SciPy's own workers, as many as there are usable CPUs."""
    from autotune.host.usable_cpus import usable_cpus

    transform = needed("scipy.fft")
    signal, (workers, _) = numbers(64, 4_096 if quick else 65_536), usable_cpus()
    return lambda: transform.fft(signal, workers=workers)


def pandas_groups(quick: bool) -> Callable[[], object]:
    pandas = needed("pandas")
    length = 20_000 if quick else 1_000_000
    frame = pandas.DataFrame({"key": np.arange(length) % 100, "value": numbers(length)})
    return lambda: frame.groupby("key")["value"].agg(["mean", "std", "max"])


def pandas_correlations(quick: bool) -> Callable[[], object]:
    pandas = needed("pandas")
    frame = pandas.DataFrame(numbers(1_000 if quick else 50_000, 40))
    return lambda: np.linalg.inv(frame.cov().to_numpy())


def dask_product(quick: bool) -> Callable[[], object]:
    """Multiply blocks of 250 x 250, on Dask's own threads."""
    dask = needed("dask.array", '"dask[array]"')
    side = 500 if quick else 2_000
    a = dask.from_array(numbers(side, side), chunks=250)
    return lambda: (a @ a).compute(scheduler="threads")


def joblib_tasks(quick: bool) -> Callable[[], object]:
    """Start threads of joblib's, each of which calls BLAS."""
    joblib = needed("joblib")
    matrices = [numbers(200, 200) for _ in range(4 if quick else 40)]
    run = joblib.Parallel(n_jobs=2, backend="threading")
    return lambda: run(joblib.delayed(np.linalg.svd)(matrix) for matrix in matrices)


@contextmanager
def one_count() -> Iterator[None]:
    """Set the process-wide count alone."""
    import autotune

    with autotune.apply(per_call=False):
        yield


@contextmanager
def per_call() -> Iterator[None]:
    """Apply anew for the program: `apply()` of the whole process was there before it."""
    import autotune

    with autotune.apply():
        yield


def program(title: str, work: Work, around: Callable[[], AbstractContextManager[object]], how: str) -> Program:
    """Return one row. Both sides make the same call; what it runs in differs."""

    def make(quick: bool) -> Pair:
        call = work(quick)
        return Pair(plain=call, tuned=call, around_tuned=around)

    return Program(title=f"{title}, {how}", make=make)


NEIGHBOURS = 2
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10_000))"


@contextmanager
def next_to_neighbours(*inner: AbstractContextManager[object]) -> Iterator[None]:
    """Run next to busy processes, and in further contexts."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(NEIGHBOURS)]
    try:
        with ExitStack() as stack:
            for context in inner:
                stack.enter_context(context)
            yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def boosting(rows: int) -> Program:
    """Return one row: a fit of ten trees, plain and with the profile's choice of OpenMP threads."""
    operation, columns = "hist_gradient_boosting", 20

    def make(_quick: bool) -> Pair:
        import autotune

        ensemble = needed("sklearn.ensemble", "scikit-learn")
        covered(operation, rows=rows, columns=columns)
        data = numbers(rows, columns)
        estimator = ensemble.HistGradientBoostingRegressor(max_iter=10, early_stopping=False, random_state=0)

        def fit() -> object:
            return estimator.fit(data, 2 * data[:, 0])

        return Pair(
            plain=fit,
            tuned=fit,
            asks=(operation, {"rows": rows, "columns": columns}),
            around_plain=next_to_neighbours,
            around_tuned=lambda: next_to_neighbours(autotune.tuned(operation, rows=rows, columns=columns)),
        )

    return Program(
        title=f"scikit-learn HistGradientBoosting, {rows:,} x {columns}, next to 2 busy processes", make=make
    )


WORKS: dict[str, tuple[str, Work]] = {
    "kmeans": ("scikit-learn KMeans, 20,000 x 30", kmeans),
    "pca": ("scikit-learn PCA, 4,000 x 100", pca),
    "pca_small": ("scikit-learn, 20 PCA of 128 x 128", pca_small),
    "eigh": ("scipy.linalg.eigh, 500 x 500", eigh),
    "eigh_small": ("scipy.linalg.eigh, 50 of 128 x 128", eigh_small),
    "fft": ("scipy.fft with workers, 64 x 65,536", fft),
    "pandas_groups": ("pandas groupby, a million rows", pandas_groups),
    "pandas_inverse": ("inverse of a covariance of pandas', 50,000 x 40", pandas_correlations),
    "dask_product": ("Dask product, 2,000 x 2,000 in blocks of 250", dask_product),
    "joblib_tasks": ("joblib, 40 SVD of 200 x 200 on 2 threads", joblib_tasks),
}

PROGRAMS = {
    f"{name}{suffix}": program(title, work, around, how)
    for name, (title, work) in WORKS.items()
    for suffix, around, how in (("", one_count, "`apply(per_call=False)`"), ("_per_call", per_call, "`apply()`"))
} | {f"boosting_{rows}": boosting(rows) for rows in (1_000, 100_000)}

if __name__ == "__main__":
    sys.exit(main("benchmarks.libraries", __doc__, PROGRAMS, ask=True))
