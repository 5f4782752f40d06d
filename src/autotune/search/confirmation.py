"""Confirmation: candidates against the default in fresh processes, in randomized interleaved rounds.

Round after round each candidate that is still undecided is visited by one short process, in an order drawn anew, so
that every candidate meets the machine's states as they come. A decided one leaves, and its time goes to the others
(randomized multiple interleaved trials: Abedi and Brecht, ICPE 2017). Where the time does not suffice for all, those
with the most to gain go first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import exp, inf, log, log1p, sqrt
from random import Random

import numpy as np

from autotune.bench.noise import accepted
from autotune.bench.statistics import pair_log_ratios
from autotune.model.catalogue import Kind
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry
from autotune.model.measurement import Case, Failure, Measurement, Pair, Session
from autotune.model.operation import Operation
from autotune.model.policy import CPU_SLACK
from autotune.search.environment import Environment
from autotune.search.evidence import CLOCK_STOOD, sane
from autotune.search.explore import by_operation
from autotune.search.machine_states import OCCUPANCY, Capacity, Visit, log_ratios_of, pair_scatter
from autotune.search.sequential_test import (
    ERROR,
    LARGEST_SHIFT,
    LEAST_PROCESSES,
    LEAST_PROCESSES_OF_LARGE_GAIN,
    MARGIN,
    capital,
    estimate,
    interval,
    pair_capital,
)
from autotune.search.time_budget import Clock

PAIRS = 4
"""In each process, for one candidate: many short processes tell more than few long ones, since processes differ."""
FEW_PAIRS = 2
"""The same where the gain seems very large, and so few pairs of four processes are enough to prove it."""
LARGE_GAIN = 0.05 + LARGEST_SHIFT
"""Log-ratio from which a gain counts as large."""
VERY_LARGE_GAIN = 2 * LARGE_GAIN
"""Below it, down to a large gain, four processes of two pairs prove too little: of `PAIRS` they are enough."""
PART_OF_PAIRS = 0.4
"""Part of the capital that bets on pairs: eight that agree then prove a large gain, or seven processes a small one."""
PART_AT_FULL = 0.6
"""Part of the capital that bets at full capacity only: what uses more CPUs gains there, and loses a little without."""
VISIT_SECONDS = 0.2
"""Of a process, for one candidate's pairs; the start of the process not counted."""
START_SECONDS = 0.1
"""Of a process, before its first pair."""
GROUP = 4
"""Candidates that share one process, whose start they share too."""
GROUP_SECONDS = 1.2
"""Of a process, at most, unless it holds one candidate only."""
LEAST_SPAN = 4.0
"""Seconds from a candidate's first process to its last before it is accepted: neighbours in time share their luck."""
WORTH = 3.0 * MARGIN
"""Gain, in log-ratio, that is worth further processes."""
LEAST_BEFORE_DROPPING = 2
PLAIN_ERRORS = 4.0
"""Standard errors by which a plain loser is worse than that, which a single process at full capacity shows."""
DROP_ERRORS = 2.0
"""Standard errors by which a candidate may be better than it seems when it is dropped."""
SMALL_GAIN = log1p(0.1)
"""When the time is over, a candidate whose gain is surely smaller leaves the default in place: there was no time to
find what little it may gain."""
SMALL_GAIN_ERRORS = 1.28
"""Standard errors by which it may be better than it seems then: of candidates that gain 10 % one in ten is lost so."""
USUAL_SCATTER = 0.03
"""Standard deviation between processes that is assumed until there are enough of them to tell, in log-ratio. On two
virtual CPUs, at full capacity: 1.4826 times the median absolute deviation was 0.02 to 0.05 by kind of operation (median
0.035), the standard deviation 0.03 to 0.08."""
TELLING_PROCESSES = 8
"""Processes whose pairs tell how far apart pairs are; later the processes themselves tell."""
USUAL_WEIGHT = 2
"""Processes that this assumption counts for."""
MOST_PROCESSES = 96
"""After which a candidate that is still undecided is dropped: its gain is near the margin."""
OBJECTED_PROCESSES = 12
"""From which on the objection to a proved candidate stands when the time is over: its means or tails are slower."""
ASSUMED_PROCESSES = 2.0
"""Processes that the usual number counts for when it is foretold how many a candidate still takes."""
YOUNG_PROCESSES = 4.0
"""Expected of a candidate that was seen in one process only and does not seem much faster: most fall at the next."""
DECISION = 0.03
"""Gain, in log-ratio, that a decision is worth in itself when time is shared out."""
PATIENCE = 4
"""Times as many processes, after which waiting for undisturbed pairs at full capacity ends."""
CALLS_WITHOUT_ANSWER = 3
"""Processes in a row that did not reach a candidate, after which it is given up."""


