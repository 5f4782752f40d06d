import pytest
from support.profile_builders import alone

from autotune.controls import blas
from autotune.parallel import result_memory
from autotune.runtime import per_call
from autotune.runtime.applied import Setting, state


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No profiles of others, no memory of earlier results, and nothing in force before or after."""
    alone(monkeypatch, tmp_path)
    result_memory._held.clear()
    state.take(Setting())
    yield
    per_call.end()
    blas.set_threads(None)
    state.take(Setting())
