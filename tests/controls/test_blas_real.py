"""The loaded BLAS itself, in fresh processes, together with threadpoolctl."""

import json
import os
import textwrap

import pytest
from support.programs import printed

pytestmark = pytest.mark.real

FREE = {"AUTOTUNE_EXPORTED": "OPENBLAS_NUM_THREADS"}
"""As if we had exported the count: then it may exceed the CPUs of a small machine, too."""


def child(code, **environ):
    """Return what a fresh process, which has NumPy and `blas`, gives as `result`."""
    program = f"""
import json, os, threading
environment = dict(os.environ)
import numpy
from autotune.controls import blas
def counts():
    import threadpoolctl
    return [found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"]
def elsewhere(act):
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
if not blas.loaded_libraries():  # which also imports threadpoolctl
    result = None
else:
{textwrap.indent(textwrap.dedent(code), "    ")}
print(json.dumps(result))
"""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    result = json.loads(printed(program, environ={**clean, **environ}))
    if result is None:
        pytest.skip("NumPy's BLAS is one that threadpoolctl cannot see")
    return result


def test_a_scope_changes_what_threadpoolctl_reads_and_puts_it_back():
    before, within, after = child(
        """
        before = counts()
        with blas.limit(3):
            within = counts()
        result = [before, within, counts()]
        """,
        **FREE,
    )
    assert (set(within), after) == ({3}, before)


def test_the_process_wide_count_leaves_a_workers_own_limit_in_force():
    """threadpoolctl 3.8 drops it silently where another thread has set the count through threadpoolctl."""
    seen = child(
        """
        blas.set_threads(3)
        result = []
        def work():
            import threadpoolctl
            with threadpoolctl.threadpool_limits(1):
                result.extend(counts())
        elsewhere(work)
        """,
        **FREE,
    )
    assert set(seen) == {1}


def test_children_inherit_the_environment_as_it_was():
    assert child(
        """
        blas.set_threads(1)
        result = environment == dict(os.environ)
        """
    )


def test_another_s_limit_is_not_exceeded_within_it():
    seen = child(
        """
        import threadpoolctl
        blas.set_threads(3)
        with threadpoolctl.threadpool_limits(1):
            with blas.limit(4):
                result = counts()
        """,
        **FREE,
    )
    assert set(seen) == {1}


def test_the_users_variable_is_not_exceeded():
    assert child("result = blas.set_threads(4)", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1") == 1


def test_scipys_own_blas_takes_the_process_wide_count_when_it_is_imported():
    pytest.importorskip("scipy")
    seen = child(
        """
        blas.set_threads(3)
        import scipy.linalg
        result = counts()
        """,
        **FREE,
    )
    assert set(seen) == {3}


def test_ten_threads_in_and_out_of_scopes_at_random_end_where_they_began():
    before, after = child(
        """
        import random, time
        before, end = counts(), time.monotonic() + 0.5
        def work(seed):
            rng, open_scopes = random.Random(seed), []
            while time.monotonic() < end or open_scopes:
                if open_scopes and (rng.random() < 0.5 or time.monotonic() >= end):
                    open_scopes.pop(rng.randrange(len(open_scopes))).__exit__(None, None, None)
                else:
                    open_scopes.append(blas.limit(rng.randint(1, 4)))
                    open_scopes[-1].__enter__()
        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(10)]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        result = [before, counts()]
        """
    )
    assert before == after


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_child_forked_next_to_another_threads_scope_has_the_count_from_before():
    before, forked = child(
        """
        import warnings
        warnings.simplefilter("ignore")  # 3.12 warns of forking with threads, which is what is tried here
        before = counts()
        scope = blas.limit(1)
        elsewhere(scope.__enter__)
        receiving, sending = os.pipe()
        if os.fork() == 0:
            numpy.ones((300, 300)) @ numpy.ones((300, 300))
            os.write(sending, json.dumps(counts()).encode())
            os._exit(0)
        os.close(sending)
        result = [before, json.loads(os.read(receiving, 1000))]
        os.wait()
        """
    )
    assert forked == before
