"""A second host's word on what a first one chose: the proof alone, on fresh processes of its own."""

from collections.abc import Mapping, Sequence

from autotune.bench.protocol import Bench
from autotune.model.catalogue import CATALOGUE, Kind
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry
from autotune.model.operation import Operation
from autotune.search.confirmation import Proof, by_rule, prove
from autotune.search.decide import decide, kept
from autotune.search.environment import Site
from autotune.search.evidence import Evidence
from autotune.search.interference import Disturbance
from autotune.search.sequential_test import LEAN_LOOKS, LEAN_ROUNDS
from autotune.search.time_budget import Clock


def seconded(
    chosen: Sequence[Entry], workload: Kind | None, *, site: Site, bench: Bench, clock: Clock
) -> list[Entry]:
    """An entry for each of these tuned ones, with the evidence of this host only.

    It is tuned if the choice was proved here too, and otherwise says what the test came to. Safe thread counts
    other than the choice's, and alternatives for sizes in between, were not measured here and are not claimed.
    Each operation gets an equal part of the time that is left; what is left after the last goes to those that it
    cut off.
    """
    choices = [{one.operation: one.choice for one in rule} for rule in by_rule(chosen)]

    def test(rule: Mapping[Operation, Configuration], seconds: float, proof: Proof | None = None) -> Proof:
        clock.allow(seconds)
        return prove(
            rule,
            margin=site.margin,
            bench=bench,
            clock=clock,
            looks=LEAN_LOOKS,
            rounds=LEAN_ROUNDS,
            proof=proof,
        )

    proofs = [test(rule, clock.remaining / (len(choices) - place)) for place, rule in enumerate(choices)]
    for rule, proof in zip(choices, proofs, strict=True):
        if proof.unfinished:
            test(rule, clock.remaining, proof)
    return [
        _entry(operation, choice, workload or CATALOGUE[operation.name], site=site, proof=proof)
        for rule, proof in zip(choices, proofs, strict=True)
        for operation, choice in rule.items()
    ]


def _entry(operation: Operation, choice: Configuration, kind: Kind, *, site: Site, proof: Proof) -> Entry:
    failure = proof.failures.get(operation)
    if failure is not None:
        return kept(operation, kind, site, reason=f"{choice} failed under test: {failure.reason}")
    return decide(
        operation,
        kind,
        site=site,
        evidence=_evidence(operation, proof, site),
        choice=choice,
        proof=proof,
        disturbed=Disturbance(),
    )


def _evidence(operation: Operation, proof: Proof, site: Site) -> Evidence:
    """The default's times of the test, if the test came to an end."""
    trials = proof.settled.get(operation, [])
    seconds = [second for trial in trials for second in trial.default]
    return Evidence(operation=operation, usable_cpus=site.usable_cpus, default_seconds=seconds)
