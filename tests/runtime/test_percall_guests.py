"""threadpoolctl, joblib, Dask and scikit-learn together with apply(): nothing leaks into them."""

import json
import os
import textwrap

import numpy as np  # noqa: F401 - its BLAS is asked below
import pytest
from support.profile_builders import make_entry, of_this_machine
from support.programs import printed

from autotune.controls import blas
from autotune.profiles import profile_files

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif((blas.current() or 1) < 2, reason="BLAS runs with one thread here anyway"),
]

ONE = {"blas_threads": 1}


@pytest.fixture
def run(tmp_path):
    """Runs code in a process in which `applied` is an apply() of everything, or None, and gives what it prints."""
    profile = tmp_path / "ones.yaml"
    entries = [make_entry("matmul", choice=ONE, safe=(1,), m=n, k=n, n=n) for n in (1, 900)]
    entries += [make_entry("qr", choice=ONE, safe=(1,), m=n, n=n) for n in (1, 900)]
    profile_files.write(of_this_machine(*entries, make_entry("pinv", m=9, n=9)), profile)

    def start(code, *, with_autotune=True):
        apply = "autotune.apply(strict=True)" if with_autotune else "None"
        code = f"import autotune\napplied = {apply}\n{textwrap.dedent(code)}"
        environ = {**os.environ, "AUTOTUNE_PROFILE": str(profile)}
        return json.loads(printed(code, environ=environ, folder=tmp_path).splitlines()[-1])

    return start


def test_limits_of_threadpoolctl_hold_in_main_and_in_workers_and_leave_nothing(run):
    """From 3.8 on its first caller owns the library while alive: that must be the user's own, not autotune."""
    code = """
        import json, threading
        import numpy as np
        from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

        a = np.eye(200)

        def counts():
            np.linalg.qr(a) @ a
            return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

        def limited(limit):
            with threadpool_limits(limit):
                return counts()

        def elsewhere(limit):
            found = []
            thread = threading.Thread(target=lambda: found.append(limited(limit)))
            thread.start()
            thread.join()
            return found[0]

        before = counts()
        seen = [elsewhere(1) == {1}, limited(1) == {1}, limited({"blas": 1}) == {1}, limited(None) == before]
        with threadpool_limits(1), threadpool_limits(2, user_api="openmp"):
            seen.append(counts() == {1})
        with ThreadpoolController().limit(limits=1, user_api="blas"):
            seen.append(counts() == {1})
        limits = threadpool_limits(1)
        seen.append(counts() == {1})
        getattr(limits, "restore_original_limits", limits.unregister if hasattr(limits, "unregister") else None)()
        seen.append(counts() == before)
        applied.restore()
        print(json.dumps([seen, counts() == before]))
    """
    assert run(code) == [[True] * 8, True]


def test_joblibs_and_loky_workers_have_the_threads_that_they_have_without(run):
    pytest.importorskip("joblib")
    code = """
        import json
        from joblib import Parallel, delayed, parallel_config

        def counts():
            import os, numpy as np, scipy.linalg
            from threadpoolctl import threadpool_info
            np.linalg.qr(np.eye(50))
            names = sorted(name for name in os.environ if name.endswith("_NUM_THREADS"))
            found = sorted((one["prefix"], one["num_threads"]) for one in threadpool_info())
            return [[name, os.environ[name]] for name in names], found, "autotune" in __import__("sys").modules

        seen = []
        for backend, more in (("loky", {}), ("loky", {"inner_max_num_threads": 1}), ("multiprocessing", {})):
            with parallel_config(backend=backend, n_jobs=2, **more):
                seen.append(Parallel()(delayed(counts)() for _ in range(2))[0])
        print(json.dumps(seen[:2] + [seen[2][:2]]))
    """
    assert run(code) == run(code, with_autotune=False)


def test_dasks_workers_have_the_threads_that_they_have_without(run):
    pytest.importorskip("distributed")
    code = """
        import json

        def counts():
            import os, numpy as np
            from threadpoolctl import threadpool_info
            np.linalg.qr(np.eye(50))
            names = sorted(name for name in os.environ if name.endswith("_NUM_THREADS"))
            return [[name, os.environ[name]] for name in names], [one["num_threads"] for one in threadpool_info()]

        if __name__ == "__main__":
            from distributed import Client, LocalCluster

            with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
                print(json.dumps(client.submit(counts).result()))
    """
    assert run(code) == run(code, with_autotune=False)


def test_scikit_learn_computes_the_same_next_to_it(run):
    pytest.importorskip("sklearn")
    code = """
        import json
        import numpy as np
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LinearRegression, Ridge
        from threadpoolctl import threadpool_info

        def counts():
            return sorted((one["prefix"], one["num_threads"]) for one in threadpool_info())

        x = np.random.default_rng(0).standard_normal((300, 20))
        y = x @ np.arange(20.0)
        KMeans(3, n_init=1, random_state=0).fit(x)
        before = counts()
        found = [
            KMeans(3, n_init=2, random_state=0).fit(x).inertia_,
            PCA(3).fit(x).explained_variance_.sum(),
            LinearRegression(n_jobs=2).fit(x, y).score(x, y),
            Ridge(solver="cholesky").fit(x, y).score(x, y),
        ]
        print(json.dumps([found, counts() == before]))
    """
    with_it, without = run(code), run(code, with_autotune=False)
    assert with_it[0] == pytest.approx(without[0], rel=1e-9)
    assert with_it[1] is without[1] is True
