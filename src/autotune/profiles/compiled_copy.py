"""Compiled copy that apply() reads instead of YAML: every entry that fits this machine, one line an operation.

The first line says what it was made from, the second what was refused; then follow the groups, as `name
dtype<TAB>JSON`, best level and nearest profile first. A group is parsed when its operation is first asked for.
The copy is a cache: anything odd about it (owner, mode, checksum, age) means that it is made again.
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from autotune.errors import UntrustedFile
from autotune.host.trusted_files import FileRule, read_file, replace_file
from autotune.profiles.lookup import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from autotune.model.entry import Entry

FORMAT = 6
_RULE = FileRule(max_bytes=2**26)
_OLD_SECONDS = 30 * 86400
"""A copy as old as this is deleted when another is written; one still in use is made again in a blink."""


class Wait(NamedTuple):
    """Wait policy of BLAS threads, as the best-fitting profile says."""

    exponent: int | None
    """Of cycles; None: no profile says."""
    loops: dict[str, int]
    """Classes of loops that gain while threads spin, with the elements from which on they do."""


class Group(NamedTuple):
    """The entries of one operation and dtype that one profile gives."""

    name: str
    dtype: str
    level: str
    path: str
    why: str
    """Why the profile has this level."""
    rows: list[Any]
    """Documents of entries."""

    def entries(self) -> "tuple[Entry, ...]":
        """Decode the entries."""
        from autotune.profiles.entry_document import decode_entry

        return tuple(decode_entry(row, self.name, self.dtype) for row in self.rows)


class Compiled:
    """The content of a compiled copy."""

    def __init__(
        self, made_from: list[Any], threads: tuple[int | None, str], wait: Wait, body: bytes
    ) -> None:
        self.made_from = made_from
        """Everything the content depends on; equal lists mean that it still holds."""
        self.threads = threads
        """The process-wide BLAS thread count and why; None: leave it alone."""
        self.wait = wait
        self.body = body
        """Everything after the first line."""

    def groups(self, name: str, dtype: str) -> list[Group]:
        """Return the groups of one operation, best level first."""
        mark = f"\n{name} {dtype}\t".encode(errors="replace")  # half a surrogate pair is no name of ours
        start = self.body.find(mark)
        if start < 0:
            return []
        start += len(mark)
        return _groups(name, dtype, self.body[start : self.body.index(b"\n", start)])

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Name and dtype of every operation, those of the nearest profile first."""
        for line in self.body.splitlines()[1:]:
            name, _, dtype = line.partition(b"\t")[0].decode().partition(" ")
            yield name, dtype

    def refusals(self) -> tuple[Refusal, ...]:
        """Return a profile or entry that is not used, and the reason."""
        return tuple(Refusal(*row) for row in json.loads(self.body.partition(b"\n")[0]))


def compiled(
    made_from: list[Any],
    threads: tuple[int | None, str],
    wait: Wait,
    groups: list[Group],
    refusals: list[Refusal],
) -> Compiled:
    """Return a compiled copy of groups, given best level first."""
    lines: dict[str, list[Any]] = {}
    for group in groups:
        rows = lines.setdefault(f"{group.name} {group.dtype}", [])
        rows.append([group.level, group.path, group.why, group.rows])
    text = [_json(refusals), *(f"{head}\t{_json(rows)}" for head, rows in lines.items()), ""]
    return Compiled(made_from, threads, wait, "\n".join(text).encode())


def load(path: str) -> Compiled | None:
    """Return the copy in a file; None if there is none, or none to be trusted."""
    try:
        head, _, body = read_file(path, _RULE).data.partition(b"\n")
        start = json.loads(head)
        if start["format"] != FORMAT or start["crc"] != zlib.crc32(body):
            return None
        count, why = start["threads"]
        return Compiled(start["from"], (count, why), Wait(*start["wait"]), body)
    except (UntrustedFile, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # absent, cut off, or something else altogether: it is only a cache


def save(path: str, copy: Compiled) -> None:
    """Put a copy in its place. A folder that cannot be written costs later programs time and nothing else."""
    from pathlib import Path

    target = Path(path)
    head = {
        "format": FORMAT,
        "crc": zlib.crc32(copy.body),
        "threads": copy.threads,
        "wait": copy.wait,
        "from": copy.made_from,
    }
    with suppress(OSError):
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(target, _json(head).encode() + b"\n" + copy.body, 0o600)
        _forget_old(target)


def _groups(name: str, dtype: str, line: bytes) -> list[Group]:
    return [Group(name, dtype, *rest) for rest in json.loads(line)]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _forget_old(path: "Path") -> None:
    newest = path.stat().st_mtime
    for copy in path.parent.glob("applied-*.json"):
        with suppress(OSError):
            if copy.stat().st_mtime < newest - _OLD_SECONDS:
                copy.unlink()
