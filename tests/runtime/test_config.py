"""config() answers which configuration was measured for an operation."""

import numpy as np
import pytest
from support.profile_builders import make_entry, of_this_machine

import autotune
from autotune.controls import blas
from autotune.errors import BadSize, UnknownOperation
from autotune.model.configuration import Configuration
from autotune.profiles import folders, profile_files
from autotune.runtime.process_state import state


@pytest.fixture(autouse=True)
def profile(fresh):
    made = of_this_machine(
        make_entry("matmul", choice={"blas_threads": 1}, m=100, k=100, n=100),
        make_entry("matmul", m=2000, k=2000, n=2000),
        make_entry("sum", choice={"workers": 1, "chunk": 65536}, dtype="float32", n=1000),
        make_entry("simulate", choice={"blas_threads": 1}, steps=5),
    )
    profile_files.write(made, folders.user_profiles() / "mine.yaml")


def test_it_answers_without_apply_and_changes_nothing():
    before = blas.current()
    assert autotune.config("matmul", n=100) == Configuration(blas_threads=1)
    assert blas.current() == before


@pytest.mark.parametrize(
    ("operation", "dtype", "sizes", "expected"),
    [
        ("matmul", "float64", {"m": 100, "k": 100, "n": 100}, Configuration(blas_threads=1)),
        ("dot", "float64", {"n": 100}, Configuration(blas_threads=1)),
        ("matmul", np.float64, {"n": 100}, Configuration(blas_threads=1)),
        ("matmul", np.dtype("float64"), {"n": np.int64(100)}, Configuration(blas_threads=1)),
        ("matmul", "float64", {"n": 2000}, None),
        ("matmul", "float64", {"n": 5000}, None),
        ("matmul", "float32", {"n": 100}, None),
        ("matmul", "complex128", {"n": 100}, None),
        ("sum", "complex128", {"n": 1000}, None),
        ("mean", "float32", {"n": 1000}, Configuration(workers=1, chunk=65536)),
        ("simulate", "float64", {"steps": 5}, Configuration(blas_threads=1)),
        ("simulate", "float64", {"steps": 6}, None),
        ("unheard_of", "float64", {"n": 1}, None),
    ],
)
def test_none_means_plain_numpy(operation, dtype, sizes, expected):
    for _ in range(2):  # looked up, then remembered
        assert autotune.config(operation, dtype=dtype, **sizes) == expected


@pytest.mark.parametrize("sizes", [{}, {"n": 0}, {"n": 1.5}, {"n": "many"}, {"n": True}, {"n": [1]}, {"n": 1, "q": 2}])
def test_a_size_that_the_operation_cannot_have_raises(sizes):
    with pytest.raises(BadSize):
        autotune.config("matmul", **sizes)


def test_a_new_apply_forgets_old_answers(tmp_path):
    assert autotune.config("matmul", n=100) is not None
    empty = tmp_path / "named.yaml"
    profile_files.write(of_this_machine(make_entry("matmul", m=100, k=100, n=100)), empty)
    with autotune.apply(profile=empty):
        assert autotune.config("matmul", n=100) is None
    assert autotune.config("matmul", n=100) == Configuration(blas_threads=1)


def test_answers_are_bounded_in_number(monkeypatch):
    monkeypatch.setattr("autotune.runtime.process_state._MOST_ANSWERS", 5)
    for n in range(1, 20):
        autotune.config("matmul", n=n)
    assert len(state.answers) <= 5


def test_a_dtype_of_records_has_no_configuration():
    assert autotune.config("matmul", dtype=[("x", "f8")], n=100) is None


@pytest.mark.parametrize("name", ["\ud800", ["matmul"]])
def test_half_a_surrogate_pair_or_a_list_names_no_operation(name):
    with pytest.raises(UnknownOperation):
        autotune.config(name, n=100)
