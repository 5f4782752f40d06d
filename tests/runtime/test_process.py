"""Which thread count suits the whole process: a table of the decision."""

from types import SimpleNamespace

import pytest

from autotune.model.allocation import LIMITED_BY, Limit
from autotune.runtime.process_settings import safe_threads


@pytest.mark.parametrize(
    ("threads", "usable", "limit", "current", "user_limit", "count", "why"),
    [
        (1, 8, Limit.NONE, 8, None, 1, "Measured."),
        (None, 8, Limit.NONE, 8, None, None, "Measured."),
        (4, 8, Limit.NONE, 8, 2, None, "Measured. But the environment limits BLAS to 2."),
        (1, 8, Limit.NONE, 2, 2, 1, "Measured."),
        (16, 8, Limit.NONE, 8, None, None, "Measured."),
        (
            None,
            1,
            Limit.QUOTA,
            48,
            None,
            1,
            "This process may use 1 CPU (limited by a CPU quota); BLAS would start 48 threads.",
        ),
        (
            None,
            2,
            Limit.CAP,
            8,
            None,
            2,
            f"This process may use 2 CPUs (limited by {LIMITED_BY[Limit.CAP]}); BLAS would start 8 threads.",
        ),
        (None, 2, Limit.SHARED, 2, None, None, "Measured."),
        (None, 2, Limit.AFFINITY, 8, None, None, "Measured."),
        (
            4,
            2,
            Limit.QUOTA,
            8,
            3,
            2,
            "This process may use 2 CPUs (limited by a CPU quota); BLAS would start 8 threads.",
        ),
        (1, 8, Limit.NONE, None, None, None, "No BLAS library was found whose threads could be set."),
    ],
    ids=range(11),
)
def test_a_count_is_taken_as_it_was_measured_or_not_at_all(threads, usable, limit, current, user_limit, count, why):
    resolution = SimpleNamespace(threads=threads, threads_why="Measured.", usable_cpus=usable, limit=limit)
    assert safe_threads(resolution, current=current, user_limit=user_limit) == (count, why)