LITTLE_GAIN = (
    "Not proved faster in the time allowed; it gains little, if anything: the speed-up is below {:.2f} (error 10 %)."
)


class Verdict(StrEnum):
    """Outcome of a test."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DROPPED = "dropped"
    """Not proved faster, and not worth further processes."""
    FAILED = "failed"
    NOISY = "noisy"
    """It uses fewer CPUs than the default, and no undisturbed pairs at full capacity could be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Evidence from the processes of one candidate: log-ratios, one for each process."""

    full: tuple[float, ...]
    """At full capacity."""
    reduced: tuple[float, ...]
    """While CPUs were missing."""
    everything: tuple[float, ...]
    """At whatever capacity."""
    full_pairs: tuple[float, ...]
    everything_pairs: tuple[float, ...]
    """The same, one for each pair."""
    pairs: tuple[Pair, ...]
    """Those that the values of the test rest on."""
    typical_pairs: tuple[Pair, ...]
    """Those that means and tails are judged by: at full capacity where there are some, since what a candidate loses
    without it is weighed in the expected log-ratio."""
    explored_full: tuple[float, ...] = ()
    explored_everything: tuple[float, ...] = ()
    """The first and the third of exploration's processes."""
    at_best: tuple[float, ...] = ()
    """Of all processes, exploration's too: what they may be at full capacity."""
    pair_error: float = 0.0
    """Standard error of one process's log-ratio by the scatter of its pairs."""
    full_share: float | None
    """Part of the time that this machine was at full capacity; None if it was never probed."""
    fewer_cpus: bool

    @property
    def rests_on_full(self) -> bool:
        """Are there enough processes at full capacity for the values that the entry states?"""
        enough = len(self.full) >= LEAST_BEFORE_DROPPING and len(self.full_pairs) >= LEAST_PROCESSES
        return self.fewer_cpus or enough

    @property
    def values(self) -> tuple[float, ...]:
        """The values that the entry states: at full capacity, where there are enough of them."""
        return self.full if self.rests_on_full else self.everything

    @property
    def processes(self) -> int:
        """Number of processes that the test rests on: of a candidate that uses all CPUs those at any capacity."""
        return len(self.full if self.fewer_cpus else self.everything)

    @property
    def log_ratio(self) -> float | None:
        """Estimate at full capacity; None without a value."""
        return estimate(self.values) if self.values else None

    @property
    def expected(self) -> float | None:
        """Expected log-ratio over the states that this machine was in, each weighted by its part of the time."""
        if not self.full or not self.reduced or self.full_share is None:
            return estimate(self.values) if self.values else None
        return self.full_share * estimate(self.full) + (1.0 - self.full_share) * estimate(self.reduced)

    def capital(self, bound: float) -> float:
        """Capital won against the hypothesis that the candidate is not faster than `bound`.

        Of a candidate that uses at least as many CPUs as the default a weighted mean of four capitals: of processes and
        of pairs, each at full capacity and at any. Any of them is a reason to choose it. Of a candidate that uses fewer
        only the first counts: the state that a pair met is never certain, and lost capacity speaks for it.
        """
        full = capital(self.full, bound)
        if self.fewer_cpus:
            return full

        def of_both(processes: float, pairs: float) -> float:
            return (1.0 - PART_OF_PAIRS) * processes + PART_OF_PAIRS * pairs

        at_any = of_both(capital(self.everything, bound), pair_capital(self.everything_pairs, bound))
        at_full = of_both(full, pair_capital(self.full_pairs, bound))
        return PART_AT_FULL * at_full + (1.0 - PART_AT_FULL) * at_any

    @property
    def interval(self) -> tuple[float, float, float] | None:
        """(ratio, low, high); None where processes, or their pairs, are too few."""
        pairs = self.full_pairs if self.rests_on_full else self.everything_pairs
        enough = self.processes >= LEAST_PROCESSES_OF_LARGE_GAIN
        return interval(self.values, pairs, self.capital) if enough else None


