"""The number of CPUs that this process may use."""

from autotune.host.usable_cpus import usable_cpus as count_usable_cpus


def usable_cpus() -> int:
    """Return the number of CPUs that this process may keep busy.

    Returns
    -------
    int
        At least 1: the CPUs of the affinity mask and cpuset, at most the tightest CPU quota of all control groups
        (rounded up) and $AUTOTUNE_CPUS, divided by the processes that share them.

    Notes
    -----
    Read anew at each call, since quotas change while a process runs; takes tens of microseconds. Nothing is changed.
    ``autotune nproc --why`` prints each limit. ``os.cpu_count`` and ``os.process_cpu_count`` count no quota, so that
    pools sized by them are throttled in containers.

    Examples
    --------
    >>> import autotune
    >>> autotune.usable_cpus() >= 1
    True

    """
    return count_usable_cpus()[0]
