"""Control groups: the files that limit this process, and the limits in them.

A limit of any ancestor binds (`cpu.max` on a systemd slice, a pod or a job step), so every folder from the
process's own group up to the mount point is read. Versions 1 and 2, both at once (hybrid), and the cpuset
file system that came before them differ in names only; each folder is asked for all names.
"""

from collections.abc import Iterable

from autotune.host.kernel_files import cpulist, read, whole

DEEPEST = 128
"""Most levels of groups that are read, from the mount point on; Kubernetes nests six, systemd some more."""
MOST_MOUNTS = 64
"""Of cgroup file systems; version 1 has one for each of its 14 controllers."""
CONTROLLERS = ("cpu", "cpuset", "memory")

Folders = dict[str, list[list[str]]]
"""Per controller its hierarchies, each as the folders that bind this process, innermost first."""

CPUS = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus", "cpus")
MEMS = ("cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems", "mems")
MEMORY = ("memory.max", "memory.high", "memory.limit_in_bytes")
"""Counted as a limit: above `memory.high` the kernel does not kill, but every allocation waits."""
UNLIMITED = 2**60
"""Bytes from which on a limit is none: version 1 writes the largest number of whole pages, about 2**63."""


def folders(root: str = "") -> Folders:
    """Find the control groups that limit this process (the recorded one, below a root)."""
    hierarchies: Folders = {controller: [] for controller in CONTROLLERS}
    members = _membership(root)
    for kind, controllers, hierarchy_root, mount_point in _mounts(root):
        wanted = CONTROLLERS if kind == "cgroup2" else [name for name in CONTROLLERS if name in controllers]
        for controller in wanted:
            member = members.get("" if kind == "cgroup2" else controller, members.get("cpuset fallback", "/"))
            hierarchies[controller].append(_chain(root + mount_point, hierarchy_root, member))
    return hierarchies


def quota(groups: Folders) -> float | None:
    """Return the CPUs' worth of time of the tightest group; None without a quota."""
    limits: list[float] = []
    for folder in _each(groups["cpu"]):
        most, _, period = (read(f"{folder}/cpu.max") or "").partition(" ")
        limits += _share(most, period)
        most = read(f"{folder}/cpu.cfs_quota_us") or ""
        if most:
            limits += _share(most, read(f"{folder}/cpu.cfs_period_us") or "")
    return min(limits, default=None)


def throttled_seconds(groups: Folders) -> float:
    """Return the most seconds for which a group's quota has paused threads so far; 0 if no group says so."""
    stats = (_numbers(f"{folder}/cpu.stat") for folder in _each(groups["cpu"]))
    # microseconds in version 2, nanoseconds in version 1
    seconds = (max(stat.get("throttled_usec", 0) * 1e-6, stat.get("throttled_time", 0) * 1e-9) for stat in stats)
    return max(seconds, default=0.0)


def cpus(groups: Folders) -> frozenset[int] | None:
    """Return the CPUs that the cpuset allows; None where no cpuset says."""
    return _innermost_set(groups, CPUS)


def nodes(groups: Folders) -> frozenset[int] | None:
    """Return the NUMA nodes whose memory the cpuset allows; None where no cpuset says."""
    return _innermost_set(groups, MEMS)


def memory(groups: Folders) -> int | None:
    """Return the bytes of the tightest memory limit; None without a limit."""
    limits = (whole(read(f"{folder}/{name}") or "") for folder in _each(groups["memory"]) for name in MEMORY)
    return min((limit for limit in limits if limit is not None and 0 < limit < UNLIMITED), default=None)


def memory_left(groups: Folders, swap: int) -> int | None:
    """Return the bytes that the tightest group still allows, its page cache counted as free; None without a limit.

    `swap` is what the computer has free, of which a group may use a part (Kubernetes gives none).
    """
    folders = _each(groups["memory"])
    for folder in folders:
        rest = _rest(folder, "memory.swap.max", "memory.swap.current")
        swap = swap if rest is None else max(0, min(swap, rest))
    left: list[int] = []
    for folder in folders:
        stat = _numbers(f"{folder}/memory.stat")
        # version 1 counts descendants in the names with "total_" only
        cache = sum(stat.get(f"total_{name}", stat.get(name, 0)) for name in ("inactive_file", "active_file"))
        for limit, usage, more in (
            ("memory.max", "memory.current", swap),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", swap),
            ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes", 0),  # of memory and swap together
        ):
            rest = _rest(folder, limit, usage)
            if rest is not None:
                left.append(max(0, rest + cache) + more)
    return min(left, default=None)


