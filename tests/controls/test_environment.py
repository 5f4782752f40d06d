"""Environment variables: whose they are, and what they ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.controls import thread_variables

NAMES = [
    *sorted(thread_variables.THREADS | thread_variables.PLACEMENT | thread_variables.ALLOCATOR),
    "PATH",
    "OPENBLAS_CORETYPE",
    thread_variables.EXPORTED,
    thread_variables.TUNABLES,
]
ENVIRONMENTS = st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12))


def test_scrubbing_takes_out_what_a_dask_nanny_sets_and_says_so():
    environ = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
    assert thread_variables.scrub(environ) == ({"PATH": "/bin"}, ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS"))


def test_trials_of_a_program_that_is_run_tuned_or_recorded_are_neither():
    environ = {"AUTOTUNE_START": "record:/f", "AUTOTUNE_START_CHILDREN": "1", "AUTOTUNE_START_REPORT": "/r"}
    assert thread_variables.scrub(environ) == ({}, ())


def test_scrubbing_takes_out_where_threads_run():
    assert thread_variables.scrub({"OMP_PROC_BIND": "true", "KMP_AFFINITY": "compact"})[0] == {}


@pytest.mark.parametrize("name", ["OPENBLAS_CORETYPE", "OPENBLAS_THREAD_TIMEOUT", "OMP_WAIT_POLICY", "LD_PRELOAD"])
def test_scrubbing_keeps_what_programs_will_meet_too(name):
    assert thread_variables.scrub({name: "4"}) == ({name: "4"}, ())


def test_scrubbing_takes_only_mallocs_part_out_of_glibcs_tunables():
    environ = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2:glibc.malloc.mmap_max=0"}
    assert thread_variables.scrub(environ) == ({"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2"}, ("GLIBC_TUNABLES",))


def test_scrubbing_takes_tunables_out_whole_where_they_are_all_mallocs():
    assert thread_variables.scrub({"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0"}) == ({}, ("GLIBC_TUNABLES",))


def test_scrubbing_drops_our_own_list_without_calling_it_the_users():
    assert thread_variables.scrub({"AUTOTUNE_EXPORTED": "OPENBLAS_NUM_THREADS"}) == ({}, ())


@given(ENVIRONMENTS)
def test_a_scrubbed_environment_has_nothing_left_to_scrub(environ):
    clean, _ = thread_variables.scrub(environ)
    assert thread_variables.scrub(clean) == (clean, ())


def test_exports_are_read_by_blas_libraries_alone_and_listed():
    assert thread_variables.exports(3, {}) == {
        "OPENBLAS_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "BLIS_NUM_THREADS": "3",
        "VECLIB_MAXIMUM_THREADS": "3",
        "AUTOTUNE_EXPORTED": "OPENBLAS_NUM_THREADS,MKL_NUM_THREADS,BLIS_NUM_THREADS,VECLIB_MAXIMUM_THREADS",
    }


def test_nothing_is_exported_where_the_count_is_left_alone():
    assert thread_variables.exports(None, {"PATH": "/bin"}) == {}


def test_what_the_user_set_is_not_exported():
    assert "MKL_NUM_THREADS" not in thread_variables.exports(3, {"MKL_NUM_THREADS": "8"})


def test_what_we_exported_before_is_exported_anew():
    environ = {"OPENBLAS_NUM_THREADS": "8", "AUTOTUNE_EXPORTED": "OPENBLAS_NUM_THREADS"}
    assert thread_variables.exports(3, environ)["OPENBLAS_NUM_THREADS"] == "3"


def test_exports_stay_within_a_limit_that_the_user_gave_by_another_variable():
    assert thread_variables.exports(8, {"OMP_NUM_THREADS": "2"})["OPENBLAS_NUM_THREADS"] == "2"


def test_nothing_is_listed_where_the_user_set_everything():
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    assert thread_variables.exports(2, dict.fromkeys(names, "1")) == {}


@given(ENVIRONMENTS, st.integers(1, 512))
def test_exports_never_name_openmp_and_never_override_the_user(environ, threads):
    exports = thread_variables.exports(threads, environ)
    users = environ.keys() - thread_variables.exported_names(environ) - {thread_variables.EXPORTED}
    assert not [name for name in exports if name.startswith("OMP_") or name in users]


@given(ENVIRONMENTS, st.integers(1, 512))
def test_a_child_with_our_exports_sees_the_same_limit_of_the_user(environ, threads):
    child = {**environ, **thread_variables.exports(threads, environ)}
    assert thread_variables.user_limit(child) == thread_variables.user_limit(environ)


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3", "GOTO_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "4"}, 4),
        ({"OPENBLAS_NUM_THREADS": "1,4"}, 1),
        ({"OPENBLAS_NUM_THREADS": " +2x"}, 2),
        ({"OPENBLAS_NUM_THREADS": "abc", "OMP_NUM_THREADS": "2"}, 2),
        ({"OPENBLAS_NUM_THREADS": "0"}, None),
        ({"OPENBLAS_NUM_THREADS": "-1"}, None),
        ({"OPENBLAS_NUM_THREADS": ""}, None),
        ({"OPENBLAS_NUM_THREADS": "٣"}, None),
        ({"OPENBLAS_NUM_THREADS": "9" * 5000}, None),
        ({"MKL_NUM_THREADS": "1"}, None),
        ({"OPENBLAS_NUM_THREADS": "1", "AUTOTUNE_EXPORTED": "OPENBLAS_NUM_THREADS"}, None),
    ],
)
def test_the_users_limit_is_what_openblas_would_read(environ, limit):
    assert thread_variables.user_limit(environ) == limit


def test_each_library_reads_its_own_variable_first():
    environ = {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "3"}
    assert [thread_variables.user_limit(environ, api=api) for api in ("mkl", "blis", "accelerate")] == [1, 3, None]


def test_allocator_settings_are_named():
    environ = {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0", "OMP_NUM_THREADS": "1"}
    assert thread_variables.allocator_settings(environ) == ("GLIBC_TUNABLES", "MALLOC_ARENA_MAX")
