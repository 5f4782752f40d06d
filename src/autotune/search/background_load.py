"""What was searched and proved beside busy neighbours must be no slower than the default without them.

Under load the fewest threads often win, since they wait for nobody; on a quiet machine the same threads may leave
most of the CPUs idle. So the candidates are looked at while the neighbours rest, before one is put to the test,
and what passes the test beside the neighbours is tested once more while they rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log1p

from autotune.bench.protocol import Bench
from autotune.bench.statistics import upper_bound
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Entry, Status
from autotune.model.measurement import Case, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.search.confirmation import Proof, examined
from autotune.search.evidence import Evidence
from autotune.search.explore import TIE, by_operation
from autotune.search.sequential_test import LOOKS, ROUNDS, Look, Trial, in_words
from autotune.search.space import parsimony
from autotune.search.time_budget import Clock

CANDIDATES = 6
"""For each size, the best beside the neighbours: what is looked at without them."""
ROUNDING = 1e-9
"""Of an estimate, in log-ratio."""
LOOK_ROUNDS = 6
PROOF_SHARE = 0.6
"""Of the time for proofs, for the one beside the neighbours."""


@dataclass(frozen=True, slots=True)
class Quietly:
    """A Bench whose plans ask for the neighbours to rest."""

    bench: Bench

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan without neighbours."""
        return self.bench.run(replace(plan, quiet=True))


def steady(
    found: Mapping[Operation, Evidence], *, bench: Bench, clock: Clock
) -> dict[Operation, Configuration]:
    """For each size the best beside the neighbours of those that seem no slower than the default without them.

    Of equals the one using least. The default, where there is none. One session; of its `found` leaders only.
    """
    best = {
        one: sorted(evidence.candidates, key=evidence.estimate)[:CANDIDATES]
        for one, evidence in found.items()
    }
    cases = [Case(operation=one, configurations=tuple(leaders)) for one, leaders in best.items() if leaders]
    if not cases:
        return dict.fromkeys(found, DEFAULT)
    session = clock.run(Quietly(bench), cases, LOOK_ROUNDS, clock.left)
    chosen = dict.fromkeys(found, DEFAULT)
    for operation, measurements in by_operation(session).items():
        loaded = found[operation]
        quiet = Evidence(operation=operation, usable_cpus=loaded.usable_cpus)
        quiet.add(measurements)
        kept = [one for one in best[operation] if one in quiet.candidates and quiet.estimate(one) <= ROUNDING]
        if kept:
            least = loaded.estimate(kept[0]) + TIE
            chosen[operation] = min((one for one in kept if loaded.estimate(one) <= least), key=parsimony)
    return chosen


def held(
    entries: Sequence[Entry],
    *,
    margin: float,
    bench: Bench,
    clock: Clock,
    looks: Sequence[Look] = LOOKS,
    rounds: int = ROUNDS,
) -> list[Entry]:
    """Entries proved beside neighbours, each with what it is worth without them, or else kept at the default.

    Not slower means: the upper end of the one-sided interval over fresh processes lies below the margin, at the
    looks and errors of every proof. What was only seen beside neighbours is no evidence for sizes in between.
    """
    choices = {one.operation: one.choice for one in entries if one.status is Status.TUNED}
    proof = Proof(trials={operation: [] for operation in choices})
    for look in examined(choices, proof, bench=Quietly(bench), clock=clock, looks=looks, rounds=rounds):
        for size, trials in list(proof.trials.items()):
            if upper_bound([one.estimate for one in trials], look.error) <= log1p(margin):
                proof.accepted |= {size}
                proof.settled[size] = proof.trials.pop(size)
            elif look is looks[-1] or _hopeless(trials, margin):
                proof.settled[size] = proof.trials.pop(size)
    return [_judged(one, proof) for one in entries]


def _hopeless(trials: Sequence[Trial], margin: float) -> bool:
    return sum(one.estimate for one in trials) / len(trials) > log1p(margin)


def _judged(entry: Entry, proof: Proof) -> Entry:
    safe = tuple(count for count in entry.safe_threads if count == entry.default_threads)
    known = replace(entry, alternatives=(), safe_threads=safe)
    if entry.status is not Status.TUNED:
        return known
    trials = proof.settled.get(entry.operation, ())
    busy = proof.disturbed.excessive
    if entry.operation in proof.accepted and not busy:
        return replace(known, reason=f"{entry.reason} Without the neighbours {in_words(trials)}")
    return replace(
        known,
        status=Status.NOISY if busy else Status.DEFAULT_KEPT,
        choice=DEFAULT,
        tuned_seconds=None,
        retained_bytes=None,
        reason=f"{entry.choice} was proved beside the neighbours, but without them {_why(entry.operation, proof)}",
    )


def _why(operation: Operation, proof: Proof) -> str:
    if proof.disturbed.excessive:
        return f"it was never quiet. {proof.disturbed}"
    if operation in proof.failures:
        return f"it failed: {proof.failures[operation].reason}"
    if operation not in proof.settled:
        return "the time ended before its proof."
    return f"it takes {in_words(proof.settled[operation])}"