@dataclass(kw_only=True)
class Candidate:
    """A configuration under test at one size."""

    operation: Operation
    choice: Configuration
    fewer_cpus: bool = False
    """Does it use fewer CPUs than the default?"""
    error: float
    """Probability allowed for accepting it although its log-ratio is not below the bound."""
    bound: float = -log1p(MARGIN)
    quiet: bool = False
    """Do the neighbours rest while it is measured?"""
    seemed: float = 0.0
    """Log-ratio that exploration saw."""
    proved: float = 0.0
    """Log-ratio of another choice that was accepted: only what goes beyond it is gained."""
    thrift: float = 0.0
    """Log-ratio by which it saves CPU seconds, where these are the objective."""
    weight: float = 1.0
    explored: tuple[Visit, ...] = ()
    """Its processes in exploration. They were a reason to test it, so that they never speak for it here, but they may
    speak against it."""
    most_processes: int = MOST_PROCESSES
    pairs: int | None = None
    """In each process; None for the usual number."""
    seconds: float = START_SECONDS + VISIT_SECONDS
    """Seconds of its last process, its part of the start included."""
    overhead: float = 0.0
    """Seconds of that in which nothing was timed."""
    visits: list[Visit] = field(default_factory=list)
    verdict: Verdict = Verdict.OPEN
    reason: str = ""
    """Why it fell, as a sentence."""
    failure: Failure | None = None
    speedup_limit: float | None = None
    """Speed-up that it hardly exceeds, of a candidate that fell because the time was over."""
    _unanswered: int = 0
    _known: tuple[object, Findings] | None = None

    def findings(self, capacity: Capacity | None) -> Findings:
        """Collect the evidence of its processes; without a capacity every pair counts as timed at full capacity."""
        states = capacity or Capacity(usable_cpus=1)
        key = (len(self.visits), len(states.probes))
        if self._known is None or self._known[0] != key:
            self._known = key, self._examine(states, None if capacity is None else capacity.full_share)
        return self._known[1]

    def _examine(self, states: Capacity, full_share: float | None) -> Findings:
        full = [visit.at_full(states, fewer_cpus=self.fewer_cpus) for visit in self.visits]
        reduced = [visit.at_reduced(states) for visit in self.visits]
        everything = [visit.at_any_capacity() for visit in self.visits]
        explored = [visit.at_full(states, fewer_cpus=self.fewer_cpus) for visit in self.explored]
        timed = [visit for visit in (*self.explored, *self.visits) if visit.pairs]
        findings = Findings(
            at_best=tuple(visit.at_best(states) for visit in timed),
            explored_full=tuple(log_ratios_of(explored)),
            explored_everything=tuple(log_ratios_of(visit.at_any_capacity() for visit in self.explored)),
            full=tuple(log_ratios_of(full)),
            reduced=tuple(log_ratios_of(reduced)),
            everything=tuple(log_ratios_of(everything)),
            full_pairs=tuple(value for pairs in full for value in pair_log_ratios(pairs)),
            everything_pairs=tuple(value for pairs in everything for value in pair_log_ratios(pairs)),
            pairs=(),
            typical_pairs=(),
            pair_error=_pair_error([visit.at_any_capacity() for visit in timed[:TELLING_PROCESSES]]),
            full_share=full_share,
            fewer_cpus=self.fewer_cpus,
        )
        stated = full if findings.rests_on_full else everything
        typical = full if len(findings.full) >= LEAST_BEFORE_DROPPING else stated
        return replace(
            findings,
            pairs=tuple(pair for pairs in stated for pair in pairs),
            typical_pairs=tuple(pair for pairs in typical for pair in pairs),
        )

    @property
    def span(self) -> float:
        """Seconds from its first process to its last."""
        return self.visits[-1].elapsed - self.visits[0].elapsed if self.visits else 0.0

    @property
    def visit_seconds(self) -> float:
        """Seconds of its next process, after the start.

        Where the last one was over after a single pair because all before it took longer than the pair, as where NumPy
        is loaded by each process, there is time for another.
        """
        hurried = bool(self.visits) and len(self.visits[-1].pairs) < FEW_PAIRS
        return VISIT_SECONDS + self.overhead * (hurried and self.overhead > self.seconds / 2)

    @property
    def pairs_wanted(self) -> int:
        """Pairs in its next process: few while few processes seem enough."""
        if self.pairs is not None:
            return self.pairs
        return FEW_PAIRS if self.seemed < -VERY_LARGE_GAIN and len(self.visits) < LEAST_PROCESSES else PAIRS

    def _expected(self, findings: Findings) -> float:
        """Return the log-ratio as far as is known: of its test where there are two processes, else of exploration.

        What processes without full capacity say of a candidate that uses all CPUs is no reason to expect less of it.
        """
        if not self.fewer_cpus and findings.full_share is not None:
            full = (*findings.explored_full, *findings.full)
            return estimate(full) if full else min(self.seemed, estimate(findings.everything or (0.0,)))
        return estimate(findings.values) if len(findings.values) > 1 else self.seemed

    def expected_gain(self, capacity: Capacity | None) -> float:
        """Weighted gain in log-ratio, as far as is known."""
        faster = self.proved - self._expected(self.findings(capacity))
        return self.weight * max(0.0, self.thrift or faster)

    def processes_left(self, capacity: Capacity | None) -> float:
        """About how many more processes it takes, those that happen to count for nothing among them."""
        findings = self.findings(capacity)
        value = self._expected(findings)
        large = value < -LARGE_GAIN and not self.fewer_cpus
        usual = LEAST_PROCESSES_OF_LARGE_GAIN if large else 7.0 if value < -0.1 else 12.0
        if not large and len(self.visits) + len(self.explored) < LEAST_BEFORE_DROPPING:
            return YOUNG_PROCESSES
        if value > -1.5 * WORTH:  # it is likely to be dropped soon
            return max(1.0, LEAST_BEFORE_DROPPING + 1.0 - len(findings.values), len(self.visits) / 2)
        if findings.full_share is not None:  # what runs without capacity says little
            usual /= max(findings.full_share, 0.25)
        needed = -log(self.error)
        won = max(0.0, log(findings.capital(self.bound)))
        rate = (won + ASSUMED_PROCESSES * needed / usual) / (len(self.visits) + ASSUMED_PROCESSES)
        return max(1.0, (needed - won) / rate)

    def take(self, default_and_choice: Sequence[Measurement], elapsed: float) -> None:
        """Take in the measurements of one process."""
        default, choice = default_and_choice
        if sane(default) and sane(choice) and choice.pairs:
            self.visits.append(Visit(pairs=choice.pairs, elapsed=elapsed))
            self._unanswered = 0
            return
        failure = choice.failure or default.failure
        if failure is not None and not failure.final and self._unanswered + 1 < CALLS_WITHOUT_ANSWER:
            self._unanswered += 1
            return
        self.failure = failure or CLOCK_STOOD
        self.verdict = Verdict.FAILED


