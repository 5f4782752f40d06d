"""Advice from a recording and the profiles that fit this machine: rows, gain, trouble, and the next command. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from autotune.recording.known_gains import KnownGain, Limits, Profiles, known_gain
from autotune.recording.program_gain import ProgramGain, program_gain, spans, total_seconds
from autotune.recording.recording import Call, RecordedProcess, Recording
from autotune.recording.trouble import crowding, trouble

WORTH_APPLYING = 1.02
"""Speed-up of a whole run below which nothing is advised for it."""
WORTH_MEASURING = 0.05
"""Part of the run in calls that were not measured from which a calibration is advised."""


class Next(StrEnum):
    """The next command."""

    CALIBRATE = "calibrate"
    RUN = "run"
    RUN_CHILDREN = "run --children"
    NOTHING = "nothing"
    UNKNOWN = "unknown"
    """No call was recorded, and there is a reason why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvisedCall:
    """One row: a call of all processes together, and what is known about it."""

    call: Call
    share: float
    """Of the time of all processes."""
    gain: KnownGain


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessShare:
    """One process, or several of one command line."""

    words: str
    processes: int
    share: float
    """Of the time of all processes."""
    call_share: float
    """Of its own time inside recorded calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """All that is said about a run."""

    recording: Recording
    calls: tuple[AdvisedCall, ...]
    """The longest first."""
    call_share: float
    """Part of the time inside recorded calls."""
    processes: tuple[ProcessShare, ...]
    gain: ProgramGain
    trouble: tuple[str, ...]
    next: Next

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values; the recording without its calls by process."""
        recorded = {
            name: getattr(self.recording, name)
            for name in ("command", "status", "wall_seconds", "cpu_seconds", "usable_cpus", "limit")
        }
        return {
            **recorded,
            "calls": [
                {name: value for name, value in asdict(row.call).items() if name != "contiguous"}
                | {"share": row.share, "known": asdict(row.gain)}
                for row in self.calls
            ],
            "call_share": self.call_share,
            "processes": [asdict(process) for process in self.processes],
            "gain": asdict(self.gain),
            "trouble": list(self.trouble),
            "next": str(self.next),
        }


def advise_on(recording: Recording, profiles: Profiles, limits: Limits = Limits()) -> Advice:  # noqa: B008 - frozen
    """Say what a recorded run would gain here, by what profiles know and settings allow."""
    total = total_seconds(recording)
    joined = recording.joined_calls()
    gains = [(call, known_gain(call, profiles, limits)) for call in joined]
    gain = program_gain([pair for pair in gains if not pair[0].needs_reductions], total)
    troubles = (*limits.sentences(), *trouble(recording))
    return Advice(
        recording=recording,
        calls=tuple(AdvisedCall(call=call, share=call.seconds / total, gain=own) for call, own in gains),
        call_share=min(1.0, sum(call.seconds for call in joined) / total),
        processes=tuple(_shares(recording, total)),
        gain=gain,
        trouble=troubles,
        next=_next(recording, gain),
    )


def _shares(recording: Recording, total: float) -> Iterable[ProcessShare]:
    groups: dict[str, list[tuple[RecordedProcess, float]]] = defaultdict(list)
    for process, span in zip(recording.processes, spans(recording.processes), strict=True):
        groups[_command_line(process.words)].append((process, span))
    for words, members in groups.items():
        seconds = sum(span for _, span in members)
        inside = sum(process.call_seconds for process, _ in members)
        yield ProcessShare(
            words=words,
            processes=len(members),
            share=min(1.0, seconds / total),
            call_share=min(1.0, inside / max(seconds, 1e-9)),
        )


def _command_line(words: tuple[str, ...]) -> str:
    """Return a command line; that of `multiprocessing` without its pipes, which differ between its processes."""
    is_spawned = words[-1:] == ("--multiprocessing-fork",)
    return f"{words[0]} {words[-1]}" if is_spawned else " ".join(words)


def _next(recording: Recording, gain: ProgramGain) -> Next:
    if gain.open_share >= WORTH_MEASURING:
        return Next.CALIBRATE
    crowd = crowding(recording)
    if gain.speedup >= WORTH_APPLYING or crowd is not None:
        main = [process for process in recording.processes if process.call_seconds > 0]
        below = {process.parent for process in main} & {process.pid for process in main}
        spawned = any(not process.is_fork and process.parent in below for process in main)
        return Next.RUN_CHILDREN if spawned or (crowd is not None and crowd.processes > 1) else Next.RUN
    is_unknown = recording.processes and all(process.is_unrecorded for process in recording.processes)
    return Next.UNKNOWN if is_unknown else Next.NOTHING
