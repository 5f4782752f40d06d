"""Compiled copy that apply() reads instead of YAML: everything that fits this machine, ready for use.

A head of text lines holds what apply() itself needs, so that it parses no JSON: the format with a checksum, the
circumstances, the BLAS library, the thread count, the wait policy, the plans of whole-array loops and warnings. Then
follow the refusals, and the entries of each operation as `name dtype<TAB>JSON`, best level and nearest profile first.
They are parsed when the operation is first asked for. The copy is a cache: anything odd about it (owner, mode,
checksum, age, content) means that it is made again, for refusals and entries when they are first read.
"""

import os
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from autotune.host.trusted_files import FileRule, read_file, replace_file
from autotune.intercept.operations import LOOP_DTYPES, LOOP_KINDS, MOST_RANGES, PLACEMENTS, Layout, Range
from autotune.model.record import Record

if TYPE_CHECKING:
    from autotune.profiles.lookup import Refusal, Rung

FORMAT = 9
_HEAD_LINES = 8
_NONE = "-"
_CODEC = "utf-8", "surrogatepass"
"""Of the head: names of files may be no text."""
_TUNED = b'"status":"tuned"'
"""In the document of each entry that has a choice; in a text its quotation marks would be escaped."""
_RULE = FileRule(max_bytes=2**26)
_MOST = 2**48
"""Elements in a plan: more than any array has, and few enough for the core's arithmetic."""
_LAYOUTS = frozenset(map(str, Layout.ALL))
_MOST_WORKERS = 2**16
"""In a plan: more than any machine has CPUs."""
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""Errors of reading refusals or entries that are not as `body` writes them."""
_OLD_SECONDS = 30 * 86400
"""Age at which a copy is deleted when another is written. A copy that is still in use is made again within 0.3 s."""


class LoopPlan(Record):
    """Settings of one kind of loops, for a dtype and a layout of operands (`intercept.array_loops`)."""

    kind: str
    dtype: str
    layout: int
    ranges: tuple[Range, ...]


class Wait(Record):
    """Wait policy of BLAS threads, as the best-fitting profile says."""

    exponent: int | None
    """Of cycles; None: no profile says."""
    loops: dict[str, int]
    """Classes of loops that gain while threads spin, with the elements from which on they do."""


class Compiled(Record):
    """The content of a compiled copy."""

    circumstances: str
    """Everything that the content depends on and that is known before NumPy is loaded, as one line of text."""
    software: str
    """NumPy and its BLAS, likewise. The content holds as long as both are equal."""
    threads: tuple[int | None, str]
    """The process-wide BLAS thread count and why; None: leave it alone."""
    wait: Wait
    body: bytes
    """The refusals and entries."""
    loops: Sequence[LoopPlan] = ()
    """Plans of the classes of loops that are cut."""
    outdated: str | None = None
    """A sentence about this host's profiles for another NumPy or BLAS; None once there are some for this."""
    unused_named: tuple[str, ...] = ()
    """A sentence without tabs for each profile that the user names, if none of them is used."""

    def has(self, name: str, dtype: str | None = None) -> bool:
        """Return whether there are entries of an operation, with this dtype or any."""
        mark = f"\n{name} " if dtype is None else f"\n{name} {dtype}\t"
        return mark.encode(errors="replace") in self.body

    def tunes(self, names: Collection[str]) -> bool:
        """Return whether an entry of one of these operations has a choice: its document is not decoded."""
        lines = self.body.splitlines()[1:]
        return any(_TUNED in line and line.partition(b" ")[0].decode() in names for line in lines)

    def rungs(self, name: str, dtype: str) -> "list[Rung]":
        """Decode the entries of one operation, best level first. Raises UNREADABLE."""
        mark = f"\n{name} {dtype}\t".encode(errors="replace")  # half a surrogate pair is no operation's name
        start = self.body.find(mark)
        if start < 0:
            return []
        from json import loads

        from autotune.model.codec import decode
        from autotune.model.entry import decode_entry
        from autotune.profiles.lookup import Level, Rung

        start += len(mark)
        document = loads(self.body[start : self.body.index(b"\n", start)])
        steps: Any = decode(tuple[tuple[Level, str, str, tuple[Any, ...]], ...], document)
        return [
            Rung(level, path, why, [decode_entry(row, name, dtype) for row in rows]) for level, path, why, rows in steps
        ]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield name and dtype of every operation, those of the nearest profile first. Raises UNREADABLE."""
        for line in self.body.splitlines()[1:]:
            name, _, dtype = line.partition(b"\t")[0].decode().partition(" ")
            yield name, dtype

    def refusals(self) -> "tuple[Refusal, ...]":
        """Return the profiles and entries that are not used, with their reasons. Raises UNREADABLE."""
        from json import loads

        from autotune.model.codec import decode
        from autotune.profiles.lookup import Refusal

        rows: Any = decode(tuple[tuple[str, str | None, str, str | None], ...], loads(self.body.partition(b"\n")[0]))
        return tuple(Refusal(*row) for row in rows)


def body(rungs: "Mapping[tuple[str, str], Sequence[Rung]]", refusals: "Sequence[Refusal]") -> bytes:
    """Return the body of a copy: the rungs of each operation and dtype, best level first."""
    from autotune.model.entry import encode_entry

    lines = [_json([[refusal.path, refusal.entry, refusal.reason, refusal.outdated] for refusal in refusals])]
    for (name, dtype), steps in rungs.items():
        rows = [[step.level, step.path, step.why, [encode_entry(entry) for entry in step.entries]] for step in steps]
        lines.append(f"{name} {dtype}\t{_json(rows)}")
    return "\n".join([*lines, ""]).encode()


def load(path: str) -> Compiled | None:
    """Return the copy in a file; None if there is none, or none to be trusted."""
    try:
        mark, _, rest = read_file(path, _RULE).data.partition(b"\n")
        if mark != _mark(rest):
            return None
        *head, content = rest.split(b"\n", _HEAD_LINES - 1)
        if content[:1] != b"[" or content[-1:] != b"\n":
            return None
        circumstances, software, threads, wait, loops, outdated, unused = (line.decode(*_CODEC) for line in head)
        count, _, why = threads.partition("\t")
        exponent, *thresholds = wait.split()
        pairs = (text.partition(":") for text in thresholds)
        policy = Wait(_number(exponent), {kind: int(elements) for kind, _, elements in pairs})
        plans = [_read_plan(*text.split()) for text in loops.split("\t") if text]
        unused_named = tuple(unused.split("\t")) if unused else ()
        return Compiled(
            circumstances, software, (_number(count), why), policy, content, plans, outdated or None, unused_named
        )
    except (OSError, ValueError, TypeError):
        return None  # absent, cut off, or something else altogether: it is only a cache
    except Exception as error:
        from autotune.errors import UntrustedFile

        if isinstance(error, UntrustedFile):
            return None
        raise


def save(path: str, copy: Compiled) -> None:
    """Put a copy in its place. A folder that cannot be written costs later programs time and nothing else."""
    plans = (
        " ".join(
            [
                *(plan.kind, plan.dtype, str(plan.layout)),
                *(f"{row.elements}:{row.chunk}:{row.workers}:{row.placement}" for row in plan.ranges),
            ]
        )
        for plan in copy.loops
    )
    head = (
        copy.circumstances,
        copy.software,
        f"{_text(copy.threads[0])}\t{copy.threads[1]}",
        " ".join([_text(copy.wait.exponent), *(f"{kind}:{elements}" for kind, elements in copy.wait.loops.items())]),
        "\t".join(plans),
        copy.outdated or "",
        "\t".join(copy.unused_named),
    )
    data = b"".join(line.replace("\n", " ").encode(*_CODEC) + b"\n" for line in head) + copy.body
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)  # noqa: PTH103, PTH120 - see folders
        replace_file(path, _mark(data) + b"\n" + data, 0o600)
        _forget_old(path)


def _mark(data: bytes) -> bytes:
    """Return the first line of a file that holds these data after it."""
    return f"autotune {FORMAT} {zlib.crc32(data):08x}".encode()


def _read_plan(kind: str, dtype: str, layout: str, *rows: str) -> LoopPlan:
    """Return a plan that the core takes. Raises ValueError for any other."""
    is_known = kind in LOOP_KINDS and dtype in LOOP_DTYPES and layout in _LAYOUTS
    if not (is_known and 0 < len(rows) <= MOST_RANGES):
        raise ValueError
    ranges, below = [], 0
    for row in rows:  # a loop without calls: there are hundreds of rows, and apply() waits
        text, chunk, workers, placement = row.split(":")
        setting = Range(elements := int(text), size := int(chunk), threads := int(workers), placement)
        is_sound = below < elements < _MOST and 0 < size < _MOST and 0 < threads < _MOST_WORKERS
        if not is_sound or placement not in PLACEMENTS:
            raise ValueError
        ranges.append(setting)
        below = elements
    return LoopPlan(kind, dtype, int(layout), tuple(ranges))


def _text(number: int | None) -> str:
    return _NONE if number is None else str(number)


def _number(text: str) -> int | None:
    return None if text == _NONE else int(text)


def _json(value: Any) -> str:
    from json import dumps

    return dumps(value, separators=(",", ":"))


def _forget_old(path: str) -> None:
    folder, name = os.path.split(path)
    newest = os.stat(path).st_mtime  # noqa: PTH116
    with os.scandir(folder) as files:
        for file in files:
            if file.name.startswith("applied-") and file.name != name:
                with suppress(OSError):
                    if file.stat().st_mtime < newest - _OLD_SECONDS:
                        os.unlink(file.path)  # noqa: PTH108
