"""Which of a library's own functions read and set its thread count."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.programs import printed

from autotune.controls import blas_setters
from autotune.controls.blas import BlasThreads


class Native(dict):
    """A loaded library: symbols by name, AttributeError for those it lacks, as ctypes does it."""

    def __missing__(self, name):
        raise AttributeError(name)


def controller(api, layer="pthreads", **symbols):
    return SimpleNamespace(
        internal_api=api,
        filepath=f"/lib/{api}.so",
        threading_layer=layer,
        version="1.2.3",
        dynlib=Native(symbols),
        get_num_threads=lambda: 3,
        set_num_threads=lambda count: None,
    )


@pytest.mark.parametrize(("before", "after"), [("", ""), ("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "_64")])
def test_openblas_is_found_under_every_name_it_is_built_with(before, after):
    symbols = {
        f"{before}openblas_get_num_threads{after}": lambda: 5,
        f"{before}openblas_set_num_threads{after}": lambda count: None,
    }
    assert blas_setters.library(controller("openblas", **symbols)).get() == 5


def test_openblas_on_openmp_is_counted_by_thread_and_through_openmp():
    native = controller("openblas", "openmp", omp_get_max_threads=lambda: 7, omp_set_num_threads=lambda count: None)
    library = blas_setters.library(native)
    assert (library.per_thread, library.get()) == (True, 7)


@pytest.mark.parametrize(("layer", "limit"), [("openmp", None), ("pthreads", 1)])
def test_variables_of_openblas_limit_no_openblas_on_openmp(layer, limit, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    threads = BlasThreads(lambda: [blas_setters.library(controller("openblas", layer))])
    assert threads.user_limit() == limit
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.user_limit() == (limit or 3)


OPENMP_BUILD = "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so"


@pytest.mark.real
@pytest.mark.skipif(not Path(OPENMP_BUILD).exists(), reason="needs Debian's libopenblas0-openmp")
def test_a_real_openblas_on_openmp_reads_openmps_variable_only():
    code = f"""
import ctypes
ctypes.CDLL("{OPENMP_BUILD}")
from autotune.controls import blas
print([(one.is_on_openmp, one.threads) for one in blas.loaded_libraries()], blas.user_limit())
"""
    environ = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    assert printed(code, environ=environ | {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}) == ("[(True, 3)] 3\n")


def test_mkl_is_counted_by_thread_and_says_what_to_put_back():
    native = controller("mkl", "intel", MKL_Get_Max_Threads=lambda: 7, MKL_Set_Num_Threads_Local=lambda count: 0)
    library = blas_setters.library(native)
    assert (library.per_thread, library.returns_previous, library.get()) == (True, True, 7)


def test_blis_that_no_one_has_set_uses_one_thread_and_is_put_back_to_not_set():
    native = controller("blis", bli_thread_get_num_threads=lambda: -1, bli_thread_set_num_threads=lambda count: None)
    library = blas_setters.library(native)
    assert (library.get(), library.threads) == (-1, 1)


@pytest.mark.parametrize("api", ["blis", "flexiblas", "openblas", "unknown"])
def test_a_library_without_functions_that_we_know_is_left_to_threadpoolctl(api):
    library = blas_setters.library(controller(api))
    assert (library.per_thread, library.get()) == (False, 3)


@pytest.mark.parametrize(
    ("api", "environ", "ceiling"),
    [
        ("openblas", {}, 3),
        ("openblas", {"OPENBLAS_NUM_THREADS": "3"}, 3),
        ("openblas", {"OPENBLAS_NUM_THREADS": "3", "AUTOTUNE_EXPORTED": "OPENBLAS_NUM_THREADS"}, None),
        (
            "openblas",
            {"OPENBLAS_NUM_THREADS": "3", "AUTOTUNE_EXPORTED": "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS": "4"},
            4,
        ),
        ("blis", {}, None),
        ("blis", {"BLIS_NUM_THREADS": "3"}, 3),
    ],
)
def test_the_count_at_the_start_is_a_ceiling_unless_we_exported_it(api, environ, ceiling, monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS", "AUTOTUNE_EXPORTED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert blas_setters.library(controller(api)).ceiling(3) == ceiling


def test_another_count_than_that_at_the_start_is_other_codes_and_a_ceiling(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_EXPORTED", "OPENBLAS_NUM_THREADS")
    assert blas_setters.library(controller("openblas")).ceiling(2) == 2
