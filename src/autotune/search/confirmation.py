"""Confirmation: candidates against the default in fresh processes, in randomized interleaved rounds.

Round after round each candidate that is still undecided is visited by one short process, in an order drawn anew, so
that every candidate meets the machine's states as they come. A decided one leaves, and its time goes to the others
(randomized multiple interleaved trials: Abedi and Brecht, ICPE 2017). Where the time does not suffice for all, those
with the most to gain go first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from autotune.model.measurement import Case, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.search.candidate import LARGE_GAIN, START_SECONDS, Candidate, Verdict, judge
from autotune.search.evidence import by_operation
from autotune.search.sequential_test import LEAST_PROCESSES_OF_LARGE_GAIN
from autotune.search.time_budget import Clock

GROUP = 4
"""Candidates that share one process, whose start they share too."""
GROUP_SECONDS = 1.2
"""Of a process, at most, unless it holds one candidate only."""
DECISION = 0.03
"""Gain, in log-ratio, that a decision is worth in itself when time is shared out."""

Judge = Callable[[Candidate], tuple[Verdict, str]]


class Confirmation:
    """Candidates under test, and the rounds that visit them."""

    def __init__(self, clock: Clock, *, judge: Judge = judge) -> None:
        self._judge = judge
        self._clock = clock
        self.candidates: list[Candidate] = []
        self._rounds = 0
        self._waiting: list[list[Candidate]] = []
        """Groups that the round under way has not visited."""

    @property
    def open(self) -> list[Candidate]:
        """Candidates that are still undecided."""
        return [candidate for candidate in self.candidates if candidate.verdict is Verdict.OPEN]

    @property
    def seconds_left(self) -> float:
        """About how long all of them take."""
        return sum(candidate.seconds_left for candidate in self.open)

    def add(self, candidate: Candidate) -> None:
        """Put a candidate to the test."""
        self.candidates.append(candidate)

    def reopen(self) -> Iterator[Candidate]:
        """Yield, undecided again, what uses fewer CPUs and was accepted at what proved less than full capacity."""
        for candidate in self.candidates:
            if candidate.verdict is Verdict.ACCEPTED and candidate.fewer_cpus and not candidate.is_proved_faster:
                candidate.verdict = Verdict.OPEN
                yield candidate

    def withdraw(self, candidate: Candidate) -> None:
        """Take a candidate back that was not visited."""
        self.candidates = [each for each in self.candidates if each is not candidate]
        groups = ([each for each in group if each is not candidate] for group in self._waiting)
        self._waiting = [group for group in groups if group]

    def rounds(self, begin: Callable[[], None] = lambda: None) -> Iterator[Candidate]:
        """Run rounds until no candidate is open or the time is over; yields those decided, and calls `begin` each time.

        Candidates that are added meanwhile are visited, too.
        """
        while self.open and self._clock.remaining > 0:
            before = self._clock.plans
            begin()
            yield from self.round()
            if self._clock.plans == before:
                return

    def round(self) -> Iterator[Candidate]:
        """Visit the candidates that there is time for once, or the rest of them; yields those that this decides."""
        yield from self.visit()
        while self._waiting:
            yield from self.visit()

    def visit(self, most: int | None = None) -> Iterator[Candidate]:
        """Visit the next group of the round, or the first of a new one, in one process; yields those it decides.

        A new round visits `most` candidates that lead by far, if it is given.
        """
        if not self._waiting:
            self._rounds += 1
            chosen = self._affordable(most)
            Random(f"{self._clock.seed} {self._rounds}").shuffle(chosen)
            self._waiting = list(_groups(chosen))
        waiting = self._waiting.pop(0) if self._waiting else ()
        group = [candidate for candidate in waiting if candidate.verdict is Verdict.OPEN]
        if self._clock.remaining < 0.8 * sum(candidate.seconds for candidate in group):
            group = [candidate for candidate in group if candidate.seconds <= self._clock.remaining][:1]
        if group:
            self._measure(group)
            yield from self.judge(group)

    def judge(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        """Judge those that are open by all that is known of the machine's capacity now; yields those decided."""
        for candidate in candidates:
            if candidate.verdict is Verdict.OPEN:
                candidate.verdict, candidate.reason = self._judge(candidate)
            if candidate.verdict is not Verdict.OPEN:
                yield candidate

    def close(self) -> Iterator[Candidate]:
        """Judge the undecided ones once the time is over; drop what gains little at best. Yields those decided."""
        yield from self.judge(self.open)
        for candidate in self.open:
            candidate.give_up()
            if candidate.verdict is not Verdict.OPEN:
                yield candidate

    def _affordable(self, most: int | None) -> list[Candidate]:
        """Undecided candidates, those with the most to gain for their time first, as many as can be decided."""
        candidates = self.open
        if most is not None:
            candidates = list(filter(_leads_by_far, candidates))
        elif self._clock.remaining >= self.seconds_left:
            return candidates

        def worth(candidate: Candidate) -> float:
            return (candidate.expected_gain + DECISION * candidate.weight) / candidate.seconds_left

        chosen: list[Candidate] = []
        time = self._clock.remaining
        for candidate in sorted(candidates, key=worth, reverse=True)[:most]:
            time -= candidate.seconds_left
            if chosen and time < 0:
                break
            chosen.append(candidate)
        return chosen

    def _measure(self, group: list[Candidate]) -> None:
        """Measure a group in one fresh process.

        Those that set BLAS threads come last: the threads of the default spin for a while afterwards.
        """
        group.sort(key=lambda candidate: candidate.choice.blas_threads is not None)
        seconds = min(self._clock.remaining, START_SECONDS + sum(candidate.visit_seconds for candidate in group))
        cases = (Case(operation=candidate.operation, configurations=(candidate.choice,)) for candidate in group)
        pairs = max(candidate.pairs_wanted for candidate in group)
        # the threshold must not depend on the process's own probes
        thresholds = [candidate.full_capacity_threshold for candidate in group]
        session = self._clock.run(TrialPlan(cases=tuple(cases), rounds=pairs, quiet=group[0].quiet), seconds=seconds)
        costs = _costs(session, group)
        measured = by_operation(session)
        for candidate, threshold in zip(group, thresholds, strict=True):
            candidate.seconds = costs[candidate.operation]
            candidate.overhead = max(0.0, session.wall_seconds - session.sampled_seconds) / len(group)
            if candidate.operation in measured:
                candidate.take(measured[candidate.operation], self._clock.elapsed, threshold)


