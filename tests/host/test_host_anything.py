"""Whatever the files of a computer hold, reading them answers."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recorded_machines import MACHINES, RECORDED, write_files

from autotune.host import cgroup, cpuinfo, identity, kernel_files, topology
from autotune.host import detect as detect_module
from autotune.host.cpuinfo import processor, sections
from autotune.host.detect import detect
from autotune.host.usable_cpus import online_cpus

LINES = st.lists(st.text(st.characters(codec="ascii"), max_size=40), max_size=10).map("\n".join)


@settings(max_examples=10)
@given(st.data())
def test_a_recording_with_broken_files_is_still_read(data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        write_files(root, (MACHINES / data.draw(st.sampled_from(RECORDED)) / "files").read_text())
        kernel_files = sorted(path for path in root.rglob("*") if path.is_file())
        for path in data.draw(st.lists(st.sampled_from(kernel_files), max_size=8, unique=True)) if kernel_files else ():
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


@pytest.mark.parametrize(
    ("text", "cpus", "kind"),
    [
        ("processor : 0\nisa : rv64imafdc\nuarch : sifive,u74\n\nprocessor : 1\n", 2, ("riscv64", None, "sifive,u74")),
        ("system type : x\n\nprocessor : 0\nModel Name : Loongson-3A5000\n", 1, (None, None, "Loongson-3A5000")),
        ("system type : x\nprocessor : 0\ncpu model : ICT Loongson-2\n", 1, (None, None, "ICT Loongson-2")),
        ("cpu : Alpha\ncpu model : EV68CB\ncpus active : 3\n", 3, ("alpha", None, "Alpha")),
        ("cpu : UltraSparc T1\nncpus probed : 9\nncpus active : 8\n", 8, (None, None, "UltraSparc T1")),
        (
            "Processor : ARMv7 rev 10 (v7l)\nprocessor : 0\n\nprocessor : 1\n\nCPU implementer : 0x41\n",
            2,
            ("armv7l", "ARM", "ARMv7 rev 10 (v7l)"),
        ),
        (
            "vendor_id : IBM/S390\nprocessor 0: version = FF, machine = 2094\nprocessor 7: version = FF\n",
            2,
            ("s390x", "IBM/S390", None),
        ),
    ],
)
def test_every_architecture_writes_cpuinfo_in_its_own_words(text, cpus, kind, tmp_path):
    """Systems that have /proc/cpuinfo only."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(text)
    machine, allocation = detect(tmp_path)
    assert (machine.architecture, machine.vendor, machine.name) == kind
    assert machine.counts.logical_cpus == allocation.usable_cpus == cpus
    assert (machine.counts.physical_cores, machine.counts.numa_nodes, machine.counts.l3_groups) == (None,) * 3


def test_a_system_without_proc_and_sys_still_counts_its_cpus(monkeypatch):
    """macOS and Windows: nothing can be read, and the number of CPUs is all that is known."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for module in (kernel_files, cgroup, detect_module, topology, identity):
        monkeypatch.setattr(module, "read", lambda path: None)
    monkeypatch.setattr(topology, "Path", lambda path: Path("/nowhere"))
    machine, allocation = detect()
    assert machine.counts.logical_cpus == allocation.usable_cpus == online_cpus()
    assert (machine.counts.physical_cores, machine.counts.numa_nodes, machine.counts.l3_groups) == (None, None, None)
    assert (allocation.affinity_cpus, allocation.quota_cpus, machine.memory_bytes) == (None, None, None)
    assert identity.governor() is None


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    """No process writes to it, or has it open and never does."""
    (tmp_path / "proc").mkdir()
    os.mkfifo(tmp_path / "proc/cpuinfo")
    os.mkfifo(tmp_path / "proc/meminfo")
    writer = os.open(tmp_path / "proc/meminfo", os.O_RDWR)
    machine, _ = detect(tmp_path)
    os.close(writer)
    assert machine.memory_bytes is None


def test_cpus_mounts_and_groups_beyond_all_measure_are_left_out(tmp_path, monkeypatch):
    """A recording may be made to hold up its reader."""
    monkeypatch.setattr(cpuinfo, "LARGEST_CPU", 500)
    (tmp_path / "proc/self").mkdir(parents=True)
    lines = (f"processor : {cpu}\nphysical id : 0\ncore id : {cpu}\n" for cpu in range(1000))
    (tmp_path / "proc/cpuinfo").write_text("\n".join(lines))
    mounts = (f"1 1 0:1 / /m{mount} rw - cgroup2 none rw\n" for mount in range(10_000))
    (tmp_path / "proc/self/mountinfo").write_text("".join(mounts))
    (tmp_path / "proc/self/cgroup").write_text("0::/" + "a/" * 10_000)
    folders = cgroup.folders(str(tmp_path))
    assert detect(tmp_path)[0].counts.physical_cores == 500
    assert len(folders["cpu"]) == cgroup.MOST_MOUNTS
    assert {len(chain) for chain in folders["cpu"]} == {cgroup.DEEPEST + 1}


def test_a_folder_that_may_not_be_looked_into_says_nothing(tmp_path, monkeypatch):
    """Path.is_dir() raises there, before Python 3.14."""

    def refuse(path):
        raise PermissionError(path)

    monkeypatch.setattr(topology.Path, "is_dir", refuse)
    assert topology.topology(str(tmp_path), {}, {}).nodes is None
