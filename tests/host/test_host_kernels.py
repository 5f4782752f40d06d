"""One structure, as kernels of twenty years write it, is read as one structure."""

import tempfile
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernel_trees import KERNELS, NEW, OLD, Kernel, listed, write_kernel

from autotune.host.detect import detect
from autotune.host.kernel_files import cpulist
from autotune.model.machine import Cpu


def computer(packages=1, nodes=1, l3_groups=1, cores=1, threads=1, *, siblings_last=False, gap=0, **without):
    """CPUs of packages x nodes in each x L3 groups in each x cores in each x threads in each.

    Threads of a core follow each other, or come after all first threads (`siblings_last`); `gap` numbers are
    left out after each CPU. `without` names the groups that the computer does not tell.
    """
    places = list(product(range(packages), range(nodes), range(l3_groups), range(cores)))
    numbers = {
        (*place, thread): (1 + gap) * (thread * len(places) + at if siblings_last else at * threads + thread)
        for at, place in enumerate(places)
        for thread in range(threads)
    }

    def first(*place):
        return min(number for each, number in numbers.items() if each[: len(place)] == place)

    return [
        Cpu(
            number=number,
            package=None if "package" in without else first(place[0]),
            node=None if "node" in without else place[0] * nodes + place[1],
            l3=None if "l3" in without else first(*place[:3]),
            core=None if "core" in without else first(*place[:4]),
        )
        for place, number in sorted(numbers.items(), key=lambda item: item[1])
    ]


COMPUTERS = {
    "one CPU": computer(),
    "sockets with hyper-threads": computer(4, cores=2, threads=2, siblings_last=True),
    "a node in each socket, no L3": computer(8, cores=2, l3=False),
    "two dies with an L3 each in a socket": computer(2, nodes=2, l3_groups=2, cores=2),
    "a cache for each core": computer(2, l3_groups=2, threads=4),
    "six chiplets": computer(1, l3_groups=6, cores=2, threads=2, siblings_last=True),
    "eight threads a core": computer(1, cores=2, threads=8, l3=False),
    "every fourth number": computer(4, nodes=2, cores=2, gap=3),
    "numbers beyond 4096": computer(cores=3, gap=2500),
    "no packages": computer(2, cores=2, gap=1, package=False, l3=False),
    "neither cores nor packages": computer(2, threads=2, core=False, package=False, l3=False),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", COMPUTERS)
def test_every_kernel_says_the_same(name, kernel, tmp_path):
    cpus = COMPUTERS[name]
    write_kernel(tmp_path, cpus, KERNELS[kernel])
    machine, allocation = detect(tmp_path)
    assert list(machine.cpus) == cpus
    assert machine.counts.numa_nodes == len({cpu.node for cpu in cpus})
    assert machine.counts.l3_groups == len({cpu.l3 for cpu in cpus} - {None})
    assert allocation.counts == machine.counts
    assert allocation.usable_cpus == len(cpus)


@settings(max_examples=15)
@given(
    st.tuples(*(st.integers(1, 3),) * 4),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 40),
    st.builds(
        Kernel,
        siblings=st.sampled_from([OLD.siblings, NEW.siblings]),
        end=st.sampled_from(["", "\n", "\n\0\0"]),
        dies=st.booleans(),
        package_id=st.sampled_from(["ordinal", "unknown", "huge"]),
    ),
)
def test_any_structure_comes_back_however_it_was_written(sizes, threads, siblings_last, gap, kernel):
    cpus = computer(*sizes, threads, siblings_last=siblings_last, gap=gap)
    with tempfile.TemporaryDirectory() as folder:
        write_kernel(Path(folder), cpus, kernel)
        assert list(detect(Path(folder))[0].cpus) == cpus


