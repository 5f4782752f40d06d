"""Load of other processes."""

import importlib

import pytest

from autotune.host.pressure import Load
from autotune.model.machine import Allocation

doctor = importlib.import_module("autotune.cli.doctor")


@pytest.fixture
def loads(monkeypatch):
    """Two moments a third of a second apart, and the seconds of CPU time that others took between them."""

    def between(others, stolen=0.0):
        moments = iter(
            [
                Load(busy_seconds=10.0, own_seconds=1.0, stolen_seconds=0.0),
                Load(busy_seconds=10.0 + others, own_seconds=1.0, stolen_seconds=stolen),
            ]
        )
        clock = iter([0.0, 0.5])
        monkeypatch.setattr(doctor.pressure, "read", lambda **_: next(moments))
        monkeypatch.setattr(doctor, "monotonic", lambda: next(clock))
        monkeypatch.setattr(doctor, "sleep", lambda _: None)
        return doctor.share_of_others(Allocation(usable_cpus=2, cpus=(0, 1)))

    return between


@pytest.mark.parametrize(
    ("others", "stolen", "share"), [(0.0, 0.0, 0.0), (0.5, 0.0, 0.5), (0.25, 0.25, 0.5), (9.0, 0.0, 1.0)]
)
def test_what_others_take_is_a_share_of_the_usable_cpus(loads, others, stolen, share):
    assert loads(others, stolen) == pytest.approx(share)


def test_where_the_kernel_does_not_say_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(doctor.pressure, "read", lambda **_: Load())
    monkeypatch.setattr(doctor, "sleep", lambda _: None)
    assert doctor.share_of_others(Allocation(usable_cpus=2)) is None