def _rest(folder: str, limit: str, usage: str) -> int | None:
    """Return the limit less what is used; None without one."""
    most, used = whole(read(f"{folder}/{limit}") or ""), whole(read(f"{folder}/{usage}") or "")
    return None if most is None or used is None or not 0 <= most < UNLIMITED else most - used


def _numbers(path: str) -> dict[str, int]:
    """Return the numbers of a file of lines such as `nr_throttled 12`, by name."""
    lines = (line.split() for line in (read(path) or "").splitlines())
    return {fields[0]: whole(fields[1]) or 0 for fields in lines if len(fields) == 2}


def _share(most: str, period: str) -> list[float]:
    numerator, denominator = whole(most), whole(period or "100000")
    return [numerator / denominator] if numerator and denominator and numerator > 0 < denominator else []


def _each(hierarchies: Iterable[list[str]]) -> list[str]:
    return [folder for hierarchy in hierarchies for folder in hierarchy]


def _innermost_set(groups: Folders, names: Iterable[str]) -> frozenset[int] | None:
    """Return the CPUs of the innermost folder that has a set; its ancestors' sets contain it."""
    allowed: frozenset[int] | None = None
    for hierarchy in groups["cpuset"]:
        texts = (read(f"{folder}/{name}") for folder in hierarchy for name in names)
        inner = next((numbers for text in texts if text and (numbers := cpulist(text))), None)
        if inner is not None:
            allowed = inner if allowed is None else allowed & inner
    return allowed


def _membership(root: str) -> dict[str, str]:
    """Return controller ("" for version 2) -> this process's group."""
    group_of: dict[str, str] = {}
    for line in (read(f"{root}/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            group_of[controller] = path
    cpuset = read(f"{root}/proc/self/cpuset")
    if cpuset:
        # all that a kernel before 2.6.24 says, and all that some recordings hold
        group_of["cpuset fallback"] = cpuset
    return group_of


def _mounts(root: str) -> list[tuple[str, set[str], str, str]]:
    """Yield (kind, controllers, group at the mount point, mount point) of every cgroup file system."""
    return [
        (kind, {"cpuset"} if kind == "cpuset" else set(options.split(",")), _plain(group), _plain(mount_point))
        for kind, options, group, mount_point in _mount_table(root)
        if kind in {"cgroup", "cgroup2", "cpuset"}
    ][:MOST_MOUNTS]


def _mount_table(root: str) -> list[tuple[str, str, str, str]]:
    """Return (file system, options, mounted folder, mount point) of every mount.

    Without a table, as in some sandboxes, the usual places are taken; nothing is read where nothing is.
    """
    mounts = []
    for line in (read(f"{root}/proc/self/mountinfo") or "").splitlines():
        fields = line.split(" ")
        if "-" in fields[6:]:
            kind, _, options = (*fields[fields.index("-", 6) + 1 :], "", "", "")[:3]
            mounts.append((kind, options, fields[3], fields[4]))
    if mounts:
        return mounts
    for line in (read(f"{root}/proc/mounts") or read(f"{root}/proc/self/mounts") or "").splitlines():
        _, mount_point, kind, options = (*line.split(" "), "", "", "", "")[:4]
        mounts.append((kind, options, "/", mount_point))
    usual = [("cgroup", name, "/", f"/sys/fs/cgroup/{name}") for name in (*CONTROLLERS, "cpu,cpuacct")]
    return mounts or [("cgroup2", "", "/", "/sys/fs/cgroup"), *usual]


def _plain(path: str) -> str:
    r"""Return a path of the mount table with its escapes (\040 for a space) undone."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def _chain(mount_point: str, hierarchy_root: str, member: str) -> list[str]:
    """Return the folders from a group up to the mount point, innermost first.

    A container sees its own group at the mount point (`hierarchy_root`) while /proc/self/cgroup may name it
    from the host's root. Folders that do not exist do no harm: nothing is read there. A path that climbs out
    of the process's view of the hierarchy (`/../x`, cgroup_namespaces(7)) leads to no folder that can be named.
    """
    top = hierarchy_root.rstrip("/")
    inside = member.removeprefix(top) if f"{member}/".startswith(f"{top}/") else member
    named = [part for part in inside.split("/") if part not in {"", "."}][:DEEPEST]
    parts = [] if ".." in named else named
    return [f"{mount_point.rstrip('/')}/{'/'.join(parts[:depth])}".rstrip("/") for depth in range(len(parts), -1, -1)]