def candidate_of(entry: Entry, kind: Kind, environment: Environment) -> Candidate:
    """Make a candidate of the choice of an entry, to be tested anew."""
    return Candidate(
        operation=entry.operation,
        choice=entry.choice,
        fewer_cpus=entry.choice.cpus < environment.default_cpus(kind),
        bound=-log1p(MARGIN) if entry.evidence.cpu_ratio is None else log1p(CPU_SLACK),
        error=ERROR,
        seemed=-log(entry.evidence.speedup or 1.0),
    )


def judge(candidate: Candidate, capacity: Capacity | None) -> tuple[Verdict, str]:
    """Judge a candidate by what its processes say so far. Pure.

    Returns
    -------
    tuple
        The verdict and, of a dropped candidate, why it fell.

    """
    findings = candidate.findings(capacity)
    count = findings.processes
    objection = find_objection(candidate, findings)
    least = LEAST_PROCESSES if candidate.fewer_cpus else LEAST_PROCESSES_OF_LARGE_GAIN
    proved = count >= least and is_proved_faster(candidate, findings)
    if proved and objection is None:
        return (Verdict.ACCEPTED if candidate.span >= LEAST_SPAN else Verdict.OPEN), ""
    # more processes hardly remove the objection to a proved candidate: its means or tails are slower
    most = candidate.most_processes // 3 if proved else candidate.most_processes
    if gains_little(candidate, findings) or count >= most:
        return Verdict.DROPPED, _reason(candidate, findings, objection)
    if len(candidate.visits) >= PATIENCE * candidate.most_processes:
        if candidate.fewer_cpus:
            return Verdict.NOISY, ""
        return Verdict.DROPPED, _reason(candidate, findings, objection)
    return Verdict.OPEN, ""


