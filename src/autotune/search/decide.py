"""From evidence and proof to the entry of a profile, with its reason. Pure."""

from dataclasses import replace
from math import exp, log1p
from statistics import median

from autotune.model.catalogue import Family, Kind
from autotune.model.configuration import DEFAULT, Configuration, Knob
from autotune.model.entry import OUT_OF_TIME, Entry, Status
from autotune.model.operation import Operation
from autotune.search.confirmation import Proof
from autotune.search.crossings import Alternatives
from autotune.search.environment import Site
from autotune.search.evidence import Evidence
from autotune.search.interference import Disturbance
from autotune.search.sequential_test import MARGIN, Trial, interval

BUDGET = f"{OUT_OF_TIME}the time allowed ended before its turn."


def decide(
    operation: Operation,
    kind: Kind,
    *,
    site: Site,
    evidence: Evidence,
    choice: Configuration | None,
    proof: Proof,
    disturbed: Disturbance,
    alternatives: Alternatives = (),
) -> Entry:
    """The entry for one size.

    `choice` is what was put to the test, None if nothing was; `disturbed` says what others did during the
    search. What ran beside the trials is part of the reason. The `alternatives` are dropped where the choice,
    which seemed the best of them, was not proved.
    """
    if DEFAULT in evidence.failures:
        reason = f"The default failed: {evidence.failures[DEFAULT].reason}"
        return replace(kept(operation, kind, site, reason=reason), status=Status.FAILED)
    if not evidence.default_seconds:
        return kept(operation, kind, site, reason=BUDGET)
    known = replace(
        kept(operation, kind, site, reason=""),
        default_seconds=median(evidence.default_seconds),
        safe_threads=_safe_threads(kind, site, evidence),
        corners=_corners(kind, site, evidence),
    )
    entry = (
        _untested(known, site, evidence, disturbed)
        if choice is None
        else _after_test(known, choice, site, evidence, proof)
    )
    refuted = choice is not None and entry.status is not Status.TUNED
    return replace(
        entry,
        reason=f"{entry.reason} {site.company}".rstrip(),
        alternatives=() if refuted else alternatives,
    )


def kept(operation: Operation, kind: Kind, site: Site, *, reason: str) -> Entry:
    """An entry that keeps the default without evidence."""
    threads = site.default_threads if Knob.BLAS_THREADS in kind.knobs else None
    return Entry(operation=operation, status=Status.DEFAULT_KEPT, reason=reason, default_threads=threads)


def _untested(known: Entry, site: Site, evidence: Evidence, disturbed: Disturbance) -> Entry:
    """The entry where search found nothing to test: too noisy to tell, unless a gain can be excluded."""
    open_to_gain = any(evidence.lower(one) < -log1p(site.margin) for one in evidence.candidates)
    if disturbed.excessive or (disturbed.noticeable and open_to_gain):
        reason = f"{disturbed} A gain can neither be seen nor excluded."
        return replace(known, status=Status.NOISY, reason=reason)
    return replace(known, reason=_nothing_better(evidence, site))


def _after_test(known: Entry, choice: Configuration, site: Site, evidence: Evidence, proof: Proof) -> Entry:
    """The entry of a choice that was put to the test."""
    operation = known.operation
    if operation in proof.failures:
        return replace(known, reason=f"{choice} failed under test: {proof.failures[operation].reason}")
    if operation not in proof.settled:
        seemed = exp(evidence.estimate(choice))
        seeming = f"{choice} seemed to take {seemed:.3f} times the default's time"
        reason = f"{OUT_OF_TIME}{seeming}; the time ended before its proof."
        return replace(known, reason=reason)
    entry = _tested(known, choice, proof.settled[operation], proof.dropped.get(operation))
    entry = replace(entry, retained_bytes=evidence.retained_bytes.get(entry.choice))
    reason = f"{entry.reason} {proof.disturbed}".rstrip()
    if proof.disturbed.excessive:
        undecided = replace(
            entry,
            choice=known.choice,
            tuned_seconds=None,
            safe_threads=known.safe_threads,
            retained_bytes=None,
        )
        return replace(
            undecided, status=Status.NOISY, reason=f"{choice} was tested. {proof.disturbed}".rstrip()
        )
    excluded = entry.ratio_low is not None and entry.ratio_low > 1 / (1 + site.margin)
    noisy = proof.disturbed.noticeable and entry.status is not Status.TUNED and not excluded
    return replace(entry, status=Status.NOISY if noisy else entry.status, reason=reason)


def _tested(known: Entry, choice: Configuration, trials: list[Trial], fault: str | None) -> Entry:
    """The entry of a choice that was tested to the end; `fault` is why it fell, None if it stands."""
    ratio, low, high = interval(trials)
    default_seconds = median(second for trial in trials for second in trial.default)
    tested = replace(
        known,
        default_seconds=default_seconds,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        processes=len(trials),
        pairs=sum(len(trial.choice) for trial in trials),
    )
    threads = {choice.blas_threads} if choice == Configuration(blas_threads=choice.blas_threads) else set()
    if fault is not None:
        safe = tuple(count for count in known.safe_threads if count not in threads)
        return replace(tested, reason=f"{choice} was tested. {fault}", safe_threads=safe)
    return replace(
        tested,
        status=Status.TUNED,
        reason=f"Proved faster in {len(trials)} fresh processes.",
        choice=choice,
        tuned_seconds=default_seconds * ratio,
        safe_threads=tuple(sorted({*known.safe_threads, *(count for count in threads if count is not None)})),
    )


def _nothing_better(evidence: Evidence, site: Site) -> str:
    """Why nothing was put to the test."""
    failed = [f"{one} failed: {failure.reason}" for one, failure in evidence.failures.items()]
    if not evidence.candidates:
        return failed[0] if failed else "There is nothing to choose from on this allocation."
    best = min(evidence.candidates, key=evidence.estimate)
    ratio = exp(evidence.estimate(best))
    gain = f"The best other configuration, {best}, took {ratio:.3f} times the default's time"
    return f"{gain}; a gain below {site.margin:.1%} is not pursued." if ratio < 1 else f"{gain}."


def _safe_threads(kind: Kind, site: Site, evidence: Evidence) -> tuple[int, ...]:
    """Thread counts no slower than the default, itself among them; only where threads are all there is to set."""
    if kind.knobs != (Knob.BLAS_THREADS,):
        return ()
    default = () if site.default_threads is None else (site.default_threads,)
    return tuple(sorted({*evidence.safe_threads(log1p(MARGIN)), *default}))


def _corners(kind: Kind, site: Site, evidence: Evidence) -> tuple[tuple[Configuration, float], ...]:
    """For tasks the four corners: BLAS threads and workers, one or all of each, with their ratios from search."""
    if kind.family is not Family.TASKS:
        return ()
    ends = sorted({1, site.usable_cpus})
    corners = [Configuration(blas_threads=blas, workers=workers) for blas in ends for workers in ends]
    return tuple((one, exp(evidence.estimate(one))) for one in corners if one in evidence.sessions)