def _leads_by_far(candidate: Candidate) -> bool:
    """Does its gain still seem large, if it had as many processes as prove a large one?"""
    few = len(candidate.visits) < LEAST_PROCESSES_OF_LARGE_GAIN
    return few or candidate.expected_gain > candidate.weight * LARGE_GAIN


def _groups(chosen: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Yield the candidates in their order, cut into what one process measures: no operation twice."""
    waiting = list(chosen)
    while waiting:
        group = [waiting.pop(0)]
        seconds = group[0].seconds
        for candidate in list(waiting):
            if len(group) == GROUP:
                break
            fits = seconds + candidate.seconds <= GROUP_SECONDS and candidate.quiet == group[0].quiet
            if fits and all(candidate.operation != other.operation for other in group):
                waiting.remove(candidate)
                group.append(candidate)
                seconds += candidate.seconds
        yield group


def _costs(session: Session, group: Iterable[Candidate]) -> dict[Operation, float]:
    """Return the seconds of the process that fall to each candidate, by the time of its samples."""
    sampled = {candidate.operation: 1e-9 for candidate in group}
    for measurement in session.measurements:
        if measurement.operation in sampled:
            sampled[measurement.operation] += sum(max(0.01, second) for second in measurement.seconds)
    total = sum(sampled.values())
    even = session.wall_seconds / len(sampled)
    return {operation: (even + session.wall_seconds * part / total) / 2 for operation, part in sampled.items()}
