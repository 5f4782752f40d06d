"""Puts an operation's choices to the test: fresh processes until a planned look decides."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from autotune.bench.protocol import Bench
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry
from autotune.model.measurement import Case, Failure, Measurement, Session
from autotune.model.operation import Operation
from autotune.search.evidence import CLOCK_STOOD, sane
from autotune.search.explore import by_operation
from autotune.search.interference import Disturbance
from autotune.search.sequential_test import LOOKS, ROUNDS, Look, Trial, judge
from autotune.search.time_budget import Clock


@dataclass(kw_only=True)
class Proof:
    """What came of the test of each size."""

    trials: dict[Operation, list[Trial]] = field(default_factory=dict)
    """Of the sizes under test."""
    settled: dict[Operation, list[Trial]] = field(default_factory=dict)
    """Of the sizes that a look has decided; they are not measured any more."""
    accepted: frozenset[Operation] = frozenset()
    dropped: dict[Operation, str] = field(default_factory=dict)
    """Why a choice fell."""
    failures: dict[Operation, Failure] = field(default_factory=dict)
    """Choices that failed under test."""
    sessions: list[Session] = field(default_factory=list)
    """Of every fresh process so far."""

    @property
    def unfinished(self) -> bool:
        """Are there sizes still under test? Once a test has ended: did its time end before they could be decided?"""
        return bool(self.trials)

    @property
    def disturbed(self) -> Disturbance:
        """How much others were in the way."""
        return Disturbance.of(self.sessions)


def by_rule(entries: Iterable[Entry]) -> list[list[Entry]]:
    """What is put to the test together: the sizes of one operation and dtype."""

    def rule(entry: Entry) -> tuple[str, str]:
        return entry.operation.name, entry.operation.dtype

    return [list(sizes) for _, sizes in groupby(sorted(entries, key=rule), key=rule)]


def prove(
    choices: Mapping[Operation, Configuration],
    *,
    margin: float,
    bench: Bench,
    clock: Clock,
    looks: Sequence[Look] = LOOKS,
    rounds: int = ROUNDS,
    proof: Proof | None = None,
) -> Proof:
    """Test the choices of one operation's sizes against the default, as rules are tested: all sizes together.

    A `proof` that the time cut off goes on from where it stands. Pauses add no look and repeat none, whenever they
    come, so the error stays what was planned.
    """
    proof = proof or Proof(trials={operation: [] for operation in choices})
    for look in examined(choices, proof, bench=bench, clock=clock, looks=looks, rounds=rounds):
        verdict = judge(proof.trials, error=look.error, margin=margin, last=look is looks[-1])
        proof.accepted |= verdict.accepted
        proof.dropped.update(verdict.dropped)
        for size in (*verdict.accepted, *verdict.dropped):
            proof.settled[size] = proof.trials.pop(size)
    return proof


def examined(
    choices: Mapping[Operation, Configuration],
    proof: Proof,
    *,
    bench: Bench,
    clock: Clock,
    looks: Sequence[Look] = LOOKS,
    rounds: int = ROUNDS,
) -> Iterator[Look]:
    """Run fresh processes over the sizes in `proof.trials`; yields each planned look when it has its data.

    Whoever looks may take sizes out. The time left is shared among the processes up to the next look but one:
    most proofs end at the first, and a process with a single pair costs nearly as much as one with eight. None
    is begun when the time left is shorter than the last one took: a budget is kept, and the proof unfinished.
    """
    done = len(proof.sessions)
    for look, after in zip(looks, [*looks[1:], looks[-1]], strict=True):
        if look.processes <= done:
            continue  # this look was taken before the proof was cut off
        while len(proof.sessions) < look.processes and proof.trials:
            last = proof.sessions[-1].wall_seconds if proof.sessions else 0.0
            if clock.left < 0.8 * last or clock.left <= 0:
                return
            share = clock.left / (after.processes - len(proof.sessions))
            cases = [Case(operation=one, configurations=(choices[one],)) for one in proof.trials]
            session = clock.run(bench, cases, rounds, share)
            proof.sessions.append(session)
            for operation, measurements in by_operation(session).items():
                _note(proof, operation, measurements)
        if not proof.trials:
            return
        yield look


def _note(proof: Proof, operation: Operation, measurements: Sequence[Measurement]) -> None:
    """Keep one process's word on one size; a failure takes the size out of the test."""
    default, choice = measurements
    if sane(default) and sane(choice):
        proof.trials[operation].append(Trial.of(choice.pairs))
        return
    del proof.trials[operation]
    proof.failures[operation] = choice.failure or default.failure or CLOCK_STOOD
