"""executor() has the measured workers and BLAS threads; without a measurement one worker and BLAS as it is."""

import pytest

import autotune
from autotune.model.configuration import Configuration
from autotune.runtime import executor as module


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, (1, None)),
        (Configuration(workers=2, blas_threads=1), (2, 1)),
        (Configuration(blas_threads=2), (1, 2)),
        (Configuration(workers=3), (3, None)),
    ],
)
def test_it_has_what_was_measured(monkeypatch, answer, expected):
    asked = []
    monkeypatch.setattr(module, "config", lambda *args, **options: (asked.append((args, options)), answer)[1])
    with autotune.executor("batch_matmul", n=20) as pool:
        assert (pool.workers, pool.blas_threads) == expected
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    assert asked == [(("batch_matmul",), {"dtype": "float64", "n": 20})]
