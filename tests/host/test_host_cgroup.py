"""Limits of control groups, wherever they are mounted."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.host import cgroup

UNIFIED = "proc/mounts: none /sys/fs/cgroup cgroup2 rw 0 0\nproc/self/cgroup: 0::/a/b\n"
CPU = "proc/mounts: none /g cgroup rw,cpu 0 0\nproc/self/cgroup: 2:cpu:/a\n"


def quota(root):
    return cgroup.quota(cgroup.folders(str(root)))


def test_the_tightest_of_all_ancestors_is_the_quota(tree):
    root = tree(
        f"{UNIFIED}sys/fs/cgroup/cpu.max: 300000 100000\nsys/fs/cgroup/a/cpu.max: 50000 20000\n"
        "sys/fs/cgroup/a/b/cpu.max: max 100000"
    )
    assert quota(root) == 2.5


@pytest.mark.parametrize("text", ["max 100000", "max", "", "banana", "100000 0", "0 100000", "-1 100000", "1e5 100000"])
def test_what_is_no_quota_does_not_limit(tree, text):
    assert quota(tree(f"{UNIFIED}sys/fs/cgroup/a/b/cpu.max: {text}")) is None


def test_a_quota_without_a_period_has_the_kernels_usual_one(tree):
    assert quota(tree(f"{UNIFIED}sys/fs/cgroup/a/b/cpu.max: 150000")) == 1.5


@pytest.mark.parametrize("text", ["-1", "0", "", "x"])
def test_no_quota_of_version_1_does_not_limit(tree, text):
    assert quota(tree(f"{CPU}g/a/cpu.cfs_quota_us: {text}\ng/a/cpu.cfs_period_us: 100000")) is None


def test_a_quota_of_version_1_is_divided_by_its_period(tree):
    assert quota(tree(f"{CPU}g/cpu.cfs_quota_us: 20000\ng/cpu.cfs_period_us: 80000")) == 0.25


def test_a_group_that_cannot_be_seen_leaves_its_ancestors(tree):
    """The path may be the host's, of which a container sees only the top."""
    root = tree(
        "proc/mounts: none /sys/fs/cgroup cgroup2 rw 0 0\nproc/self/cgroup: 0::/far/away\nsys/fs/cgroup/cpu.max: 7 2"
    )
    assert quota(root) == 3.5


def test_a_mounted_part_of_the_hierarchy_is_told_from_a_like_named_one(tree):
    root = tree(
        "proc/self/mountinfo: 1 2 0:1 /pod /m rw - cgroup2 none rw\nproc/self/cgroup: 0::/pod2/x\nm/2/x/cpu.max: 1 1"
    )
    assert quota(root) is None


def test_a_sandbox_without_a_mount_table_is_looked_for_in_the_usual_places(tree):
    assert quota(tree("proc/self/cgroup: 0::/a\nsys/fs/cgroup/a/cpu.max: 2 1")) == 2.0


def test_the_group_of_another_hierarchy_is_not_ours(tree):
    root = tree(
        "proc/mounts: a /cpu cgroup rw,cpu 0 0\\nb /mem cgroup rw,memory 0 0\n"
        "proc/self/cgroup: 1:cpu:/one\\n2:memory:/two\ncpu/two/cpu.cfs_quota_us: 1000\nmem/two/memory.limit_in_bytes: 4096"
    )
    groups = cgroup.folders(str(root))
    assert cgroup.quota(groups) is None
    assert cgroup.memory(groups) == 4096


def test_both_versions_cpusets_hold_at_once(tree):
    root = tree(
        "proc/mounts: a /one cgroup rw,cpuset 0 0\\nb /two cgroup2 rw 0 0\nproc/self/cgroup: 1:cpuset:/\\n0::/\n"
        "one/cpuset.cpus: 0-3\ntwo/cpuset.cpus.effective: 2-7\none/cpuset.mems: 0"
    )
    groups = cgroup.folders(str(root))
    assert cgroup.cpus(groups) == {2, 3}
    assert cgroup.nodes(groups) == {0}


V2 = "2 1 0:2 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"
NAMED = "1 1 0:1 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd"
CPU_V1 = "3 1 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
IN_DOCKER = "3 1 0:3 /docker/f00 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct"

