"""The user's own function: what it takes, how it is found, what is wrong with it."""

from pathlib import Path

import numpy as np
import pytest

from autotune.bench import user_workload
from autotune.bench.process_bench import inspect_workload
from autotune.bench.user_workload import UserWorkload
from autotune.errors import BadWorkload
from autotune.model.catalogue import Family
from autotune.model.codec import decode, encode
from autotune.model.configuration import DEFAULT, Configuration, Knob
from autotune.model.operation import Operation

WORKLOADS = Path(__file__).parent / "workloads"


def _operation(**sizes):
    return Operation(name="work", dtype="float32", sizes=tuple(sizes.items()))


def test_a_signature_says_sizes_knobs_and_dtype():
    def work(m, n=5, *, workers=1, chunk=None, dtype="float64"):
        pass

    signature = user_workload.inspect_function(work, "work")

    assert signature.sizes == ("m",)
    assert signature.optional == ("n",)
    assert signature.knobs == (Knob.WORKERS, Knob.CHUNK)
    assert signature.takes_dtype
    assert not signature.any_size


def test_as_a_row_of_the_catalogue_it_has_blas_threads_and_the_knobs_that_it_names():
    kind = UserWorkload(name="work", knobs=(Knob.CHUNK, Knob.WORKERS), sizes=("n",)).kind

    assert kind.family is Family.USER
    assert kind.knobs == (Knob.BLAS_THREADS, Knob.WORKERS, Knob.CHUNK)
    assert kind.size_names == ("n",)


def test_other_pools_that_were_at_work_are_a_knob():
    kind = UserWorkload(name="work", knobs=(Knob.WORKERS,), pools=("blas", "openmp")).kind
    assert kind.knobs == (Knob.BLAS_THREADS, Knob.OPENMP_THREADS, Knob.WORKERS)


@pytest.mark.parametrize(
    ("name", "words"),
    [("<lambda>", "small letters"), ("Work", "small letters"), ("matmul", "catalogue"), ("mean", "catalogue")],
)
def test_a_name_that_no_profile_can_hold_is_refused(name, words):
    with pytest.raises(BadWorkload, match=words):
        user_workload.inspect_function(lambda n: n, name)


def test_parameters_by_position_only_are_refused():
    with pytest.raises(BadWorkload, match="by keyword"):
        user_workload.inspect_function(lambda n, /: n, "work")


def test_what_has_no_signature_is_refused():
    with pytest.raises(BadWorkload, match="does not say what it takes"):
        user_workload.inspect_function(type, "work")


@pytest.mark.parametrize(
    ("sizes", "words"), [({}, "needs a value for n"), ({"n": 1, "k": 2}, "no parameter k; it takes n, m")]
)
def test_sizes_that_it_does_not_take_are_refused(sizes, words):
    workload = UserWorkload(name="work", sizes=("n",), optional=("m",))

    with pytest.raises(BadWorkload, match=words):
        workload.refuse(sizes)


def test_sizes_that_it_takes_are_not_refused():
    UserWorkload(name="work", sizes=("n",), optional=("m",)).refuse({"n": 1})
    UserWorkload(name="work", sizes=("n",), any_size=True).refuse({"n": 1, "anything": 2})


def test_knobs_reach_the_function_only_where_they_are_set():
    def work(n, workers="its own", chunk="its own", dtype=None):
        return f"{n} {workers} {chunk} {dtype}"

    prepared = user_workload.from_function(work).prepare(_operation(n=7), "C", 0)

    assert prepared.plain() == "7 its own its own float32"
    assert prepared.tuned(Configuration(workers=3, blas_threads=2))() == "7 3 its own float32"
    assert prepared.tuned(DEFAULT)() == "7 its own its own float32"


def test_a_knob_without_a_default_stands_for_one_worker_and_one_slice():
    def work(n, workers, chunk):
        return f"{n} {workers} {chunk}"

    prepared = user_workload.from_function(work).prepare(_operation(n=7), "C", 0)

    assert prepared.plain() == "7 1 7"
    assert prepared.tuned(Configuration(workers=2, chunk=3))() == "7 2 3"


def test_a_function_without_a_file_travels_by_value_with_what_it_closes_over():
    offset = 5
    workload = user_workload.from_function(lambda n: n + offset, "added")

    arrived = decode(UserWorkload, encode(workload))

    assert arrived == workload
    assert arrived.load()(n=1) == 6


