"""A candidate under test, and the verdict on it by what its processes say. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, inf, log, log1p

from autotune.bench.statistics import hodges_lehmann
from autotune.model.configuration import Configuration
from autotune.model.measurement import Failure, Measurement
from autotune.model.operation import Operation
from autotune.model.policy import SMALL_GAIN
from autotune.model.units import count_of
from autotune.search.evidence import CLOCK_STOOD, has_timings
from autotune.search.findings import DROP_ERRORS, LEAST_BEFORE_DROPPING, WORTH, Findings
from autotune.search.machine_states import Capacity, Visit
from autotune.search.sequential_test import LARGEST_SHIFT, LEAST_PROCESSES, LEAST_PROCESSES_OF_LARGE_GAIN, MARGIN

PAIRS = 4
"""In each process, for one candidate: many short processes tell more than few long ones, since processes differ."""
FEW_PAIRS = 2
"""The same where the gain seems very large, and so few pairs of four processes are enough to prove it."""
LARGE_GAIN = 0.05 + LARGEST_SHIFT
"""Log-ratio from which a gain counts as large."""
VERY_LARGE_GAIN = 2 * LARGE_GAIN
"""Below it, down to a large gain, four processes of two pairs prove too little: of `PAIRS` they are enough."""
VISIT_SECONDS = 0.2
"""Of a process, for one candidate's pairs; the start of the process not counted."""
START_SECONDS = 0.1
"""Of a process, before its first pair."""
LEAST_SPAN = 4.0
"""Seconds from a candidate's first process to its last before it is accepted: processes close in time are alike."""
SMALL_GAIN_ERRORS = 1.28
"""Standard errors by which it may be better than it seems then: of candidates that gain 10 % one in ten is lost so."""
NOT_IN_TIME = "Not proved faster in the time allowed"
LITTLE_GAIN = "; it gains little, if anything: the speed-up is below {:.2f} (error 10 %)"
MOST_PROCESSES = 96
"""After which a candidate that is still undecided is dropped: its gain is near the margin."""
OBJECTED_PROCESSES = 12
"""From which on the objection to a proved candidate stands when the time is over: its means or tails are slower."""
ASSUMED_PROCESSES = 2.0
"""Processes that the usual number counts for when it is predicted how many a candidate still takes."""
YOUNG_PROCESSES = 4.0
"""Expected of a candidate that was seen in one process only and does not seem much faster: most fall at the next."""
PATIENCE = 4
"""Multiple of the processes after which waiting for undisturbed pairs at full capacity ends."""
CALLS_WITHOUT_ANSWER = 3
"""Processes in a row that did not reach a candidate, after which it is given up."""


