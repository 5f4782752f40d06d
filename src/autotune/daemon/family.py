"""Who descends from a process, as the kernel lists it (proc(5), /proc/PID/task/TID/children)."""

import os

from autotune.host.kernel_files import read


def descendants(pid: int) -> list[int] | None:
    """All of them; None where the kernel does not list children, or the process is gone."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{each}/task")  # noqa: PTH208 - the leash loads no pathlib
        except OSError:
            if each == pid:
                return None
            continue
        listed = [read(f"/proc/{each}/task/{thread}/children") for thread in threads]
        if each == pid and all(text is None for text in listed):
            return None
        children = [int(word) for text in listed for word in (text or "").split()]
        found += children
        waiting += children
    return found