def test_a_function_that_cannot_be_pickled_is_refused():
    generator = (number for number in range(3))

    with pytest.raises(BadWorkload, match="cannot be taken to a fresh process: TypeError"):
        user_workload.from_function(lambda n: generator, "work")


@pytest.mark.parametrize(
    ("first", "second", "right"),
    [
        (np.ones(3), np.ones(3) * (1 + 1e-12), True),
        (np.ones(3), np.ones(3) * 1.001, False),
        (np.ones(3), np.ones(4), False),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), True),
        (np.ones(3, np.float32), np.ones(3, np.float32) * np.float32(1.0001), True),
        (np.arange(3), np.arange(3) + 1, False),
        (np.array([1e9, 0.0]), np.array([1e9, 1e-3]), True),
        ((1.0, np.ones(2)), (1.0, np.zeros(2)), False),
        ([1, 2], [1, 2], True),
        (1.0, None, False),
        (None, None, True),
        ("text", "other text", True),
        (np.empty(0), np.empty(0), True),
        (2 + 1j, 2 - 1j, False),
    ],
)
def test_later_results_are_compared_with_the_first(first, second, right):
    prepared = user_workload.from_function(lambda n: n, "work").prepare(_operation(n=1), "C", 0)

    assert prepared.check(first) is None
    assert (prepared.check(second) is None) is right


def test_the_first_result_is_kept_by_value():
    prepared = user_workload.from_function(lambda n: n, "work").prepare(_operation(n=1), "C", 0)
    reused = np.zeros(3)
    prepared.check(reused)

    reused[:] = 1

    assert "another result" in prepared.check(reused)


@pytest.mark.real
def test_a_file_is_described_in_a_fresh_process():
    workload = inspect_workload(f"{WORKLOADS / 'behaving.py'}:steady")

    assert workload.name == "steady"
    assert workload.source == f"{WORKLOADS / 'behaving.py'}:steady"
    assert workload.sizes == ("n",)
    assert workload.knobs == (Knob.WORKERS,)


@pytest.mark.real
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("VALUE = 1 / 0", r"ZeroDivisionError: division by zero \(.*work\.py:1\)"),
        ("def work(n):\n    return n +", r"invalid syntax \(.*work\.py:2\)"),
        ("work = \0", "null bytes"),
        ("import no_such_module", r"No module named 'no_such_module' \(.*work\.py:1\)"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("def other(n): pass", "has no function 'work'; it has other"),
        ("work = 5", "is not a function but int"),
        ("import os\nos._exit(7)", "the process that tried it died"),
        ("import time\ntime.sleep(600)", "longer than 2 s"),
    ],
)
def test_a_file_that_holds_no_workload_is_refused_with_its_cause(tmp_path, text, words):
    (tmp_path / "work.py").write_text(text)

    with pytest.raises(BadWorkload, match=words):
        inspect_workload(f"{tmp_path / 'work.py'}:work", patience=2 if "sleep" in text else 60)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("no/such/file.py:work", "There is no file"),
        ("nothing", "No module named 'nothing'"),
        ("statistics:", "statistics has no function ''"),
        ("statistics", "marks no function with autotune.workload: write statistics:FUNCTION"),
        ("no_such_package.module:work", "No module named"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source, words):
    with pytest.raises(BadWorkload, match=words):
        user_workload.from_source(source)


def test_a_function_of_a_module_is_found_by_its_path():
    assert user_workload.from_source("statistics:fmean").source == "statistics:fmean"


def test_a_marked_function_is_found_without_its_name_and_goes_by_its_marks(tmp_path):
    (tmp_path / "marked_alone.py").write_text(
        "import autotune\n\n@autotune.workload(name='stencil')\ndef work(n):\n    return n\n"
    )

    workload = user_workload.from_source(str(tmp_path / "marked_alone.py"))

    assert workload.name == "stencil"
    assert workload.source == f"{tmp_path / 'marked_alone.py'}:work"
    assert workload.load()(n=3) == 3


def test_of_two_marked_functions_one_must_be_named(tmp_path):
    (tmp_path / "marked_twice.py").write_text(
        "import autotune\n\n@autotune.workload\ndef first(n):\n    pass\n\nsecond = autotune.workload(lambda n: n)\n"
    )

    with pytest.raises(BadWorkload, match="marks first, second: write"):
        user_workload.from_source(str(tmp_path / "marked_twice.py"))
