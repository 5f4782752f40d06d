"""A second host's word on what a first one chose: the proof alone, on fresh processes of its own."""

from collections.abc import Sequence
from itertools import groupby

from autotune.bench.protocol import Bench
from autotune.model.catalogue import CATALOGUE, Kind
from autotune.model.operation import Operation
from autotune.model.tuning import Tuning
from autotune.search.clock import Clock
from autotune.search.confirm import LEAN_LOOKS, LEAN_ROUNDS
from autotune.search.decide import decide, kept
from autotune.search.disturbance import Disturbance
from autotune.search.evidence import Evidence
from autotune.search.prove import Proof, prove
from autotune.search.site import Site


def seconded(
    chosen: Sequence[Tuning], workload: Kind | None, *, site: Site, bench: Bench, clock: Clock
) -> list[Tuning]:
    """An entry for each of these tuned ones, with the evidence of this host only.

    It is tuned if the choice was proved here too, and otherwise says what the test came to. Safe thread counts
    other than the choice's, and alternatives for sizes in between, were not measured here and are not claimed.
    """
    groups = [list(group) for _, group in groupby(sorted(chosen, key=_rule), key=_rule)]
    entries: list[Tuning] = []
    for index, group in enumerate(groups):
        clock.allow(clock.remaining / (len(groups) - index))
        choices = {one.operation: one.choice for one in group}
        proof = prove(
            choices, margin=site.margin, bench=bench, clock=clock, looks=LEAN_LOOKS, rounds=LEAN_ROUNDS
        )
        kind = workload or CATALOGUE[group[0].operation.name]
        for operation, choice in choices.items():
            failure = proof.failures.get(operation)
            if failure is not None:
                reason = f"{choice} failed under test: {failure.reason}"
                entries.append(kept(operation, kind, site, reason=reason))
                continue
            entries.append(
                decide(
                    operation,
                    kind,
                    site=site,
                    evidence=_evidence(operation, proof, site),
                    choice=choice,
                    proof=proof,
                    disturbed=Disturbance(),
                )
            )
    return entries


def _rule(tuning: Tuning) -> tuple[str, str]:
    return tuning.operation.name, tuning.operation.dtype


def _evidence(operation: Operation, proof: Proof, site: Site) -> Evidence:
    """The default's times of the test, if the test came to an end."""
    trials = proof.settled.get(operation, [])
    seconds = [second for trial in trials for second in trial.default]
    return Evidence(operation=operation, usable_cpus=site.usable_cpus, default_seconds=seconds)
