"""Decision: from the evidence of exploration and the findings of confirmation to the entry of a profile. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from math import exp, log1p
from statistics import median

from autotune.model.catalogue import Family, Kind
from autotune.model.configuration import DEFAULT, Configuration, Knob
from autotune.model.entry import OUT_OF_TIME, Alternative, Entry, Evidence, Status
from autotune.model.operation import Operation
from autotune.model.policy import CPU_SLACK
from autotune.model.units import count_of, seeming
from autotune.search.candidate import Candidate, Verdict
from autotune.search.crossings import Alternatives
from autotune.search.environment import Environment
from autotune.search.evidence import TrialEvidence
from autotune.search.findings import Findings
from autotune.search.request import Objective
from autotune.search.sequential_test import MARGIN

THRIFTIEST = (
    f"Of the configurations within {CPU_SLACK:.0%} of the fastest the default takes the fewest CPU seconds, as far as "
    "can be told."
)
NOTHING_TO_TRY = "There is nothing to choose from on this allocation."
FULL_CAPACITY_UNSEEN = " No undisturbed pair met full capacity, where the speed-up may be up to {:.2f}."
ONLY_DISTURBED = "; {} was only timed next to other load or while CPUs were missing."
NO_KNOBS = (
    "There is nothing to choose from: the function takes no knob, and no threads of a library were at work in a first "
    "trial at the largest size."
)


def decide(
    operation: Operation,
    kind: Kind,
    *,
    environment: Environment,
    evidence: TrialEvidence,
    candidate: Candidate | None,
    objective: Objective = Objective.TIME,
    quiet: Candidate | None = None,
    alternatives: Alternatives = (),
) -> Entry:
    """Decide the entry for one size from what exploration saw and from the candidate that was put to the test.

    `quiet` is the same candidate, tested while the neighbours rest. `alternatives` for sizes in between are dropped
    where the candidate, which seemed the best of them, was not proved.
    """
    bare = make_bare_entry(operation, kind, environment)
    if DEFAULT in evidence.failures:
        reason = f"The default failed: {evidence.failures[DEFAULT].reason}"
        return replace(bare, status=Status.FAILED, reason=reason)
    has_failed = candidate is not None and candidate.verdict is Verdict.FAILED
    if not evidence.default_seconds and not has_failed:
        return bare if evidence.unreached is None else replace(bare, reason=evidence.unreached.reason)
    measured = replace(
        bare.evidence,
        default_seconds=median(evidence.default_seconds) if evidence.default_seconds else None,
        safe_threads=_safe_threads(kind, environment, evidence),
    )
    base = replace(bare, evidence=measured, corners=_corners(kind, environment, evidence))
    if candidate is None and objective is Objective.CPU:
        entry = replace(base, status=Status.DEFAULT_KEPT, reason=THRIFTIEST)
    elif candidate is None:
        status, reason = _nothing_tested(evidence, kind)
        entry = replace(base, status=status, reason=reason)
    else:
        entry = _judge(base, candidate, evidence)
        if quiet is not None and entry.status is Status.TUNED:
            entry = _judge_quiet(entry, quiet)
    refuted = candidate is not None and entry.status is not Status.TUNED
    failed = next((text for text in _failures(evidence) if text.partition(":")[0] not in entry.reason), "")
    return replace(
        entry,
        reason=" ".join(filter(None, (entry.reason, failed, environment.background_load_text))),
        alternatives=() if refuted or environment.neighbours else alternatives,
    )


def make_bare_entry(operation: Operation, kind: Kind, environment: Environment, reason: str = OUT_OF_TIME) -> Entry:
    """Make an undecided entry, which keeps the default without evidence."""
    threads = environment.default_threads if Knob.BLAS_THREADS in kind.knobs else None
    evidence = Evidence(default_threads=threads)
    return Entry(operation=operation, status=Status.UNDECIDED, reason=reason, evidence=evidence)


def _judge(base: Entry, candidate: Candidate, evidence: TrialEvidence) -> Entry:
    """Return the entry of a candidate that was put to the test."""
    choice = candidate.choice
    if candidate.verdict is Verdict.FAILED:
        assert candidate.failure is not None
        reason = f"{choice} failed under test: {candidate.failure.reason}"
        return replace(base, status=Status.DEFAULT_KEPT, reason=reason)
    findings = candidate.findings
    if candidate.verdict is Verdict.ACCEPTED:
        return _accept(base, candidate, evidence)
    safe = tuple(count for count in base.evidence.safe_threads if count != choice.only_blas_threads)
    base = replace(base, evidence=replace(base.evidence, safe_threads=safe))
    tested = replace(base, evidence=_with_findings(base.evidence, findings))
    if candidate.verdict is Verdict.DROPPED:
        at_full = findings.limit_at_full
        missed = "" if at_full is None else FULL_CAPACITY_UNSEEN.format(at_full)
        reason = f"{choice} was tested. {candidate.reason}{missed}"
        limits = [limit for limit in (candidate.speedup_limit, at_full) if limit is not None]
        limited = replace(tested.evidence, speedup_limit=max(limits, default=None))
        return replace(tested, status=Status.DEFAULT_KEPT, reason=reason, evidence=limited)
    missing = candidate.fewer_cpus and len(candidate.visits) >= 2 and not findings.full
    if candidate.verdict is Verdict.NOISY or missing:
        reason = (
            f"{choice} uses fewer CPUs than the default, and no undisturbed timings at full capacity could be "
            f"had in {len(candidate.visits)} processes. {candidate.capacity or ''}"
        )
        return replace(base, status=Status.NOISY, reason=reason.rstrip())
    seemed = exp(-evidence.estimate(choice)) if choice in evidence.visits else exp(-candidate.seemed)
    processes = count_of(len(candidate.visits), "process", "processes")
    reason = f"{choice} looked {seeming(seemed)} times as fast; the time allowed ended after {processes} of its test."
    return replace(tested, status=Status.UNDECIDED, reason=reason)


def _accept(base: Entry, candidate: Candidate, evidence: TrialEvidence) -> Entry:
    choice = candidate.choice
    tested = _with_findings(base.evidence, candidate.findings)
    safe = {*tested.safe_threads, choice.only_blas_threads}
    seconds, speedup = tested.default_seconds, tested.speedup
    tested = replace(
        tested,
        tuned_seconds=None if seconds is None or speedup is None else seconds / speedup,
        safe_threads=tuple(sorted(count for count in safe if count is not None)),
        retained_bytes=evidence.retained_bytes.get(choice),
        cpu_ratio=exp(evidence.cpu_ratio(choice)) if candidate.thrift else None,
    )
    faster = tested.cpu_ratio is None or (tested.interval is not None and tested.interval[0] > 1.0)
    proved = "faster" if faster else f"no more than {CPU_SLACK:.0%} slower"
    saved = ""
    if tested.cpu_ratio is not None:
        saved = f", and took {tested.cpu_ratio:.2f} of the default's CPU seconds in exploration"
    reason = f"Proved {proved} in {tested.processes} fresh processes{saved}."
    return replace(base, status=Status.TUNED, reason=reason, choice=choice, evidence=tested)


def _judge_quiet(entry: Entry, quiet: Candidate) -> Entry:
    """Decide on a candidate that was proved next to neighbours by its speed-up without them."""
    if quiet.verdict is Verdict.ACCEPTED:
        return replace(entry, reason=f"{entry.reason} Without the neighbours: {quiet.findings}")
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
        evidence=replace(entry.evidence, tuned_seconds=None, retained_bytes=None),
        reason=f"{quiet.choice} was proved next to the neighbours, but without them {why}",
    )


def _with_findings(evidence: Evidence, findings: Findings) -> Evidence:
    """Return the evidence with the numbers of the test; no speed-up is stated below the least number of processes."""
    counted = replace(evidence, processes=findings.processes, pairs=len(findings.pairs))
    if findings.interval is None:
        return counted
    ratio, low, high = findings.interval
    return replace(
        counted,
        default_seconds=median(pair.default_seconds for pair in findings.pairs),
        speedup=1 / ratio,
        interval=(1 / high, 1 / low),
        expected_speedup=None if findings.expected_log_ratio is None else exp(-findings.expected_log_ratio),
        full_capacity_share=findings.full_share,
    )


def _nothing_tested(evidence: TrialEvidence, kind: Kind) -> tuple[Status, str]:
    """Return the status and the reason of an entry whose candidates were not tested."""
    if not evidence.candidates:
        return Status.DEFAULT_KEPT, next(_failures(evidence), NOTHING_TO_TRY if kind.knobs else NO_KNOBS)
    best = min(evidence.candidates, key=evidence.estimate)
    gain = evidence.estimate(best)
    seemed = f"The best other configuration, {best}, looked {seeming(exp(-gain))} times as fast as the default"
    if gain <= -log1p(MARGIN):  # next to neighbours a candidate must be no slower without them, too
        untested = "but it was not seen to be as fast without neighbours, or too seldom: it was not tested."
        return Status.NOISY, f"{seemed}, {untested}"
    if little := next(filter(evidence.rests_on_little, evidence.candidates), None):
        return Status.UNDECIDED, f"{seemed}{ONLY_DISTURBED.format(little)}"
    small = f"; a gain below {MARGIN:.0%} is not pursued." if gain < 0 else "."
    return Status.DEFAULT_KEPT, f"{seemed}{small}"


def _failures(evidence: TrialEvidence) -> Iterator[str]:
    """Yield a sentence for each configuration that would fail again, such as by a crash."""
    return (f"{choice} failed: {failure.reason}" for choice, failure in evidence.failures.items())


def _safe_threads(kind: Kind, environment: Environment, evidence: TrialEvidence) -> tuple[int, ...]:
    """Return the thread counts no slower than the default, itself too; only where threads are all there is to set."""
    if kind.knobs != (Knob.BLAS_THREADS,):
        return ()
    default = () if environment.default_threads is None else (environment.default_threads,)
    return tuple(sorted({*evidence.safe_threads(log1p(MARGIN)), *default}))


def _corners(kind: Kind, environment: Environment, evidence: TrialEvidence) -> tuple[Alternative, ...]:
    """Return the four corners of tasks: BLAS threads and workers, one or all of each, as exploration measured them."""
    if kind.family is not Family.TASKS:
        return ()
    ends = sorted({1, environment.usable_cpus})
    corners = [Configuration(blas_threads=blas, workers=workers) for blas in ends for workers in ends]
    return tuple(
        Alternative(choice=corner, speedup=exp(-evidence.estimate(corner)))
        for corner in corners
        if corner in evidence.visits
    )
