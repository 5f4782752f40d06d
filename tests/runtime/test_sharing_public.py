"""shared() and process_map() go the measured way, and a safe one where nothing was measured."""

import multiprocessing
import os

import numpy as np
import pytest

import autotune
from autotune.errors import UsageError
from autotune.model.configuration import Configuration, Method
from autotune.runtime import shared_arrays


@pytest.fixture
def profile(monkeypatch):
    answers = [None]
    monkeypatch.setattr(shared_arrays, "config", lambda *_, **__: answers[-1])
    return answers


def test_without_a_profile_the_method_is_the_safe_one(profile):
    with autotune.shared((3, 4)) as array:
        assert array.handle.method is shared_arrays.DEFAULT_METHOD
        assert np.shares_memory(array, array[1:])


@pytest.mark.parametrize(
    ("measured", "taken"),
    [(Method.MEMMAP, Method.MEMMAP), (Method.PIPE, shared_arrays.DEFAULT_METHOD), (None, shared_arrays.DEFAULT_METHOD)],
)
def test_the_measured_method_is_taken_if_it_shares(profile, measured, taken):
    profile.append(Configuration(workers=2, method=measured))
    with autotune.shared(9) as array:
        assert array.handle.method is taken


def test_the_method_asked_for_is_taken():
    with autotune.shared(9, "f4", method="memmap") as array:
        assert (array.handle.method, array.dtype) == (Method.MEMMAP, np.float32)
        assert autotune.attach(array.handle).size == 9


@pytest.mark.parametrize("method", ["pipe", "telepathy"])
def test_a_method_that_does_not_share_is_refused(method):
    with pytest.raises(UsageError):
        autotune.shared(9, method=method)


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_without_a_profile_process_map_uses_a_process_for_each_usable_cpu(profile, monkeypatch):
    """The caller has asked for processes."""
    monkeypatch.setattr("autotune.runtime.shared_arrays.unmeasured_workers", lambda: (3, 1))

    def function(block):
        return block + os.getpid()

    assert len(np.unique(autotune.process_map(function, np.zeros((30, 40))))) == 3


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_process_map_goes_the_measured_way(profile):
    profile.append(Configuration(workers=2, chunk=300, method=Method.MEMFD))
    array = np.zeros((30, 40))
    assert autotune.process_map(np.cos, array, array) is array
    assert (array == 1).all()
    assert not multiprocessing.active_children()
