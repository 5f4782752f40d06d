"""What is done for each kind of job, step by step. Pure: a course yields what to start and is sent how it ended.

A course that is dropped in the middle leaves nothing in force: only `adopt` writes where programs look.
"""

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from autotune.daemon import canary
from autotune.daemon.canary import MOST_ENTRIES, Verdict
from autotune.daemon.child_processes import Ended
from autotune.daemon.schedule import Job
from autotune.model.operation import Operation

CLI = "autotune"
CLERK = "autotune.daemon.profile_helper"
CLAIMS = "autotune.share.claims"
GRACE = 3.0
"""How many times its budget a child may take before it counts as hung: NumPy loads, proofs are finished."""
CLERK_SECONDS = 60.0
BUSY_STATUS, USAGE_STATUS = 3, 2
"""Exit codes of our command line."""
STRANGE = "Its answer is not understood: the interpreter's autotune may be of another version."
_ENTRY = frozenset({"operation", "dtype", "sizes", "standing", "reason"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A child to start."""

    module: str
    arguments: tuple[str, ...]
    seconds: float = CLERK_SECONDS
    """After which it is killed."""
    measuring: bool = False
    """May it run in an idle window only?"""


class End(StrEnum):
    """How a course ended."""

    ADOPTED = "adopted"
    FINE = "fine"
    """A profile in use may stay, or entries still hold."""
    DOUBTED = "doubted"
    """Entries do not hold any more."""
    QUARANTINED = "quarantined"
    LEFT = "left-out"
    """It could not be told."""
    BUSY = "host-busy"
    """Somebody else measures on this host."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    end: End
    why: str
    runs: int = 0
    """Re-timings."""
    doubts: tuple[tuple[str, str, dict[str, int], str], ...] = ()
    """(operation, dtype, sizes, why) of entries that do not hold any more."""
    ratios: tuple[float, ...] = ()
    """Times over the default's that were re-timed."""


Course = Generator[Step, Ended, Outcome]


def calibration(
    job: Job,
    *,
    seconds: float,
    candidate: Path,
    profile: Path,
    resume: bool,
    claim: tuple[str, str] | None = None,
) -> Course:
    """Measure an operation; time what was found once more; take it into use.

    `claim` is the store and the class whose nodes are to be told first, so that one of them does it for all. A
    store that does not answer keeps nobody from measuring.
    """
    if claim is not None:
        answer = json_of((yield Step(module=CLAIMS, arguments=(*claim, f"{job.operation}-{job.dtype}"))))
        if answer.get("mine") is False:
            return Outcome(end=End.LEFT, why=f"{answer.get('holder')} measures it for its class.")
    words = _words(job, seconds=seconds, candidate=candidate)
    ended = yield _measured([*words, *(["--resume"] if resume else [])], seconds)
    if resume and ended.status == USAGE_STATUS:  # it had not come to its first session, or was another one
        ended = yield _measured(words, seconds)
    if ended.status != 0:
        return _failure(ended)
    runs: list[Verdict] = []
    while True:
        report = _report((yield _verify(candidate, seconds)))
        if isinstance(report, Outcome):
            return report
        runs.append(canary.verdict(report))
        match canary.step(runs):
            case canary.Step.ADOPT:
                break
            case canary.Step.QUARANTINE:
                return Outcome(end=End.QUARANTINED, why=_slower(report), runs=len(runs))
            case canary.Step.LEAVE:
                return Outcome(end=End.LEFT, why="The re-timings could not tell.", runs=len(runs))
    scope = "sizes" if job.sizes else "all"
    answer = json_of((yield _clerk("adopt", str(candidate), str(profile), scope)))
    new = answer.get("new")
    if not isinstance(new, dict):
        return Outcome(end=End.FAILED, why=str(answer.get("problem", STRANGE)), runs=len(runs))
    said = ", ".join(f"{count} {status}" for status, count in new.items())
    why = f"Programs have it from now on: {said or 'nothing new'}."
    return Outcome(end=End.ADOPTED, why=why, runs=len(runs), ratios=_ratios(report))


def trial(
    job: Job, *, seconds: float, excerpt: Path, used: Sequence[Sequence[object]], runs: list[str]
) -> Course:
    """Put a profile to the test: its most used entries against the default.

    `used` are operations as [name, dtype, sizes], those called most first. `runs` are the verdicts of re-timings
    before an interruption; those to come are added.
    """
    wanted = json.dumps({"most": MOST_ENTRIES, "used": list(used)})
    answer = json_of((yield _clerk("excerpt", job.path, str(excerpt), wanted)))
    if "problem" in answer:
        return Outcome(end=End.FAILED, why=str(answer["problem"]))
    while True:
        report = _report((yield _verify(excerpt, seconds)))
        if isinstance(report, Outcome):
            return report
        runs.append(str(canary.verdict(report)))
        match canary.step([Verdict(each) for each in runs]):
            case canary.Step.ADOPT:
                why = f"None of its {len(report['entries'])} most used choices is slower than the default."
                return Outcome(end=End.FINE, why=why, runs=len(runs), ratios=_ratios(report))
            case canary.Step.QUARANTINE:
                return Outcome(end=End.QUARANTINED, why=_slower(report), runs=len(runs))
            case canary.Step.LEAVE:
                return Outcome(end=End.LEFT, why="The re-timings could not tell.", runs=len(runs))


def recheck(
    job: Job, *, seconds: float, profile: Path, excerpt: Path, entries: Sequence[Operation]
) -> Course:
    """Do an operation's entries still hold? Those that do not are in doubt from now on."""
    wanted = json.dumps({"most": len(entries), "used": [[one.name, one.dtype, one.size] for one in entries]})
    answer = json_of((yield _clerk("excerpt", str(profile), str(excerpt), wanted)))
    if "problem" in answer:
        return Outcome(end=End.FAILED, why=str(answer["problem"]))
    report = _report((yield _verify(excerpt, seconds)))
    if isinstance(report, Outcome):
        return report
    doubts = tuple(
        (one["operation"], one["dtype"], one["sizes"], f"{job.subject} was checked again. {one['reason']}")
        for one in report["entries"]
        if one["standing"] in {"no-longer-holds", "slower", "failed"}
    )
    end = End.DOUBTED if doubts else End.FINE
    why = f"{len(doubts)} of {len(report['entries'])} entries do not hold any more."
    return Outcome(end=end, why=why, runs=1, doubts=doubts, ratios=_ratios(report))


def _words(job: Job, *, seconds: float, candidate: Path) -> list[str]:
    sizes = " ".join(f"{name}={value}" for name, value in job.sizes)
    return [
        "calibrate",
        job.operation,
        *(["--sizes", sizes] if sizes else []),
        *("--dtype", job.dtype, "--budget", f"{seconds:.0f}s"),
        *("--output", str(candidate), "--json"),
    ]


def _measured(words: Sequence[str], seconds: float) -> Step:
    return Step(module=CLI, arguments=tuple(words), seconds=GRACE * seconds + CLERK_SECONDS, measuring=True)


def _verify(profile: Path, seconds: float) -> Step:
    return _measured(["verify", str(profile), "--json", "--budget", f"{seconds:.0f}s"], seconds)


def _clerk(*words: str) -> Step:
    return Step(module=CLERK, arguments=words)


def json_of(ended: Ended) -> dict[str, Any]:
    """A child's answer; its last words as the problem if it gave none."""
    try:
        answer = json.loads(ended.answer)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"problem": last_words(ended)}


def _report(ended: Ended) -> "dict[str, Any] | Outcome":
    """What `verify` says; the failure if it says nothing, or nothing that can be understood."""
    answer = json_of(ended)
    entries = answer.get("entries")
    if not isinstance(entries, list):
        return _failure(ended)
    if not all(isinstance(one, dict) and one.keys() >= _ENTRY for one in entries):
        return Outcome(end=End.FAILED, why=STRANGE)
    return answer


def _failure(ended: Ended) -> Outcome:
    end = End.BUSY if ended.status == BUSY_STATUS and "holds this host" in ended.words else End.FAILED
    return Outcome(end=end, why=last_words(ended))


def last_words(ended: Ended) -> str:
    """The last line that a child wrote, or how it ended."""
    lines = ended.words.splitlines()
    return lines[-1][:500] if lines else f"It ended with status {ended.status} and said nothing."


def _slower(report: dict[str, Any]) -> str:
    worst = next((one for one in report["entries"] if one["standing"] in {"slower", "failed"}), None)
    return (
        "" if worst is None else f"{worst['operation']} {worst['dtype']} {worst['sizes']}: {worst['reason']}"
    )


def _ratios(report: dict[str, Any]) -> tuple[float, ...]:
    ratios = (one.get("ratio") for one in report["entries"])
    return tuple(one for one in ratios if isinstance(one, int | float) and one > 0)
