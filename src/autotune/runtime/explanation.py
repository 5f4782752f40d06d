"""Answer of explain() about autotune in a process, as values, as a text in 80 columns and as a table."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autotune.model import units
from autotune.model.allocation import LIMITED_BY, Limit
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Evidence
from autotune.profiles import folders
from autotune.profiles.lookup import Level, Refusal
from autotune.runtime.guard import Dropped, Saved
from autotune.runtime.learner import Learned
from autotune.runtime.process_settings import plain_text, threads_text
from autotune.runtime.text_table import TextColumn, TextTable, printable, wrap

WIDTH = 80
_ALONE = {
    "unplanned": "that no entry covers by their size and operands",
    "short": "too short to reduce in blocks",
    "overlapping": "whose result depends on the order or the position of elements, or overlaps an operand",
    "nested": "in workers that run side by side",
    "waiting": "while idle BLAS threads spun",
    "crowded": "while other calls had the CPUs",
    "isolated": "that came alone, too short to wake threads for",
    "refused": "for which no thread was free",
}
"""Reasons of the C core for loops that were not cut (`native/module.c`)."""
_LESSONS = 20
"""Lessons that are shown; all are in `learned`."""
_OPERATION = 30
"""Columns of the names of operations, at most; longer names are folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One operation and what is done for it."""

    operation: str
    """With its dtype and sizes."""
    level: Level
    choice: Configuration
    reason: str
    """Why this choice, or why the default was kept."""
    source: str | None = None
    """The profile it comes from; None if no profile covers it."""
    fit: str | None = None
    """Why the profile has this level."""
    entry: Entry | None = None
    """The entry with its evidence."""
    refused: tuple[Refusal, ...] = ()
    """Nearer entries that do not cover it."""

    @property
    def evidence(self) -> Evidence:
        """The entry's evidence; none where another choice than the entry's runs, of which it says nothing."""
        return self.entry.evidence if self.entry and self.entry.choice == self.choice else Evidence()

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values."""
        entry, evidence = self.entry, self.evidence
        return {
            "operation": self.operation,
            "level": str(self.level),
            "choice": self.choice.as_dict(),
            "status": None if entry is None else str(entry.status),
            "speedup": evidence.speedup,
            "interval": evidence.interval,
            "expected_speedup": evidence.expected_speedup,
            "full_capacity_share": evidence.full_capacity_share,
            "reason": self.reason,
            "source": self.source,
            "fit": self.fit,
            "refused": [asdict(refusal) for refusal in self.refused],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The settings of autotune in this process. Its text is for people, at a prompt and in print() alike."""

    usable_cpus: int | None
    limit: Limit | None
    blas_threads: int | None
    """The process-wide count that apply() set; None if it left it alone."""
    blas_threads_reason: str
    operations: tuple[Explained, ...]
    refusals: tuple[Refusal, ...]
    """Every file and entry that is not used, whether something nearer is or not."""
    failure: str | None = None
    """Why nothing is known at all."""
    waiting: str = ""
    """Spin time of idle BLAS threads, and the reason; empty if no profile says anything about it."""
    held_bytes: int = 0
    """Memory of dropped results that map_blocks and its like keep for the next ones."""
    per_call: str | None = None
    """Treatment of single calls, or the reason for none; None: nothing was asked for."""
    loops: int | None = None
    """Long loops of ufuncs that were cut so far; None: none are met."""
    loops_alone: Mapping[str, int] = field(default_factory=dict)
    """Loops that are long enough for some entry and were not cut so far, by the reason."""
    calls: int = 0
    """Single calls met so far."""
    switched: int = 0
    """Those of them that run with a count of their own."""
    saved: Saved | None = None
    """Seconds saved by the live guard's estimate; None without a guard, or with too few pairs."""
    dropped: tuple[Dropped, ...] = ()
    """Entries that lost against the default in this process."""
    learned: tuple[Learned, ...] | None = None
    """Lessons of `apply(learn=True)`; None without it."""
    spent_seconds: float = 0.0
    """Seconds spent on candidates that were slower, while learning."""
    overview: bool = False
    """No operation was asked for: the text lists the choices without their reasons."""
    hint: str = ""
    """Operation that serves the asked one in unchanged programs, in a sentence; empty where it is its own."""

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values, for JSON."""
        return {
            "usable_cpus": self.usable_cpus,
            "limit": None if self.limit is None else str(self.limit),
            "blas_threads": self.blas_threads,
            "blas_threads_reason": self.blas_threads_reason,
            "failure": self.failure,
            "waiting": self.waiting,
            "held_bytes": self.held_bytes,
            "per_call": None
            if self.per_call is None
            else {
                "reason": self.per_call,
                "loops": self.loops,
                "loops_alone": dict(self.loops_alone),
                "calls": self.calls,
                "switched": self.switched,
                "saved_seconds": None if self.saved is None else self.saved._asdict(),
                "dropped": [drop._asdict() for drop in self.dropped],
                "learned": None if self.learned is None else [lesson._asdict() for lesson in self.learned],
                "spent_seconds": self.spent_seconds,
            },
            "operations": [row.as_dict() for row in self.operations],
            "refusals": [asdict(refusal) for refusal in self.refusals],
            "hint": self.hint,
        }

    def text(self, width: int = WIDTH) -> str:
        """Return the same for people, in lines of at most `width` characters; paths are never broken."""
        return "\n".join(_lines(self, max(20, width)))

    def _repr_html_(self) -> str:
        if self.failure is not None:
            return units.html_table((), (), caption=self.text())
        rows = [
            (row.operation, str(row.choice), _speedup(row), row.fit or "", f"{row.reason} {_evidence(row)}".rstrip())
            for row in self.operations
        ]
        caption = "\n".join([*_process(self, 10_000), *([self.hint] if self.hint else [])])
        return units.html_table(("operation", "choice", "speed-up", "fit", "reason"), rows, caption=caption)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__


def _lines(explanation: Explanation, width: int) -> Iterator[str]:
    if explanation.failure is not None:
        yield from wrap(plain_text(explanation.failure), width)
        return
    yield from _process(explanation, width)
    yield ""
    paths = _profile_numbers(explanation)
    if not explanation.operations:
        yield "Nothing that was measured fits here."
    elif explanation.overview:
        yield from _overview(explanation.operations, paths, width)
    else:
        yield from _table(explanation.operations, paths, width)
    if explanation.hint:
        yield ""
        yield from wrap(explanation.hint, width)
    used = {row.source: row.fit for row in explanation.operations if row.source is not None}
    if paths:
        yield ""
    for path, number in paths.items():
        yield f"[{number}] {printable(path)}"
        yield from wrap(used.get(path) or "", width, indent=4)
    refused = [refusal for refusal in explanation.refusals if refusal.entry is None]
    files = [refusal for refusal in refused if not refusal.path.startswith(folders.shipped_profiles())]
    shipped = len(refused) - len(files)
    if shipped:
        yield ""
        others = units.count_of(shipped, "shipped profile is", "shipped profiles are")
        yield from wrap(f"{others} for other machines, or another NumPy or BLAS; `autotune show` lists them.", width)
    if files:
        yield ""
        yield "Not used:"
    for refusal in files:
        yield f"  {printable(refusal.path)}"
        yield from wrap(refusal.reason, width, indent=4)


def _process(explanation: Explanation, width: int) -> Iterator[str]:
    """Return the settings of the whole process."""
    limit = "" if explanation.limit in {None, Limit.NONE} else f" (limited by {LIMITED_BY[explanation.limit]})"
    yield f"Usable CPUs: {explanation.usable_cpus}{limit}"
    threads = threads_text(explanation.blas_threads)
    yield from wrap(f"{threads} {explanation.blas_threads_reason}", width)
    if explanation.waiting:
        yield from wrap(explanation.waiting, width)
    if explanation.held_bytes:
        size = f"{explanation.held_bytes / 2**20:.1f} MiB"
        yield from wrap(f"Memory of dropped results kept for new ones: {size}", width)
    if explanation.per_call is None:
        return
    calls = f"{units.count_of(explanation.calls, 'call')} so far, {explanation.switched} of them tuned."
    if explanation.loops is not None:
        calls += f" Loops cut so far: {explanation.loops}."
        alone = [f"{count} {_ALONE[name]}" for name, count in explanation.loops_alone.items() if count]
        calls += f" Long ones that were not: {', '.join(alone)}." if alone else ""
    yield from wrap(f"{explanation.per_call} {calls}", width)
    if explanation.saved is not None:
        yield from wrap(saved_text(explanation.saved), width)
    for drop in explanation.dropped:
        yield from wrap(f"Dropped: {drop}", width)
    if explanation.learned is not None:
        yield from _learned_lines(explanation, explanation.learned, width)


def saved_text(saved: Saved) -> str:
    """Describe the seconds that the guard has seen saved."""
    doubt = f" {units.count_of(saved.untold, 'choice')} had too few controls to tell." if saved.untold else ""
    if saved.seconds == saved.low == saved.high == 0.0 and saved.untold:
        return f"Seconds saved so far are not known:{doubt}"
    if saved.low == saved.high:  # both ends are beyond the seconds of the process
        word = "saved" if saved.low > 0 else "lost"
        return f"Seconds {word} so far by long calls: at least {abs(saved.low):.3g}.{doubt}"
    return (
        f"Seconds saved so far by long calls: {saved.seconds:.3g} "
        f"(95 % interval {saved.low:.3g} to {saved.high:.3g}).{doubt}"
    )


def _learned_lines(explanation: Explanation, learned: Sequence[Learned], width: int) -> Iterator[str]:
    """Describe the lessons: choices and candidates in full, of those given up the number."""
    given_up = sum(not lesson.choice and not lesson.candidate for lesson in learned)
    proved = sum(bool(lesson.choice) for lesson in learned)
    yield from wrap(
        f"Learning: {units.count_of(proved, 'choice')} proved, "
        f"{len(learned) - given_up - proved} being tried, {given_up} without a gain. "
        f"Seconds spent on slower candidates: {explanation.spent_seconds:.3g}.",
        width,
    )
    for lesson in [lesson for lesson in learned if lesson.choice or lesson.candidate][:_LESSONS]:
        yield from wrap(("Learned: " if lesson.choice else "Trying: ") + str(lesson), width)


def _profile_numbers(explanation: Explanation) -> dict[str, int]:
    """Return the profiles that the table refers to, in the order of their first mention."""
    mentioned: dict[str, int] = {}
    for row in explanation.operations:
        refused = () if explanation.overview else row.refused
        for path in [row.source, *(refusal.path for refusal in refused)]:
            if path is not None:
                mentioned.setdefault(path, len(mentioned) + 1)
    return mentioned


def _overview(rows: Sequence[Explained], paths: dict[str, int], width: int) -> Iterator[str]:
    """Yield the choices; and of what runs as plain NumPy the names with their numbers of entries: a thorough profile
    has hundreds, which would hide the choices.
    """
    chosen = [row for row in rows if not row.choice.is_default]
    if chosen:
        yield from _table(chosen, paths, width, reasons=False)
        yield ""
    plain = [row for row in rows if row.choice.is_default]
    if plain:
        kept = Counter(row.operation.partition(" ")[0] for row in plain)
        names = ", ".join(f"{name} ({number})" for name, number in kept.items())
        entries = units.count_of(len(plain), "entry", "entries")
        count = sum(row.entry is not None and not row.entry.is_decided for row in plain)
        undecided = f", of which {count} {'is' if count == 1 else 'are'} open" if count else ""
        yield from wrap(f"Plain NumPy runs for {entries}{undecided}: {names}.", width)
    yield from wrap('The reasons: `autotune explain NAME`, or autotune.explain("NAME").', width)


def _table(rows: Sequence[Explained], paths: dict[str, int], width: int, *, reasons: bool = True) -> Iterator[str]:
    """Yield a row for each operation; below it the reason, and the nearer entries that were refused."""
    names = [row.operation.replace(" float64", "", 1) for row in rows]
    levels = [str(row.level) if row.source is None else f"{row.level} [{paths[row.source]}]" for row in rows]
    table = TextTable(
        (
            TextColumn("operation", min(_OPERATION, max(map(len, ["operation", *names])))),
            TextColumn("level", max(map(len, ["level", *levels]))),
            TextColumn("choice"),
            TextColumn("speed-up", 8, right=True),
        ),
        width,
    )
    yield from table.heading()
    for name, level, row in zip(names, levels, rows, strict=True):
        notes = [f"{row.reason} {_evidence(row)}".rstrip()] if reasons else []
        if reasons:
            notes += [f"not [{paths[refusal.path]}]: {refusal.reason}" for refusal in row.refused]
        yield from table.row([name, level, str(row.choice), _speedup(row)], *notes)


def _speedup(row: Explained) -> str:
    return units.speedup(None if row.choice.is_default else row.evidence.leading_speedup)


def _evidence(row: Explained) -> str:
    """Return the interval of a choice's speed-up, and the states of the machine; nothing for the default."""
    evidence = Evidence() if row.choice.is_default else row.evidence
    interval = evidence.leading_interval
    said = "" if interval is None else f"95 % interval of its speed-up: {units.interval(interval)}. "
    return f"{said}{evidence.capacity_note}".rstrip()
