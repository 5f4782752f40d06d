"""Small files of the kernel, and the notation that it writes sets of CPUs in."""

import os

LARGEST_FILE = 1 << 24
"""Bytes read of a file at most; /proc/cpuinfo of 4096 CPUs has 6 MB."""
PART = 1 << 16
"""Bytes read at a time. Python allocates them before it reads; large allocations map new pages."""
LARGEST_CPU = 1 << 13
"""CPU or node numbers from here on are taken for garbage; Linux builds for at most 8192 CPUs."""

_NONBLOCK = getattr(os, "O_NONBLOCK", 0)


def read(path: str) -> str | None:
    """Return the text of a file, stripped; None if it cannot be read.

    Ends at the first NUL byte: recorded kernel files are often padded with them to the length of a page.
    """
    try:
        # pathlib would cost more here than the read itself
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            data = b""
            # read() returns None for a pipe that is open, and empty
            while len(data) < LARGEST_FILE and (part := file.read(PART)):
                data += part
    except TimeoutError:  # the program's own, of a handler of signals
        raise
    except (OSError, ValueError):  # ValueError: a path with a NUL byte in it
        return None
    return data.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a recording may hold a pipe to which no process will ever write."""
    return os.open(path, flags | _NONBLOCK)


def number(path: str) -> int | None:
    """Return the whole number in a file; None if there is none."""
    return whole(read(path) or "")


def whole(text: str) -> int | None:
    """Return a whole number in decimal, with a sign if need be; None for anything else."""
    digits = text.strip()
    body = digits.removeprefix("-")
    return int(digits) if body.isascii() and body.isdigit() and len(body) <= 20 else None


def cpulist(text: str) -> frozenset[int] | None:
    """Return the numbers of a list such as `0-3,8,10-11`; empty for an empty list, None for anything else."""
    numbers: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        low, dash, high = part.partition("-")
        first = whole(low)
        last = whole(high) if dash else first
        if first is None or last is None or not 0 <= first <= last < LARGEST_CPU:
            return None
        numbers.update(range(first, last + 1))
    return frozenset(numbers)
