"""One thread count for the whole process, only where it harms nothing."""

import pytest
from support.profile_builders import make_entry

from autotune.model.entry import Status
from autotune.profiles.consensus import consensus

ONE = {"blas_threads": 1}


@pytest.mark.parametrize(
    ("entries", "count", "why"),
    [
        ([], None, "No BLAS thread count was measured"),
        ([make_entry("log", choice={"workers": 2}, n=10)], None, "No BLAS thread count was measured"),
        ([make_entry(choice=ONE, safe=(1,), n=10)], 1, "One BLAS thread made none of 1 measured sizes slower"),
        ([make_entry(choice=ONE, safe=(1,), n=10), make_entry(safe=(1, 2), n=20)], 1, "none of 2"),
        ([make_entry(choice=ONE, safe=(1,), n=10), make_entry(n=20)], None, "qr float64 n=20 rules out"),
        ([make_entry(safe=(1,), n=20)], None, "proved to gain"),
        (
            [make_entry(choice=ONE, safe=(1,), n=10), make_entry(status=Status.FAILED, n=20)],
            None,
            "n=20 has no evidence",
        ),
        (
            [
                make_entry(choice=ONE, safe=(1,), n=10),
                make_entry(status=Status.NOISY, n=20),
                make_entry(status=Status.UNDECIDED, n=30),
            ],
            1,
            "none of 1",
        ),
        (
            [
                make_entry(choice=ONE, speedup=1.1111, safe=(1, 2), n=10),
                make_entry(choice={"blas_threads": 2}, speedup=2, safe=(1, 2), n=20),
            ],
            2,
            "2 BLAS threads",
        ),
        (
            [make_entry("batch_matmul", choice={"blas_threads": 1, "workers": 2}, safe=(1,), n=10)],
            None,
            "proved to gain",
        ),
        ([make_entry("simulate", n=10), make_entry(choice=ONE, safe=(1,), n=10)], 1, "none of 1"),
        ([make_entry("command.simulate"), make_entry(choice=ONE, safe=(1,), n=10)], 1, "none of 1"),
        (
            [
                make_entry("batch_matmul_processes", choice={"blas_threads": 1, "workers": 2}, n=10, tasks=5),
                make_entry(choice=ONE, safe=(1,), n=10),
            ],
            1,
            "none of 1",
        ),
    ],
    ids=range(13),
)
def test_a_count_is_taken_only_if_every_measured_size_is_safe_with_it_and_one_gains(entries, count, why):
    threads, sentence = consensus(entries)
    assert threads == count
    assert why in sentence
