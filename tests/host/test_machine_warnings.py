"""Advice, and nothing that is not useful."""

from dataclasses import replace

import pytest

from autotune.host.machine_warnings import NO_BLAS, NO_CPUS, SMALL_SHARED_MEMORY, machine_warnings
from autotune.host.numeric_libraries import isolating_tool
from autotune.model.allocation import Limit
from autotune.model.machine import Allocation, Counts, Cpu, Machine
from autotune.model.software import BlasLibrary

ONE = BlasLibrary(api="openblas", version="0.3.31", threads=2, user="numpy")
CPUS = Counts(logical_cpus=8)
TWO = BlasLibrary(api="openblas", version="0.3.30", threads=2, user="scipy")


def said(machine=None, allocation=None, libraries=(ONE,), environ=None, **rest):
    return machine_warnings(
        machine or Machine(counts=CPUS), allocation or Allocation(usable_cpus=2), libraries, environ, **rest
    )


def test_if_all_is_well_nothing_is_said():
    assert said(governor="performance", shared_memory_bytes=SMALL_SHARED_MEMORY) == ()


def test_more_blas_threads_than_the_quota_allows():
    limited = Allocation(usable_cpus=2, limit=Limit.QUOTA, quota_cpus=1.5)
    (sentence,) = said(allocation=limited, libraries=(BlasLibrary(api="openblas", threads=8, user="numpy"),))
    assert "NumPy's OpenBLAS uses 8 threads" in sentence
    assert "1.5 CPUs' worth of time) allows 2" in sentence
    assert "OPENBLAS_NUM_THREADS=2" in sentence


@pytest.mark.parametrize("limit", list(Limit))
def test_every_limit_has_its_words(limit):
    (sentence,) = said(allocation=Allocation(usable_cpus=1, limit=limit))
    assert "uses 2 threads" in sentence


def test_two_copies_of_a_blas():
    (sentence,) = said(libraries=(ONE, replace(TWO, user=None)))
    assert sentence.startswith("2 BLAS libraries are loaded: NumPy's OpenBLAS 0.3.31, OpenBLAS 0.3.30.")


def test_the_copy_that_scipy_brings_is_no_reason_to_warn():
    assert said(libraries=(ONE, TWO)) == ()


@pytest.mark.parametrize(
    ("api", "threading", "words"),
    [
        ("openblas", "pthreads", "OpenBLAS uses 8 threads, but this machine has 2; the surplus"),
        ("openblas", "pthreads", "like OPENBLAS_NUM_THREADS=2 set"),
        ("openblas", "openmp", "like OMP_NUM_THREADS=2 set"),
        ("mkl", "intel", "MKL uses 8 threads"),
        ("mkl", "gnu", "like MKL_NUM_THREADS=2 set"),
        ("blis", "openmp", "like BLIS_NUM_THREADS=2 set"),
        ("flexiblas", None, "FlexiBLAS uses 8 threads"),
        ("armpl", None, "armpl uses 8 threads"),
        ("armpl", None, "like OMP_NUM_THREADS=2 set"),
    ],
)
def test_too_many_threads_are_said_in_the_words_of_the_library(api, threading, words):
    sentences = said(libraries=(BlasLibrary(api=api, threading=threading, threads=8),))
    assert words in sentences[-1]


def test_flexiblas_and_the_library_behind_it_are_one():
    assert said(libraries=(BlasLibrary(api="flexiblas", threads=2), ONE)) == ()
    (sentence,) = said(libraries=(BlasLibrary(api="flexiblas", threads=2), ONE, replace(TWO, user=None)))
    assert sentence.startswith("2 BLAS libraries are loaded: NumPy's OpenBLAS 0.3.31, OpenBLAS")


def test_no_blas_here_is_said_but_not_of_a_recording():
    assert said(libraries=()) == (NO_BLAS,)
    assert said(libraries=None) == ()


@pytest.mark.parametrize(
    ("name", "value"), [("OMP_NUM_THREADS", "abc"), ("OPENBLAS_NUM_THREADS", "0"), ("OMP_NUM_THREADS", "4,")]
)
def test_a_malformed_thread_count_is_quoted(name, value):
    (sentence,) = said(environ={name: value})
    assert sentence.startswith(f"{name}={value!r} is not a number of threads.")


@pytest.mark.parametrize("environ", [{"OMP_NUM_THREADS": "4,2"}, {"OMP_NUM_THREADS": ""}, {"OMP_PROC_BIND": "false"}])
def test_a_proper_setting_is_not_spoken_of(environ):
    assert said(environ=environ) == ()


