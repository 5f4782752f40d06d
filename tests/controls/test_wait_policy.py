"""The spin time of idle BLAS threads can be set before a library is loaded, and after it where its build allows that."""

import json
import os
import subprocess
import sys

import pytest

from autotune.controls.wait_policy import (
    RUNTIMES,
    VARIABLE,
    adjustable_runtimes,
    exponent_of,
    runtimes_in,
    spin_seconds,
    variables,
    wait_variables,
)


@pytest.mark.parametrize(
    ("value", "exponent"),
    [("20", 20), ("4", 4), ("30", 30), ("99", 30), ("3", None), ("-5", None), ("x", None), ("", None)],
)
def test_an_exponent_is_read_as_openblas_reads_it(value, exponent):
    assert exponent_of({VARIABLE: value}) == exponent


def test_threads_spin_half_as_long_with_one_less():
    assert spin_seconds(None) == spin_seconds(28) == 2 * spin_seconds(27)


def test_the_default_needs_no_variable():
    assert variables(None) == variables(28) == {}
    assert variables(20) == {VARIABLE: "20"}


@pytest.mark.parametrize(
    ("maps", "kinds"),
    [
        ("/x/numpy.libs/libscipy_openblas64_-8fb3.so", {"openblas"}),
        ("/x/scikit_learn.libs/libgomp-d22c30c5.so.1.0.0", {"libgomp", "openmp"}),
        ("/opt/intel/libiomp5.so\n/opt/intel/libmkl_rt.so.2", {"kmp", "openmp"}),
        ("/usr/lib/libc.so.6", set()),
    ],
)
def test_runtimes_are_told_by_the_libraries_that_a_process_has_loaded(maps, kinds):
    assert runtimes_in(maps) == kinds


def test_idle_threads_sleep_or_spin_by_the_variables_of_the_runtimes_alone():
    assert wait_variables(None, RUNTIMES) == {}
    assert wait_variables("sleep", {"openblas"}) == {VARIABLE: "20"}
    assert wait_variables("spin", {"openmp", "libgomp"}) == {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "infinite"}


def test_the_waiting_of_a_runtime_whose_variable_is_set_is_left_alone():
    assert adjustable_runtimes({VARIABLE: "26"}) == RUNTIMES - {"openblas"}
    assert adjustable_runtimes({"KMP_BLOCKTIME": "0"}, {"kmp", "openmp"}) == {"openmp"}


PROGRAM = """
import ctypes, json, os, sys, threading
sys.path[:0] = {paths!r}
from autotune.controls import wait_policy
from autotune.host.numeric_libraries import libraries

def time_outs():
    "Of each library, if its build tells."
    found = []
    for one in libraries():
        if one.api == "openblas" and one.threading == "pthreads":
            try:
                found.append(ctypes.CDLL(one.path)["openblas_thread_timeout"]())
            except AttributeError:
                found.append(None)
    return found

def counts():
    return [one.threads for one in libraries()]
"""


def run(code, **environ):
    """Run code in a fresh process, and return what it prints as JSON."""
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(paths=[path for path in sys.path if path]) + code],
        env={**clean, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.real
def test_a_library_that_is_loaded_within_takes_it_and_children_do_not():
    answers = run("""
with wait_policy.process.loading(20):
    import numpy as np
print(json.dumps([time_outs(), os.environ.get("OPENBLAS_THREAD_TIMEOUT"), wait_policy.process.exponent]))
""")
    if not answers[0]:
        pytest.skip("NumPy's BLAS is not OpenBLAS with threads of its own")
    assert answers[0] in ([20], [None])
    assert answers[1:] == [None, 20]


@pytest.mark.real
def test_a_loaded_library_takes_it_and_multiplies_on_or_it_is_said_why_not():
    before, refusal, after, counts, variable, right = run("""
import numpy as np
a = np.ones((300, 300))
a @ a
before, threads = time_outs(), counts()
refusal = wait_policy.process.set_late(20)
right = bool((a @ a == 300).all())
print(json.dumps([before, refusal, time_outs(), counts() == threads, os.environ.get("OPENBLAS_THREAD_TIMEOUT"), right]))
""")
    assert (counts, variable, right) == (True, None, True)
    if before == [None]:
        assert "cannot change it" in refusal
    else:
        assert refusal is None
        assert after == [20] * len(after)


@pytest.mark.real
def test_while_other_threads_run_or_variables_have_changed_a_loaded_library_is_left_alone():
    answers = run("""
import numpy as np
event = threading.Event()
other = threading.Thread(target=event.wait)
other.start()
busy = wait_policy.process.set_late(20)
event.set()
other.join()
os.environ["OPENBLAS_VERBOSE"] = "2"
changed = wait_policy.process.set_late(20)
print(json.dumps([busy, changed, wait_policy.process.exponent]))
""")
    if answers == [None, None, 20]:
        pytest.skip("NumPy's BLAS is not OpenBLAS with threads of its own")
    assert "other threads" in answers[0]
    assert "OPENBLAS_VERBOSE" in answers[1]
    assert answers[2] is None