@pytest.mark.parametrize("kernel", [OLD, NEW])
def test_what_is_off_is_named_and_not_counted(kernel, tmp_path):
    cpus = computer(2, cores=2)[1:]
    core_of_first_package = [
        Cpu(number=cpu.number, package=max(cpu.package, 1), core=cpu.core, node=cpu.node, l3=max(cpu.l3, 1))
        for cpu in cpus
    ]
    write_kernel(tmp_path, core_of_first_package, kernel, offline=[0])
    machine, _ = detect(tmp_path)
    assert list(machine.cpus) == core_of_first_package
    assert machine.offline_cpus == (0,)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_memory_without_cpus_is_a_node(kernel, tmp_path):
    """High-bandwidth memory, CXL expanders."""
    write_kernel(tmp_path, computer(cores=2), kernel, memory_nodes=[1, 9])
    assert detect(tmp_path)[0].counts.numa_nodes == 3


def test_memory_of_a_graphics_card_is_no_node_of_the_computer(tmp_path):
    """Its driver makes it one; without the driver the computer is the same."""
    write_kernel(tmp_path, computer(cores=2), memory_nodes=[1, 2, 3])
    for card, status in (("0004:04:00.0", "Node: 2\nStatus: online\n"), ("0005:01:00.0", "Node:\t-1\n")):
        (tmp_path / f"proc/driver/nvidia/gpus/{card}").mkdir(parents=True)
        (tmp_path / f"proc/driver/nvidia/gpus/{card}/numa_status").write_text(status)
    machine, allocation = detect(tmp_path)
    assert machine.counts.numa_nodes == allocation.counts.numa_nodes == 3


def test_caches_that_only_a_later_thread_tells_are_the_cores(tmp_path):
    cpus = computer(l3_groups=2, threads=2)
    write_kernel(tmp_path, cpus)
    for path in tmp_path.glob("sys/devices/system/cpu/cpu[02]/cache/index*/*"):
        path.unlink()
    for path in tmp_path.glob("sys/devices/system/cpu/cpu[02]/cache/index*"):
        path.rmdir()
    assert list(detect(tmp_path)[0].cpus) == cpus


@pytest.mark.parametrize(
    ("size", "l3_bytes"),
    [("8192K", 1 << 23), ("8M", 1 << 23), ("1G", 1 << 30), ("0K", None), ("-1", None), ("", None), ("8 MB", None)],
)
def test_the_size_of_a_cache_is_read_or_unknown(size, l3_bytes, tmp_path):
    write_kernel(tmp_path, computer(cores=2), l3_size=size)
    machine, _ = detect(tmp_path)
    assert machine.l3_bytes == l3_bytes
    assert machine.counts.l3_groups == 1


SCARS = st.sampled_from(["gone", "folder", "loop", "empty", "nul", "high", "minus", "words", "digits"])


@settings(max_examples=15)
@given(st.sampled_from(sorted(KERNELS)), st.data())
def test_no_scar_of_a_recording_stops_the_reading(kernel, data):
    """Files that are missing, folders or links to themselves where files should be, and text of any kind."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_kernel(root, computer(2, cores=2, threads=2), KERNELS[kernel], offline=[9], memory_nodes=[4])
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        for path in data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=12, unique=True)):
            _scar(path, data.draw(SCARS))
        machine, allocation = detect(root)
        assert allocation.usable_cpus >= 1
        assert len({cpu.number for cpu in machine.cpus}) == len(machine.cpus)
        for cpu in machine.cpus:
            assert all(group is None or group >= 0 for group in (cpu.package, cpu.core, cpu.node, cpu.l3))


def _scar(path, kind):
    path.unlink()
    texts = {
        "empty": b"",
        "nul": b"\0" * 40,
        "high": b"ffffffff,ffffffff,ffffffff\n",
        "minus": b"-1\n",
        "words": b"GenuineIntel\xff\xfe",
        "digits": "²٣".encode(),
    }
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind in texts:
        path.write_bytes(texts[kind])


@given(st.frozensets(st.integers(0, 5000), max_size=30))
def test_the_writer_of_these_trees_writes_what_the_reader_reads(numbers):
    assert cpulist(listed(numbers)) == numbers