@pytest.mark.parametrize("name", ["OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"])
def test_a_binding_that_pins_threads(name):
    (sentence,) = said(environ={name: "cores"})
    assert sentence.startswith(f"{name} is set.")


def test_our_own_variables_with_a_bad_value():
    assert [each.split("=")[0] for each in said(environ={"AUTOTUNE_CPUS": "abc", "AUTOTUNE_PROCESSES": "-3"})] == [
        "AUTOTUNE_CPUS",
        "AUTOTUNE_PROCESSES",
    ]


def test_half_a_cpu_is_no_place_to_measure():
    sentences = said(allocation=Allocation(usable_cpus=1, limit=Limit.QUOTA, quota_cpus=0.5), libraries=None)
    assert sentences[0].startswith("The CPU quota is 0.5 of one CPU.")


def test_cpus_that_are_off():
    (sentence,) = said(Machine(counts=CPUS, smt=2, offline_cpus=(3, 5)), Allocation(usable_cpus=4))
    assert sentence.startswith("CPUs switched off, and not counted: 2.")


def test_a_computer_of_which_nothing_could_be_read_is_not_called_well():
    """A wrong folder given as --root, mostly."""
    assert said(Machine(), libraries=None) == (NO_CPUS,)


def test_surroundings_that_spoil_timings_or_kill():
    sentences = said(governor="powersave", shared_memory_bytes=64 << 20)
    assert sentences[0].startswith("The CPU frequency governor is powersave")
    assert "holds only 64 MiB" in sentences[1]


@pytest.mark.parametrize(("busy", "sentences"), [(None, 0), (0.09, 0), (0.42, 1)])
def test_a_machine_that_others_use_is_no_place_to_calibrate(busy, sentences):
    warnings = said(busy=busy)
    assert len(warnings) == sentences
    assert all(each.startswith("Others keep 42% of the CPUs busy now.") for each in warnings)


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"WEB_CONCURRENCY": "4"}, "apply(processes=4)"),
        ({"SLURM_NTASKS_PER_NODE": "4"}, "srun"),
        ({"OMP_NUM_THREADS": "1"}, "unset it to use 2 CPUs"),
    ],
)
def test_variables_that_count_otherwise_than_expected_are_named(environ, word):
    (sentence,) = said(environ=environ)
    assert next(iter(environ)) in sentence
    assert word in sentence


@pytest.mark.parametrize(("mask", "sentences"), [(1, 1), (4, 0)])
def test_a_step_of_slurm_with_fewer_cpus_than_its_job_asked_for(mask, sentences):
    bound = Allocation(usable_cpus=mask, limit=Limit.AFFINITY)
    environ = {"SLURM_STEP_ID": "0", "SLURM_CPUS_PER_TASK": "4"}
    warnings = said(allocation=bound, environ=environ, libraries=(replace(ONE, threads=mask),))
    assert len(warnings) == sentences
    assert all("srun --cpus-per-task=4" in each for each in warnings)


def test_the_variable_that_caps_is_named():
    capped = Allocation(usable_cpus=1, limit=Limit.CAP)
    (sentence,) = said(allocation=capped, environ={"NSLOTS": "1"})
    assert "NSLOTS allows 1" in sentence


def test_an_openblas_on_openmp_that_variables_of_openblas_do_not_reach():
    (sentence,) = said(libraries=(replace(ONE, threading="openmp"),))
    assert "reads OMP_NUM_THREADS only" in sentence


@pytest.mark.parametrize(
    ("files", "folder", "tool"),
    [
        ((), "venv", None),
        (("uv-receipt.toml",), "tools", "uvx"),
        ((), "archive-v0/Xy", "uvx"),
        (("pipx_metadata.json",), "venvs", "pipx"),
    ],
)
def test_an_environment_made_for_one_command_is_recognised(tmp_path, files, folder, tool):
    prefix = tmp_path / folder
    prefix.mkdir(parents=True)
    for file in files:
        (prefix / file).touch()
    assert isolating_tool(str(prefix)) == tool
    assert [tool in sentence for sentence in said(isolating_tool=tool)] == ([True] if tool else [])


def test_a_container_without_locks_or_a_lasting_name_and_with_renumbered_cpus():
    machine = Machine(counts=CPUS, cpus=(Cpu(number=0), Cpu(number=1)))
    renumbered = Allocation(usable_cpus=2, affinity_cpus=2)
    sentences = said(machine, renumbered, has_semaphores=False, has_lasting_identity=False)
    words = ("lxcfs", "/dev/shm", "AUTOTUNE_HOST_ID")
    assert renumbered.is_renumbered
    assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))
