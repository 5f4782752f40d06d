"""Decision: from the evidence of exploration and the findings of confirmation to the entry of a profile. Pure."""

from dataclasses import replace
from math import exp, log1p
from statistics import median

from autotune.model.catalogue import Family, Kind
from autotune.model.configuration import DEFAULT, Configuration, Knob
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.search.confirmation import Candidate, Findings, Verdict, in_words
from autotune.search.crossings import Alternatives
from autotune.search.environment import Environment
from autotune.search.evidence import Evidence
from autotune.search.machine_states import OCCUPANCY, Capacity
from autotune.search.sequential_test import MARGIN

OUT_OF_TIME = "The time allowed ended before its turn."


def decide(
    operation: Operation,
    kind: Kind,
    *,
    environment: Environment,
    evidence: Evidence,
    capacity: Capacity | None,
    candidate: Candidate | None,
    quiet: Candidate | None = None,
    alternatives: Alternatives = (),
) -> Entry:
    """Decide the entry for one size.

    Parameters
    ----------
    operation, kind
        The size, and its row of the catalogue.
    environment
        Where it was measured.
    capacity
        Decides which pairs count; None where capacity plays no part.
    evidence
        What exploration saw.
    candidate
        What was put to the test; None if nothing was.
    quiet
        The same, tested while the neighbours rest; None without neighbours.
    alternatives
        Configurations for sizes in between; dropped where the candidate, which seemed the best of them, was not proved.

    """
    bare = kept(operation, kind, environment, status=Status.UNDECIDED, reason=OUT_OF_TIME)
    if DEFAULT in evidence.failures:
        reason = f"The default failed: {evidence.failures[DEFAULT].reason}"
        return replace(bare, status=Status.FAILED, reason=reason)
    failed = candidate is not None and candidate.verdict is Verdict.FAILED
    if not evidence.default_seconds and not failed:
        return bare
    known = replace(
        bare,
        default_seconds=median(evidence.default_seconds) if evidence.default_seconds else None,
        safe_threads=_safe_threads(kind, environment, evidence),
        corners=_corners(kind, environment, evidence),
    )
    if candidate is None:
        entry = replace(known, status=Status.DEFAULT_KEPT, reason=_nothing_better(evidence))
    else:
        entry = _tested(known, candidate, evidence, capacity)
        if quiet is not None and entry.status is Status.TUNED:
            entry = _tested_quietly(entry, candidate, quiet, capacity)
    refuted = candidate is not None and entry.status is not Status.TUNED
    return replace(
        entry,
        reason=f"{entry.reason} {environment.company}".rstrip(),
        alternatives=() if refuted or environment.neighbours else alternatives,
    )


def kept(operation: Operation, kind: Kind, environment: Environment, *, status: Status, reason: str) -> Entry:
    """Make an entry that keeps the default without evidence."""
    threads = environment.default_threads if Knob.BLAS_THREADS in kind.knobs else None
    return Entry(operation=operation, status=status, reason=reason, default_threads=threads)


def _tested(known: Entry, candidate: Candidate, evidence: Evidence, capacity: Capacity | None) -> Entry:
    """The entry of a candidate that was put to the test."""
    choice = candidate.choice
    if candidate.verdict is Verdict.FAILED:
        assert candidate.failure is not None
        reason = f"{choice} failed under test: {candidate.failure.reason}"
        return replace(known, status=Status.DEFAULT_KEPT, reason=reason)
    findings = candidate.findings(capacity)
    if candidate.verdict is Verdict.ACCEPTED:
        return _tuned(known, candidate, evidence, findings)
    tested = _with_findings(known, findings)
    alone = choice == Configuration(blas_threads=choice.blas_threads)
    safe = tuple(count for count in known.safe_threads if not (alone and count == choice.blas_threads))
    if candidate.verdict is Verdict.DROPPED:
        reason = f"{choice} was tested. {candidate.reason}{_states(findings)}"
        return replace(tested, status=Status.DEFAULT_KEPT, reason=reason, safe_threads=safe)
    missing = candidate.fewer_cpus and len(candidate.visits) >= 2 and not findings.full
    if candidate.verdict is Verdict.NOISY or missing:
        reason = (
            f"{choice} uses fewer CPUs than the default, and no undisturbed timings at full capacity could be "
            f"had in {len(candidate.visits)} processes. {capacity or ''}"
        )
        return replace(known, status=Status.NOISY, reason=reason.rstrip(), safe_threads=safe)
    seemed = exp(-evidence.estimate(choice)) if choice in evidence.visits else exp(-candidate.seemed)
    processes = len(candidate.visits)
    reason = (
        f"{choice} looked {seemed:.2f} times as fast; the time allowed ended after {processes} "
        f"process{'es' * (processes != 1)} of its test."
    )
    return replace(tested, status=Status.UNDECIDED, reason=reason, safe_threads=safe)