class Verdict(StrEnum):
    """Outcome of a test."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DROPPED = "dropped"
    """Not proved faster, and not worth further processes."""
    FAILED = "failed"
    NOISY = "noisy"
    """It uses fewer CPUs than the default, and no undisturbed pairs at full capacity could be had."""


@dataclass(kw_only=True)
class Candidate:
    """A configuration under test at one size."""

    operation: Operation
    choice: Configuration
    capacity: Capacity | None = None
    """Decides which pairs count; None where every pair counts as timed at full capacity."""
    fewer_cpus: bool = False
    """Does it use fewer CPUs than the default?"""
    error: float
    """Probability allowed for accepting it although its log-ratio is not below the bound."""
    bound: float = -log1p(MARGIN)
    """It is accepted where its log-ratio is proved to be below this."""
    quiet: bool = False
    """Do the neighbours rest while it is measured?"""
    seemed: float = 0.0
    """Log-ratio that exploration saw."""
    proved: float = 0.0
    """Log-ratio of another choice that was accepted: only what goes beyond it is gained."""
    thrift: float = 0.0
    """Log-ratio by which it saves CPU seconds, where these are the objective."""
    weight: float = 1.0
    """Of its gain, when time is shared out."""
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
    """Reason why it was dropped, as a sentence."""
    failure: Failure | None = None
    speedup_limit: float | None = None
    """Upper bound of the speed-up of a candidate that was dropped because the time was over."""
    _unanswered: int = 0
    _findings: Findings | None = None
    _findings_of: tuple[int, int] = (0, 0)
    """Processes and probes that these were found with."""

    @property
    def full_capacity_threshold(self) -> float | None:
        """Capacity from which a pair counts as timed at full capacity, as known now; None where every pair does."""
        return None if self.capacity is None else self.capacity.full_capacity_threshold

    @property
    def findings(self) -> Findings:
        """Evidence from its processes until now."""
        capacity = self.capacity or Capacity(usable_cpus=1)
        counts = len(self.visits), len(capacity.probes)
        if self._findings is None or self._findings_of != counts:
            self._findings_of = counts
            self._findings = Findings(self.visits, self.explored, capacity, fewer_cpus=self.fewer_cpus)
        return self._findings

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

    @property
    def is_proved_faster(self) -> bool:
        """Does the capital prove that the log-ratio is below the bound? Means and tails may still object."""
        return self.findings.capital(self.bound) >= 1.0 / self.error

    @property
    def estimated_log_ratio(self) -> float:
        """Log-ratio of its test where there are two processes, else of exploration.

        What processes without full capacity say of a candidate that uses all CPUs is no reason to expect less of it.
        """
        findings = self.findings
        if not self.fewer_cpus and findings.full_share is not None:
            full = findings.all_full
            return hodges_lehmann(full) if full else min(self.seemed, hodges_lehmann(findings.everything or [0.0]))
        return hodges_lehmann(findings.values) if len(findings.values) > 1 else self.seemed

    @property
    def expected_gain(self) -> float:
        """Weighted gain in log-ratio, as far as is known."""
        return self.weight * max(0.0, self.thrift or self.proved - self.estimated_log_ratio)

    @property
    def processes_left(self) -> float:
        """Estimated number of further processes, including those that will not count."""
        findings, value = self.findings, self.estimated_log_ratio
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

    @property
    def seconds_left(self) -> float:
        """About how long it still takes."""
        return self.processes_left * self.seconds

    def take(self, default_and_choice: Sequence[Measurement], elapsed: float, threshold: float | None) -> None:
        """Take in the measurements of one process; `threshold` is that of full capacity when it began.

        The first probed process has no earlier threshold: its own probes give it.
        """
        default, choice = default_and_choice
        if has_timings(default) and has_timings(choice) and choice.pairs:
            threshold = threshold or self.full_capacity_threshold
            self.visits.append(Visit(pairs=choice.pairs, elapsed=elapsed, full_capacity_threshold=threshold))
            self._unanswered = 0
            return
        failure = choice.failure or default.failure
        if failure is not None and not failure.final and self._unanswered + 1 < CALLS_WITHOUT_ANSWER:
            self._unanswered += 1
            return
        self.failure, self.verdict = failure or CLOCK_STOOD, Verdict.FAILED

    def give_up(self) -> None:
        """Drop it where it gains little at best, once the time is over."""
        most = self.findings.most_gain(SMALL_GAIN_ERRORS)
        enough = len(self.findings.values) >= OBJECTED_PROCESSES
        objection = self.findings.objection(self.bound) if enough and self.is_proved_faster else None
        if objection is not None:
            self.verdict, self.reason = Verdict.DROPPED, objection
        elif most < log1p(SMALL_GAIN) - self.bound - log1p(MARGIN):
            self.verdict, self.speedup_limit = Verdict.DROPPED, exp(max(0.0, most))
            is_hidden = (self.findings.limit_at_full or 0.0) > self.speedup_limit
            self.reason = f"{NOT_IN_TIME}{'' if is_hidden else LITTLE_GAIN.format(self.speedup_limit)}."


def judge(candidate: Candidate) -> tuple[Verdict, str]:
    """Judge a candidate by its processes so far: the verdict, and the reason if it is dropped."""
    findings = candidate.findings
    objection = findings.objection(candidate.bound)
    least = LEAST_PROCESSES if candidate.fewer_cpus else LEAST_PROCESSES_OF_LARGE_GAIN
    is_proved = findings.processes >= least and candidate.is_proved_faster
    if is_proved and objection is None:
        span = candidate.visits[-1].elapsed - candidate.visits[0].elapsed
        return (Verdict.ACCEPTED if span >= LEAST_SPAN else Verdict.OPEN), ""
    # more processes seldom remove the objection to a proved candidate: its means or tails are slower
    most = candidate.most_processes // 3 if is_proved else candidate.most_processes
    is_over = len(candidate.visits) >= PATIENCE * candidate.most_processes
    if findings.gains_little(candidate.bound) or findings.processes >= most or (is_over and not candidate.fewer_cpus):
        return Verdict.DROPPED, _reason(candidate, objection)
    return (Verdict.NOISY if is_over else Verdict.OPEN), ""


def _reason(candidate: Candidate, objection: str | None) -> str:
    """Return why a candidate is dropped; with too few processes for an interval, the upper bound of its speed-up."""
    findings = candidate.findings
    if objection is not None and findings.log_ratio is not None and findings.log_ratio < candidate.bound:
        return objection
    if findings.is_plain_loser(candidate.bound):
        return f"Not proved faster: in its process at full capacity the speed-up was {exp(-findings.full[0]):.2f}."
    most = findings.most_gain(DROP_ERRORS)
    if findings.interval is not None or most == inf:
        return f"Not proved faster: {findings}"
    processes = count_of(len(candidate.explored) + len(candidate.visits), "process", "processes")
    return f"Not proved faster: after {processes} the speed-up is at most {exp(most):.2f} (2 standard errors)."