def is_proved_faster(candidate: Candidate, findings: Findings) -> bool:
    """Does the capital prove that the log-ratio is below the bound? Means and tails may still object."""
    return findings.capital(candidate.bound) >= 1.0 / candidate.error


def gains_little(candidate: Candidate, findings: Findings) -> bool:
    """Is the gain surely too small to be worth further processes?"""
    enough = WORTH - candidate.bound - log1p(MARGIN)
    if len(findings.full) == 1 and PLAIN_ERRORS * _error(findings, findings.full) - findings.full[0] < enough:
        return True
    return _most_gain(candidate, findings, DROP_ERRORS) < enough


def _reason(candidate: Candidate, findings: Findings, objection: str | None) -> str:
    """Return why a candidate falls: of too few processes for an interval what the speed-up hardly exceeds."""
    if objection is not None and findings.log_ratio is not None and findings.log_ratio < candidate.bound:
        return objection
    most = _most_gain(candidate, findings, DROP_ERRORS)
    if findings.interval is not None or most == inf:
        return f"Not proved faster: {in_words(findings)}"
    count = len(candidate.explored) + len(candidate.visits)
    processes = "process" if count == 1 else "processes"
    return f"Not proved faster: after {count} {processes} the speed-up is hardly above {exp(most):.2f}."


def in_words(findings: Findings) -> str:
    """Return the speed-up with its interval, as the end of a sentence."""
    ends, value = findings.interval, findings.log_ratio
    if ends is None or value is None:
        return "too few processes to state a speed-up."
    ratio, low, high = ends
    return f"speed-up {1 / ratio:.3f}, 95 % interval {1 / high:.3f} to {1 / low:.3f}."


