"""Candidates for sizes between measured ones. Pure.

Along the sizes from one measured to the next, every way of working (a configuration without its chunk) draws a
line: its time over the default's, by the logarithm of the sizes. Of all these lines only those can be the best
somewhere that touch the lower envelope, and they alone have to be remembered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import exp, log1p

from autotune.model.configuration import Configuration
from autotune.model.entry import Alternative
from autotune.model.interpolation import adjacent_sizes
from autotune.model.operation import Operation
from autotune.model.policy import TIE
from autotune.search.evidence import TrialEvidence
from autotune.search.sequential_test import MARGIN
from autotune.search.space import parsimony

STOPS = 9
"""Places from one size to the next, both included, where the best way is looked for."""
LEADERS = 4
"""Ways of either size that are measured at the other, too."""

EvidenceOf = Mapping[Operation, TrialEvidence]
Alternatives = tuple[Alternative, ...]


def alternatives(by_size: EvidenceOf) -> dict[Operation, Alternatives]:
    """List for every size the configurations that may be best between it and the next, with their speed-ups.

    All were measured at both sizes, and at neither to be slower than the default.
    """
    safe = {size: _best_of_ways(evidence, log1p(MARGIN)) for size, evidence in by_size.items()}
    ratios = {
        size: {chosen: by_size[size].estimate(best) for chosen, best in ways.items()} for size, ways in safe.items()
    }
    kept: dict[Operation, dict[Configuration, None]] = {size: {} for size in by_size}
    for small, large in adjacent_sizes(list(by_size)):
        for best in _envelope(ratios[small], ratios[large]):
            kept[small][best] = kept[large][best] = None
    return {
        size: tuple(Alternative(choice=safe[size][chosen], speedup=exp(-ratios[size][chosen])) for chosen in ways)
        for size, ways in kept.items()
    }


def crossings(by_size: EvidenceOf) -> dict[Operation, list[Configuration]]:
    """List for every size the ways worth measuring there for the sake of sizes between it and the next.

    These are its own leaders, those of its neighbours, and counts between theirs.
    """
    best = {size: _best_of_ways(evidence) for size, evidence in by_size.items()}
    wanted: dict[Operation, dict[Configuration, None]] = {size: {} for size in by_size}
    for small, large in adjacent_sizes(list(by_size)):
        leaders = [_leaders(best[size], by_size[size]) for size in (small, large)]
        if all(leaders):
            ways = [*_between(leaders[0][0], leaders[1][0]), *leaders[0], *leaders[1]]
            for size in (small, large):
                wanted[size].update(dict.fromkeys(ways))
    return {operation: list(ways) for operation, ways in wanted.items() if ways}


def _best_of_ways(evidence: TrialEvidence, slack: float | None = None) -> dict[Configuration, Configuration]:
    """Return the best configuration of each way; with `slack` only if it is not slower than the default by more."""
    best: dict[Configuration, Configuration] = {}
    for candidate in sorted(evidence.candidates, key=evidence.estimate):
        best.setdefault(candidate.without_chunk, candidate)
    return {chosen: top for chosen, top in best.items() if slack is None or evidence.upper(top) <= slack}


def _leaders(best: Mapping[Configuration, Configuration], evidence: TrialEvidence) -> list[Configuration]:
    """Return the ways that seem best, in order; the default is none of them."""
    return sorted(best, key=lambda chosen: evidence.estimate(best[chosen]))[:LEADERS]


def _envelope(small: Mapping[Configuration, float], large: Mapping[Configuration, float]) -> Iterator[Configuration]:
    """Yield the ways that are the best at some place between two sizes; the default, a line at zero, is left out.

    Of those within a tie the one using least, as at the sizes themselves: so what is proved there is among them.
    """
    common = [chosen for chosen in small if chosen in large]
    for stop in range(STOPS if common else 0):
        share = stop / (STOPS - 1)
        # linear in log-ratio over the logarithm of the size: a power law between the two
        lines = {chosen: (1 - share) * small[chosen] + share * large[chosen] for chosen in common}
        least = min(lines.values())
        if least < 0.0:
            yield min((way for way in common if lines[way] <= least + TIE), key=parsimony)


def _between(left: Configuration, right: Configuration) -> Iterator[Configuration]:
    """Return the counts a quarter, half and three quarters of the way between two ways, by their logarithms."""
    for share in (0.5, 0.25, 0.75):
        yield replace(
            left,
            blas_threads=_count(left.blas_threads, right.blas_threads, share),
            openmp_threads=_count(left.openmp_threads, right.openmp_threads, share),
            workers=_count(left.workers, right.workers, share),
        )


def _count(left: int | None, right: int | None, share: float) -> int | None:
    return left if left is None or right is None else round(left * (right / left) ** share)
