import pytest
from support.profile_builders import alone

from autotune.controls import blas
from autotune.parallel import result_memory
from autotune.runtime.applied import stop_interception
from autotune.runtime.process_settings import Setting
from autotune.runtime.process_state import state


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No profiles of others, no memory of earlier results, and nothing in force before or after."""
    alone(monkeypatch, tmp_path)
    results = result_memory.KeptMemory()
    monkeypatch.setattr(result_memory, "empty", results.empty)
    monkeypatch.setattr(result_memory, "kept_bytes", results.total_bytes)
    state.replace_setting(Setting())
    yield
    stop_interception()
    blas.set_threads(None)
    state.replace_setting(Setting())
    state.initial_reductions = state.initial_learn = state.is_started_by_run = False
    state.process_demand = None