def find_objection(candidate: Candidate, findings: Findings) -> str | None:
    """Return the reason to refuse a candidate whose paired medians are proved faster; None without.

    The mean and the 90th percentile are tested together with the paired medians: with spinning BLAS threads and a busy
    neighbour the median said 0.98, the mean 1.36 and the 90th percentile 1.70.
    """
    expected, lost = findings.expected, 1.0 - (1.0 if findings.full_share is None else findings.full_share)
    if expected is not None and lost >= OCCUPANCY and expected >= candidate.bound:
        return (
            f"Faster at full capacity, but its loss without it outweighs that: capacity is missing {lost:.0%} of "
            f"the time, and the expected speed-up is {exp(-expected):.3f}."
        )
    # interference only ever slows down: the rest is tested without disturbed pairs
    quiet = [pair for pair in findings.typical_pairs if accepted(pair)]
    if not quiet:
        return None
    choice = np.asarray([pair.candidate_seconds for pair in quiet])
    default = np.asarray([pair.default_seconds for pair in quiet])
    slack = exp(candidate.bound + log1p(MARGIN))
    means = float(choice.mean() / default.mean())
    if means > slack:
        return f"Faster in most pairs, but slower on average: the speed-up of the means is {1 / means:.3f}."
    tails = float(np.quantile(choice, 0.9) / np.quantile(default, 0.9))
    if tails > slack * (1.0 + MARGIN):
        return f"Faster in most pairs, but with slow ones: the speed-up at the 90th percentile is {1 / tails:.3f}."
    return None


def _most_gain(candidate: Candidate, findings: Findings, errors: float) -> float:
    """Gain, in log-ratio, that a candidate has if it is so many errors better than it seems; infinite if unknown.

    A candidate that uses at least as many CPUs as the default is not given up before it was seen at full capacity,
    unless it would gain nothing if all CPUs that were missing had been its own. Of one that uses fewer the processes at
    any capacity tell as well: lost capacity and interference speak for it, so that what gains nothing with them gains
    nothing without.
    """
    full = (*findings.explored_full, *findings.full)
    everything = (*findings.explored_everything, *findings.everything)
    if candidate.fewer_cpus:
        return min(_upper_gain(findings, values, errors) for values in (full, everything))
    if len(full) < LEAST_BEFORE_DROPPING and len(everything) < LEAST_PROCESSES:
        return _upper_gain(findings, findings.at_best, errors)
    values = full if findings.rests_on_full else everything
    at_full = errors * _error(findings, values) - estimate(full) if full else -inf
    return max(_upper_gain(findings, values, errors), at_full)


def _upper_gain(findings: Findings, values: Sequence[float], errors: float) -> float:
    if len(values) < LEAST_BEFORE_DROPPING:
        return inf
    return errors * _error(findings, values) - estimate(values)


def _error(findings: Findings, values: Sequence[float]) -> float:
    """Standard error of an estimate from so many processes.

    Until they can tell, they are taken to differ by the usual scatter, or by what that of their pairs explains.
    """
    assumed = max(USUAL_SCATTER, findings.pair_error)
    apart = USUAL_WEIGHT * assumed**2 + float(np.sum((np.asarray(values) - np.mean(values)) ** 2))
    return sqrt(apart / (USUAL_WEIGHT + len(values) - 1) / len(values))


def _pair_error(processes: Sequence[Sequence[Pair]]) -> float:
    scatter = pair_scatter(processes)
    return 0.0 if scatter is None else scatter / sqrt(sum(map(len, processes)) / len(processes))


Judge = Callable[[Candidate, Capacity | None], tuple[Verdict, str]]


