"""Runs the tests of the packages whose calls autotune meets, plain and switched, and compares them.

Every test must come out the same under `autotune run`, with a profile that has one thread for
each operation of BLAS, so that the count changes at nearly every call, and with every loop of 128 elements cut. It
takes a quarter of an hour; the packages have to be installed with their tests, and threadpoolctl's, which come with its
repository only, named by --path.

    scripts/benchmarks/run foreign_tests numpy scipy joblib
    scripts/benchmarks/run foreign_tests xarray --everything     with learning, reductions and retained memory, too
    scripts/benchmarks/run foreign_tests --path ~/src/threadpoolctl/tests
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

GUESTS: Mapping[str, Sequence[str]] = {
    "numpy": ("numpy.linalg", "numpy._core", "numpy.random", "numpy.lib", "numpy.ma"),
    "scipy": (
        *("scipy.linalg.tests.test_basic", "scipy.linalg.tests.test_decomp", "scipy.linalg.tests.test_matfuncs"),
        *("scipy.optimize.tests.test_optimize", "scipy.optimize.tests.test_least_squares"),
        *("scipy.fft", "scipy.stats.tests.test_multivariate", "scipy.stats.tests.test_kdeoth"),
    ),
    # all of test_parallel hangs now and then by itself, in a container
    "joblib": ("joblib.test.test_parallel", "-k", "inner_max or threadpool or limit"),
    "xarray": ("xarray.tests.test_computation", "xarray.tests.test_duck_array_ops"),
    "statsmodels": ("statsmodels.regression.tests.test_regression", "statsmodels.multivariate"),
    "dask": (
        *("dask.array.tests.test_linalg", "dask.array.tests.test_reductions"),
        *("dask.array.tests.test_ufunc", "dask.array.tests.test_random"),
    ),
    "pandas": (
        *("pandas.tests.frame.methods", "pandas.tests.computation"),
        *("pandas.tests.window", "pandas.tests.arithmetic"),
    ),
    "sklearn": (
        *("sklearn.linear_model", "sklearn.decomposition", "sklearn.utils.tests.test_parallel"),
        *("sklearn.cluster.tests.test_k_means", "sklearn.cluster.tests.test_hierarchical"),
        "sklearn.ensemble._hist_gradient_boosting",
    ),
}

EVERYTHING = """import autotune

autotune.apply(allocator="retain", reductions=True, learn=True, strict=True)
"""
"""A plug-in of pytest."""

Outcomes = dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guests", nargs="*", metavar="PACKAGE", help=f"of {', '.join(GUESTS)}; all by default")
    parser.add_argument("--path", action="append", default=[], help="a file or folder of tests; may be repeated")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only tests that match, as pytest takes it")
    parser.add_argument("--everything", action="store_true", help="also learn, retain memory and cut reductions")
    options = parser.parse_args()
    differs = 0
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "ones.yaml")
        write_profile(profile)
        Path(folder, "everything.py").write_text(EVERYTHING, "utf-8")
        Path(folder, "pytest.ini").write_text("[pytest]\n", "utf-8")
        named = options.guests or ([] if options.path else list(GUESTS))
        suites = {name: ["--pyargs", *GUESTS[name]] for name in named}
        suites |= {path: [str(Path(path).resolve())] for path in options.path}
        for name, tests in suites.items():
            arguments = [*tests, *(("-k", options.k) if options.k else ())]
            plain = outcomes(arguments, folder)
            switched = outcomes(arguments, folder, profile, everything=options.everything)
            differs += compare(name, plain, switched)
    return int(differs > 0)


def write_profile(path: Path) -> None:
    """Choose one thread for every operation of BLAS, at every size that a test may have; loops are cut."""
    from autotune.host.usable_cpus import usable_cpus
    from autotune.model.catalogue import CATALOGUE, Family, operation
    from autotune.model.configuration import Configuration
    from autotune.model.entry import Entry, Evidence, Status
    from autotune.model.profile import Profile, Provenance
    from autotune.profiles import profile_files
    from autotune.profiles.resolve import this_site

    entries = [
        Entry(
            operation=operation(kind.name, dtype=dtype, n=n),
            status=Status.TUNED,
            reason="Made for tests.",
            choice=Configuration(blas_threads=1),
            evidence=Evidence(speedup=2.0, safe_threads=(1,)),
        )
        for kind in CATALOGUE.values()
        if kind.family is Family.LINALG and kind.name != "pinv"
        for dtype in kind.dtypes
        for n in (1, 4000)
    ]
    # and every loop of more than 128 elements in slices of 64, so that tests of small arrays meet cut loops
    entries += [
        Entry(
            operation=operation(kind.name, dtype=dtype, n=128),
            status=Status.TUNED,
            reason="Made for tests.",
            choice=Configuration(workers=2, chunk=64),
            evidence=Evidence(speedup=2.0),
        )
        for kind in CATALOGUE.values()
        if kind.family is Family.LOOP
        for dtype in kind.dtypes
    ]
    # the count at rest stays that of the library: one thread is not safe for this one
    entries.append(Entry(operation=operation("pinv", n=100), status=Status.DEFAULT_KEPT, reason="Made for tests."))
    site = this_site(*usable_cpus())
    profile_files.write(Profile(key=site.key, provenance=Provenance(host=site.host), entries=tuple(entries)), path)


def outcomes(tests: Sequence[str], folder: str, profile: Path | None = None, *, everything: bool = False) -> Outcomes:
    """Return the outcome of each test by its name; with a profile, switched by it."""
    report = Path(folder, "report.xml")
    report.unlink(missing_ok=True)
    switched = [sys.executable, "-m", "autotune", "run", "--"] if profile is not None and not everything else []
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder]
    pytest += ["-c", str(Path(folder, "pytest.ini"))]  # a package's own settings may need plug-ins
    pytest += ["-p", "everything"] if everything else []
    pytest += ["--continue-on-collection-errors", f"--junitxml={report}", *tests]
    environment = {**os.environ, "AUTOTUNE_PROFILE": str(profile or os.devnull)}
    environment["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [environment.get("PYTHONPATH")])])
    done = subprocess.run(
        [*switched, *pytest], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if not report.exists():
        sys.exit(f"pytest ended with {done.returncode} and no report:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    results = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        flaws = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        results[f"{case.get('classname')}::{case.get('name')}"] = flaws[0] if flaws else "passed"
    return results


def compare(name: str, plain: Outcomes, switched: Outcomes) -> int:
    """Print and count the tests that came out differently."""
    print(f"{name}: plain {dict(Counter(plain.values()))}, switched {dict(Counter(switched.values()))}", flush=True)
    different = [test for test in {**plain, **switched} if plain.get(test) != switched.get(test)]
    for test in different:
        print(f"  {test}: {plain.get(test, 'not run')} plain, {switched.get(test, 'not run')} switched")
    return len(different)


if __name__ == "__main__":
    sys.exit(main())
