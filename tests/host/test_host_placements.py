"""Placements of workers on recorded machines."""

import pytest

from autotune.controls.placement import available_placements
from autotune.host.detect import detect


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hybrid", {"cores": 6}),
        ("switched-off", {"cores": 3}),
        ("power", {"cores": 2}),
        ("repeated-core-ids", {"l3": 2}),
        ("cpuset-of-old", {"node": 2}),
        ("half-a-cpu", {}),
        ("memory-only-node", {}),
        ("garbage", {}),
        ("nothing", {}),
    ],
)
def test_recorded_machines_offer_what_their_structure_has(name, expected, recorded):
    machine, allocation = detect(recorded(name))
    assert available_placements([cpu for cpu in machine.cpus if cpu.number in allocation.cpus]) == expected
