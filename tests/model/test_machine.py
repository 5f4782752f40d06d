import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.model.allocation import Limit, allocate
from autotune.model.machine import Counts, Cpu, Hardware, Machine, count

CPUS = st.integers(1, 4096)


def test_without_limits_all_cpus_are_usable():
    assert allocate(allowed_cpus=8, online_cpus=8) == (8, Limit.NONE)


def test_a_smaller_affinity_mask_is_a_limit():
    assert allocate(allowed_cpus=3, online_cpus=8) == (3, Limit.AFFINITY)


def test_a_quota_is_rounded_up():
    assert allocate(allowed_cpus=8, online_cpus=8, quota_cpus=1.5) == (2, Limit.QUOTA)


def test_a_quota_of_half_a_cpu_allows_one_thread():
    assert allocate(allowed_cpus=8, online_cpus=8, quota_cpus=0.5) == (1, Limit.QUOTA)


def test_a_quota_above_the_affinity_is_no_limit():
    assert allocate(allowed_cpus=2, online_cpus=8, quota_cpus=4.0) == (2, Limit.AFFINITY)


def test_the_users_cap_goes_below_the_quota():
    assert allocate(allowed_cpus=8, online_cpus=8, quota_cpus=4.0, cap=3) == (3, Limit.CAP)


def test_processes_that_share_the_cpus_divide_them_downwards():
    assert allocate(allowed_cpus=8, online_cpus=8, processes=3) == (2, Limit.SHARED)


def test_more_processes_than_cpus_still_leave_one_each():
    assert allocate(allowed_cpus=2, online_cpus=2, processes=5) == (1, Limit.SHARED)


@given(
    allowed=CPUS,
    spare=st.integers(0, 64),
    quota=st.none() | st.floats(0.001, 5000),
    cap=st.none() | CPUS,
    processes=st.integers(1, 128),
)
def test_the_usable_cpus_exceed_no_limit_and_are_never_none(allowed, spare, quota, cap, processes):
    usable, _ = allocate(
        allowed_cpus=allowed, online_cpus=allowed + spare, quota_cpus=quota, cap=cap, processes=processes
    )
    assert 1 <= usable <= max(1, allowed // processes)
    assert quota is None or usable < quota + 1
    assert cap is None or usable <= cap


def test_hardware_threads_of_one_core_are_one_physical_core():
    cpus = [Cpu(number=n, package=0, core=n % 2, node=0, l3=0) for n in range(4)]
    assert count(cpus) == Counts(logical_cpus=4, physical_cores=2, packages=1, numa_nodes=1, l3_groups=1)


def test_what_no_cpu_says_is_unknown_but_an_l3_that_no_one_has_is_none():
    assert count([Cpu(number=0)]) == Counts(logical_cpus=1, l3_groups=0)


@pytest.mark.parametrize("machine", [Machine(), Machine(vendor="GenuineIntel", smt=2, l2_bytes=2**21)])
def test_the_hardware_of_a_machine_keeps_the_unknown_unknown(machine):
    assert machine.hardware == Hardware(vendor=machine.vendor, smt=machine.smt, l2_bytes=machine.l2_bytes)