WAYS = {
    "a slice of systemd": (
        [V2],
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u1.scope",
        {"user.slice/user-1000.slice/cpu.max": "150000 100000"},
    ),
    "a pod whose container has more": (
        [V2],
        "0::/kubepods.slice/pod1.slice/cri-2.scope",
        {"kubepods.slice/pod1.slice/cpu.max": "150000 100000", "kubepods.slice/cpu.max": "max 100000"},
    ),
    "a namespace of its own": ([V2], "0::/", {"cpu.max": "30000 20000"}),
    "a mount from outside the namespace": ([V2.replace(" / ", " /../.. ", 1)], "0::/", {"cpu.max": "150000 100000"}),
    "both versions at once": (
        [NAMED, V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified "), CPU_V1],
        "4:cpu,cpuacct:/job/step\n1:name=systemd:/job\n0::/job",
        {
            "cpu,cpuacct/job/cpu.cfs_quota_us": "75000",
            "cpu,cpuacct/job/cpu.cfs_period_us": "50000",
            "cpu,cpuacct/job/step/cpu.cfs_quota_us": "-1",
        },
    ),
    "a container that is told its path on the host": (
        [IN_DOCKER],
        "4:cpu,cpuacct:/docker/f00",
        {"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
    ),
    "a group inside such a container": (
        [IN_DOCKER],
        "4:cpuacct,cpu:/docker/f00/init.scope",
        {"cpu,cpuacct/init.scope/cpu.cfs_quota_us": "150000"},
    ),
    "a mount point with a space": (
        [V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/my\\040own")],
        "0::/a",
        {"my own/a/cpu.max": "150000 100000"},
    ),
    "a group that has been removed": ([V2], "0::/a/b (deleted)", {"a/cpu.max": "150000 100000"}),
}


@pytest.mark.parametrize(("mounts", "membership", "texts"), WAYS.values(), ids=WAYS)
def test_a_quota_of_one_and_a_half_cpus_is_found(mounts, membership, texts, tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("\n".join(["9 9 8:1 / / rw - ext4 /dev/sda1 rw", *mounts]) + "\n")
    (tmp_path / "proc/self/cgroup").write_text(membership + "\n")
    for name, text in texts.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert quota(tmp_path) == 1.5


def test_a_group_outside_the_namespace_is_not_the_like_named_one_inside(tree):
    """cgroup_namespaces(7): `/..` stands for what lies above the namespace's root."""
    root = tree(f"proc/self/mountinfo: {V2}\nproc/self/cgroup: 0::/../x\nsys/fs/cgroup/x/cpu.max: 100000 100000")
    assert quota(root) is None


def test_an_empty_cpuset_is_its_parents(tree):
    root = tree(
        f"proc/self/mountinfo: {V2}\nproc/self/cgroup: 0::/a/b\n"
        "sys/fs/cgroup/a/b/cpuset.cpus.effective:\nsys/fs/cgroup/a/cpuset.cpus.effective: 1-2"
    )
    assert cgroup.cpus(cgroup.folders(str(root))) == {1, 2}


def test_without_control_groups_nothing_is_limited(tree):
    groups = cgroup.folders(str(tree("other: 1")))
    assert (cgroup.quota(groups), cgroup.cpus(groups), cgroup.nodes(groups), cgroup.memory(groups)) == (None,) * 4


@settings(max_examples=40)
@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=60))
def test_no_content_of_these_files_raises(mounts, membership, limit):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "proc/self").mkdir(parents=True)
        (root / "g").mkdir()
        (root / "proc/mounts").write_bytes(b"none /g cgroup2 rw 0 0\n" + mounts)
        (root / "proc/self/mountinfo").write_bytes(mounts)
        (root / "proc/self/cgroup").write_bytes(membership)
        for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuset.cpus", "cpuset.mems", "memory.max"):
            (root / "g" / name).write_bytes(limit)
        groups = cgroup.folders(folder)
        share, size = cgroup.quota(groups), cgroup.memory(groups)
        assert share is None or share > 0
        assert size is None or size > 0
        cgroup.cpus(groups)
        cgroup.nodes(groups)


def test_the_time_that_quotas_took_is_that_of_the_group_where_it_is_most(tree):
    root = tree(
        f"{UNIFIED}sys/fs/cgroup/a/cpu.stat: usage_usec 9 throttled_usec 7\n"
        "sys/fs/cgroup/a/b/cpu.stat: throttled_usec 5"
    )
    for path, text in (("a", "usage_usec 9\nthrottled_usec 2500000\n"), ("a/b", "throttled_time 1500000000\nx\n")):
        (root / "sys/fs/cgroup" / path / "cpu.stat").write_text(text)
    assert cgroup.throttled_seconds(cgroup.folders(str(root))) == 2.5


def test_without_a_word_about_quotas_they_took_no_time(tree):
    assert cgroup.throttled_seconds(cgroup.folders(str(tree(f"{UNIFIED}sys/fs/cgroup/cpu.max: 1 1")))) == 0.0


V2_ROOM = "sys/fs/cgroup/a/memory.max: 1000\nsys/fs/cgroup/a/memory.current: 400\n"
V1_ROOM = "g/a/memory.limit_in_bytes: 1000\ng/a/memory.usage_in_bytes: 400\n"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (V2_ROOM, 600 + 5000),
        (f"{V2_ROOM}sys/fs/cgroup/a/memory.swap.max: max", 600 + 5000),
        (f"{V2_ROOM}sys/fs/cgroup/a/memory.swap.max: 0\nsys/fs/cgroup/a/memory.swap.current: 0", 600),
        (f"{V2_ROOM}sys/fs/cgroup/memory.swap.max: 70\nsys/fs/cgroup/memory.swap.current: 30", 640),
        (f"{V2_ROOM}sys/fs/cgroup/a/b/memory.swap.max: 30\nsys/fs/cgroup/a/b/memory.swap.current: 70", 600),
    ],
)
def test_a_group_can_get_no_more_of_the_free_swap_than_it_may_use(tree, files, left):
    assert cgroup.memory_left(cgroup.folders(str(tree(UNIFIED + files))), 5000) == left


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (V1_ROOM, 600 + 5000),
        (f"{V1_ROOM}g/a/memory.memsw.limit_in_bytes: 1000\ng/a/memory.memsw.usage_in_bytes: 450", 550),
        (f"{V1_ROOM}g/a/memory.memsw.limit_in_bytes: {2**63 - 4096}\ng/a/memory.memsw.usage_in_bytes: 450", 5600),
    ],
)
def test_version_1_limits_memory_and_swap_together(tree, files, left):
    memory = CPU.replace("cpu", "memory")
    assert cgroup.memory_left(cgroup.folders(str(tree(memory + files))), 5000) == left
