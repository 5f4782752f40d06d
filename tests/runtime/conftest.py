import pytest
from made_profiles import alone

from autotune.controls import blas, results
from autotune.runtime import percall
from autotune.runtime.state import Setting, state


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No profiles of others, no memory of earlier results, and nothing in force before or after."""
    alone(monkeypatch, tmp_path)
    results._held.clear()
    state.take(Setting())
    yield
    percall.end()
    blas.set_threads(None)
    state.take(Setting())