def _tuned(known: Entry, candidate: Candidate, evidence: Evidence, findings: Findings) -> Entry:
    choice = candidate.choice
    entry = _with_findings(known, findings)
    alone = choice == Configuration(blas_threads=choice.blas_threads) and choice.blas_threads is not None
    safe = {*known.safe_threads, *([choice.blas_threads] if alone else [])}
    seconds = entry.default_seconds
    return replace(
        entry,
        status=Status.TUNED,
        reason=f"Proved faster in {entry.processes} fresh processes.{_states(findings)}",
        choice=choice,
        tuned_seconds=None if seconds is None or entry.ratio is None else seconds * entry.ratio,
        safe_threads=tuple(sorted(count for count in safe if count is not None)),
        retained_bytes=evidence.retained_bytes.get(choice),
    )


def _tested_quietly(entry: Entry, candidate: Candidate, quiet: Candidate, capacity: Capacity | None) -> Entry:
    """The entry of a candidate that was proved beside the neighbours, by what it is worth without them."""
    findings = quiet.findings(capacity)
    if quiet.verdict is Verdict.ACCEPTED:
        return replace(entry, reason=f"{entry.reason} Without the neighbours: {in_words(findings)}")
    fell = {
        Verdict.DROPPED: (Status.DEFAULT_KEPT, f"it falls: {quiet.reason}"),
        Verdict.FAILED: (Status.DEFAULT_KEPT, f"it failed: {quiet.failure and quiet.failure.reason}"),
        Verdict.NOISY: (Status.NOISY, "it was never quiet."),
    }
    status, why = fell.get(quiet.verdict, (Status.UNDECIDED, "the time ended before its test."))
    return replace(
        entry,
        status=status,
        choice=DEFAULT,
        tuned_seconds=None,
        retained_bytes=None,
        reason=f"{candidate.choice} was proved beside the neighbours, but without them {why}",
    )


def _with_findings(known: Entry, findings: Findings) -> Entry:
    """The entry with the numbers of the test; no ratio is stated below the least number of processes."""
    ends = findings.interval
    if ends is None or findings.expected is None:
        return replace(known, processes=len(findings.values), pairs=len(findings.pairs))
    ratio, low, high = ends
    return replace(
        known,
        default_seconds=median(pair.default_seconds for pair in findings.pairs),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        expected_ratio=exp(findings.expected),
        full_capacity_share=findings.full_share,
        processes=len(findings.values),
        pairs=len(findings.pairs),
    )


def _states(findings: Findings) -> str:
    """A sentence on the machine's states, where capacity was missing for a time that counts."""
    share, expected = findings.full_share, findings.expected
    if share is None or expected is None or 1.0 - share < OCCUPANCY:
        return ""
    return (
        f" The machine was at full capacity {share:.0%} of the time; over all states the expected speed-up "
        f"is {exp(-expected):.2f}."
    )


def _nothing_better(evidence: Evidence) -> str:
    """Why nothing was put to the test."""
    failed = [f"{one} failed: {failure.reason}" for one, failure in evidence.failures.items()]
    if not evidence.candidates:
        return failed[0] if failed else "There is nothing to choose from on this allocation."
    best = min(evidence.candidates, key=evidence.estimate)
    gain = evidence.estimate(best)
    seemed = f"The best other configuration, {best}, looked {exp(-gain):.3f} times as fast as the default"
    return f"{seemed}; a gain below {MARGIN:.0%} is not pursued." if gain < 0 else f"{seemed}."


def _safe_threads(kind: Kind, environment: Environment, evidence: Evidence) -> tuple[int, ...]:
    """Thread counts no slower than the default, itself among them; only where threads are all there is to set."""
    if kind.knobs != (Knob.BLAS_THREADS,):
        return ()
    default = () if environment.default_threads is None else (environment.default_threads,)
    return tuple(sorted({*evidence.safe_threads(log1p(MARGIN)), *default}))


def _corners(
    kind: Kind, environment: Environment, evidence: Evidence
) -> tuple[tuple[Configuration, float], ...]:
    """For tasks the four corners: BLAS threads and workers, one or all of each, with their ratios from exploration."""
    if kind.family is not Family.TASKS:
        return ()
    ends = sorted({1, environment.usable_cpus})
    corners = [Configuration(blas_threads=blas, workers=workers) for blas in ends for workers in ends]
    return tuple((one, exp(evidence.estimate(one))) for one in corners if one in evidence.visits)