class Confirmation:
    """Candidates under test, and the rounds that visit them."""

    def __init__(self, clock: Clock, capacity: Capacity | None, states: Capacity, *, judge: Judge = judge) -> None:
        """Begin without candidates.

        `capacity` decides which pairs count, or is None where it plays no part; `states` takes in every probe.
        """
        self._judge = judge
        self._clock = clock
        self._capacity = capacity
        self._states = states
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
        return sum(candidate.processes_left(self._capacity) * candidate.seconds for candidate in self.open)

    def add(self, candidate: Candidate) -> None:
        """Put a candidate to the test."""
        self.candidates.append(candidate)

    def rounds(self, begin: Callable[[], None] = lambda: None) -> Iterator[Candidate]:
        """Go round until nothing is open, or the time is over; yields those that this decides, calls `begin` each time.

        What is added meanwhile is visited as well.
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
            yield from self._visit(group)

    def judge_again(self) -> Iterator[Candidate]:
        """Judge the undecided ones by all that is known of the machine's capacity now; yields those decided."""
        for candidate in self.open:
            yield from self._judged(candidate)

    def give_up(self) -> Iterator[Candidate]:
        """Drop what gains little at best, once the time is over; yields it."""
        for candidate in self.open:
            findings = candidate.findings(self._capacity)
            most = _most_gain(candidate, findings, SMALL_GAIN_ERRORS)
            objection = find_objection(candidate, findings) if len(findings.values) >= OBJECTED_PROCESSES else None
            if objection is not None and is_proved_faster(candidate, findings):
                candidate.verdict, candidate.reason = Verdict.DROPPED, objection
                yield candidate
            elif most < SMALL_GAIN - candidate.bound - log1p(MARGIN):
                candidate.verdict, candidate.speedup_limit = Verdict.DROPPED, exp(max(0.0, most))
                candidate.reason = LITTLE_GAIN.format(candidate.speedup_limit)
                yield candidate

    def _affordable(self, most: int | None) -> list[Candidate]:
        """Undecided candidates, those with the most to gain for their time first, as many as can be decided."""
        open_ones = self.open
        if most is not None:
            open_ones = list(filter(self._leads_by_far, open_ones))
        elif self._clock.remaining >= self.seconds_left:
            return open_ones

        def worth(candidate: Candidate) -> float:
            gain = candidate.expected_gain(self._capacity) + DECISION * candidate.weight
            return gain / (candidate.processes_left(self._capacity) * candidate.seconds)

        chosen: list[Candidate] = []
        time = self._clock.remaining
        for candidate in sorted(open_ones, key=worth, reverse=True)[:most]:
            time -= candidate.processes_left(self._capacity) * candidate.seconds
            if chosen and time < 0:
                break
            chosen.append(candidate)
        return chosen

    def _leads_by_far(self, candidate: Candidate) -> bool:
        """Does its gain still seem large, if it had as many processes as prove a large one?"""
        gain = candidate.expected_gain(self._capacity)
        return len(candidate.visits) < LEAST_PROCESSES_OF_LARGE_GAIN or gain > candidate.weight * LARGE_GAIN

    def _visit(self, group: Sequence[Candidate]) -> Iterator[Candidate]:
        """Measure a group in one fresh process; yields the candidates that this decides.

        Those that set BLAS threads come last: the threads of the default spin for a while afterwards.
        """
        group = sorted(group, key=lambda candidate: candidate.choice.blas_threads is not None)
        seconds = min(self._clock.remaining, START_SECONDS + sum(candidate.visit_seconds for candidate in group))
        cases = [Case(operation=candidate.operation, configurations=(candidate.choice,)) for candidate in group]
        pairs = max(candidate.pairs_wanted for candidate in group)
        session = self._clock.run(cases, pairs=pairs, seconds=seconds, quiet=group[0].quiet)
        self._states.add(session)
        costs = _costs(session, group)
        measured = by_operation(session)
        for candidate in group:
            candidate.seconds = costs[candidate.operation]
            candidate.overhead = max(0.0, session.wall_seconds - session.sampled_seconds) / len(group)
            if candidate.operation in measured:
                candidate.take(measured[candidate.operation], self._clock.elapsed)
            yield from self._judged(candidate)

    def _judged(self, candidate: Candidate) -> Iterator[Candidate]:
        if candidate.verdict is Verdict.OPEN:
            candidate.verdict, candidate.reason = self._judge(candidate, self._capacity)
        if candidate.verdict is not Verdict.OPEN:
            yield candidate


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
