"""Whatever the files of a computer hold, reading them answers."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import MACHINES, RECORDED, write_files

from autotune.host import cgroup, files, identity, topology
from autotune.host import detect as detect_module
from autotune.host.allocation import online_cpus
from autotune.host.cpuinfo import processor, sections
from autotune.host.detect import detect

LINES = st.lists(st.text(st.characters(codec="ascii"), max_size=40), max_size=10).map("\n".join)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_recording_with_broken_files_is_still_read(data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        write_files(root, (MACHINES / data.draw(st.sampled_from(RECORDED)) / "files").read_text())
        files = sorted(path for path in root.rglob("*") if path.is_file())
        for path in data.draw(st.lists(st.sampled_from(files), max_size=8, unique=True)) if files else ():
            if data.draw(st.booleans()):
                path.unlink()
            else:
                path.write_bytes(
                    data.draw(st.binary(max_size=50) | st.sampled_from([b"-1", b"0", b"0-3", b"ffffffff"]))
                )
        machine, allocation = detect(root)
        assert allocation.usable_cpus >= 1
        assert machine.counts.logical_cpus == (len(machine.cpus) or None)
        assert set(allocation.cpus) <= {cpu.number for cpu in machine.cpus}


@given(LINES)
def test_any_text_names_some_processor(text):
    cpus, shared = sections(text)
    kind = processor(cpus, shared)
    assert kind.model is None or kind.model >= 0 or "-" in text


def test_a_system_without_proc_and_sys_still_counts_its_cpus(monkeypatch):
    """macOS and Windows: nothing can be read, and the number of CPUs is all that is known."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for module in (files, cgroup, detect_module, topology, identity):
        monkeypatch.setattr(module, "read", lambda path: None)
    monkeypatch.setattr(topology, "Path", lambda path: Path("/nowhere"))
    machine, allocation = detect()
    assert machine.counts.logical_cpus == allocation.usable_cpus == online_cpus()
    assert (machine.counts.physical_cores, machine.counts.numa_nodes, machine.counts.l3_groups) == (
        None,
        None,
        None,
    )
    assert (allocation.affinity_cpus, allocation.quota_cpus, machine.memory_bytes) == (None, None, None)
    assert identity.governor() is None
