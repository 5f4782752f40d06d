"""Memory of this process."""

from autotune.host import cgroup
from autotune.host.memory_limit import resident_bytes, usable_bytes

MIB = 2**20


def test_resident_memory_is_read_or_unknown():
    resident = resident_bytes()
    assert resident is None or resident > MIB


def test_a_control_groups_limit_is_the_memory_that_may_be_used(monkeypatch):
    monkeypatch.setattr(cgroup, "memory", lambda _folders: 64 * MIB)
    assert usable_bytes() == 64 * MIB


def test_without_a_control_group_it_is_the_computers(monkeypatch):
    monkeypatch.setattr(cgroup, "memory", lambda _folders: None)
    usable = usable_bytes()
    assert usable is None or usable > 64 * MIB
