"""Measures a whole command: every run is a process of its own, timed from its start to its end.

What Configuration means here: `blas_threads` are the threads of every library, set by their environment
variables, or of BLAS libraries alone where the others' are tuned apart; `workers` and `chunk` stand for
`{workers}` and `{chunk}` in the arguments, or `workers` for the threads of the other libraries.
"""

import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic, perf_counter

from autotune.bench import noise, resource_limits, rounds
from autotune.bench.failure_text import by_signal, last_words, noted, shortened
from autotune.bench.trial_process import end_group
from autotune.bench.wait import followed
from autotune.controls import thread_variables
from autotune.errors import BadWorkload, UnsupportedPlatform
from autotune.host import pressure
from autotune.host.usable_cpus import affinity, schedulable_cpus
from autotune.model.configuration import DEFAULT, Configuration, Knob
from autotune.model.measurement import Case, Failure, FailureKind, Measurement, Pair, Session, TrialPlan

FACTOR_OF_DEFAULT = 5
"""A run that takes this many times as long as the slowest of the default, and a second, is a time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The words of a command, and how a Configuration changes it."""

    words: tuple[str, ...]
    workers: int | None = None
    """What the default puts for `{workers}`; None if the command has no such place."""
    chunk: int | None = None
    separate: bool = False
    """Are BLAS threads and the threads of other libraries set apart?"""

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What can be tuned of it."""
        workers = self.workers is not None or self.separate
        named = {Knob.BLAS_THREADS: True, Knob.WORKERS: workers, Knob.CHUNK: self.chunk is not None}
        return tuple(knob for knob, there in named.items() if there)

    def arguments(self, configuration: Configuration) -> list[str]:
        """The words with every place filled in."""
        filled = list(self.words)
        for name, usual in (("workers", self.workers), ("chunk", self.chunk)):
            if usual is not None:
                value = getattr(configuration, name) or usual
                filled = [word.replace(f"{{{name}}}", str(value)) for word in filled]
        return filled

    def variables(self, configuration: Configuration) -> dict[str, str]:
        """The environment variables that it is run with, beside those of the shell; none for the default."""
        threads = configuration.blas_threads
        if threads is None:
            return {}
        others = configuration.workers if self.separate else None
        return thread_variables.whole(threads, others or threads)

    def line(self, configuration: Configuration) -> str:
        """What to type in a shell."""
        variables = [f"{name}={value}" for name, value in self.variables(configuration).items()]
        return " ".join([*variables, shlex.join(self.arguments(configuration))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number that the command prints."""

    pattern: re.Pattern[str]
    """Its first group, or all that it matches, is the number; of several matches the last counts."""
    maximize: bool = False

    def read(self, printed: str) -> float | str:
        """The number, inverted if more is better; or what is wrong with it, as a sentence."""
        found = None
        for found in self.pattern.finditer(printed):  # noqa: B007 - the last one counts
            pass
        if found is None:
            return f"Nothing that it printed matches {self.pattern.pattern!r}."
        text = found[1 if self.pattern.groups else 0] or ""
        try:
            number = float(text)
        except ValueError:
            return f"{shortened(text, 80)!r}, which the metric matches, is not a number."
        if not 0.0 < number < math.inf:
            return f"The metric is {text}; it must be above zero, since gains are ratios."
        return 1.0 / number if self.maximize else number


class CommandBench:
    """A Bench for one command: every timing is the wall time of a fresh process, or the number it printed.

    Scope of effect: the command's own, as often as it is run. It runs in this folder, with this environment
    and what the configuration sets; its input is empty, what it prints is read and not shown. Each run leads
    a process group, which is gone when the run ends. A KeyboardInterrupt passes through `run` and `probe`.
    Raises UnsupportedPlatform where there are no POSIX process groups.
    """

    def __init__(
        self,
        command: Command,
        *,
        metric: Metric | None = None,
        patience: float,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`patience` is how many seconds any run may take."""
        if sys.platform == "win32" or not hasattr(os, "killpg"):
            raise UnsupportedPlatform(
                "Commands need POSIX process groups to be tuned, which this system does not have."
            )
        self.command = command
        self.wall_seconds: dict[Configuration, list[float]] = defaultdict(list)
        """How long every run took that did not fail, whatever the metric."""
        self._metric = metric
        self._patience = patience
        self._environ = dict(os.environ if environ is None else environ)
        self._cpus = schedulable_cpus()
        self._slowest = math.inf
        """Wall seconds of the slowest run of the default."""

    def probe(self) -> float:
        """Run the command as it stands, which warms the system's caches, and return its wall seconds.

        Raises BadWorkload with the reason if it fails.
        """
        outcome, _ = self._once(DEFAULT)
        if isinstance(outcome, Failure):
            hint = " Allow more by --timeout or --budget." if outcome.kind is FailureKind.TIME_OUT else ""
            raise BadWorkload(
                f"The command as it stands cannot be measured: {shlex.join(self.command.words)}. "
                f"{outcome.reason}{hint}"
            )
        (self._slowest,) = self.wall_seconds.pop(DEFAULT)  # the first run is never a timing
        return self._slowest

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan; its operations differ in nothing but their names."""
        began = monotonic()
        end = None if plan.seconds is None else began + plan.seconds
        records = []
        for place, case in enumerate(plan.cases):
            until = None if end is None else rounds.share(monotonic(), end, len(plan.cases) - place)
            records.append(self._measure(case, plan, until))
        return Session(
            measurements=tuple(one for record in records for one in record.measurements(plan.rounds)),
            wall_seconds=monotonic() - began,
            sampled_seconds=sum(record.round_seconds for record in records),
        )

    def _measure(self, case: Case, plan: TrialPlan, until: float | None) -> "_Record":
        """Rounds of one case, and disturbed ones again, until enough were quiet or the time is over."""
        others = (one for one in case.configurations if not one.is_default)
        record = _Record(case=case, arms=(DEFAULT, *others))
        seed = rounds.order_seed(plan.seed, case.operation)
        orders = rounds.orders(len(record.arms), plan.rounds, seed)
        agenda = rounds.Agenda(plan.rounds)
        while (number := agenda.next()) is not None:
            load, began = pressure.read(cpus=affinity()), monotonic()
            values = self._round(record, orders[number])
            wall, now = monotonic() - began, pressure.read(cpus=affinity())
            busy = noise.busy(load, now, wall, self._cpus, crowded=True)
            record.round_seconds += wall
            interference = noise.interference(load, now, wall, self._cpus, disturbed=busy)
            record.rounds.append((busy, interference, values))
            agenda.note(number, busy=busy)
            if 0 in record.failures or (until is not None and monotonic() >= until):
                break
        return record

    def _round(self, record: "_Record", order: Sequence[int]) -> dict[int, float]:
        """Every arm once, but for those that have failed."""
        values: dict[int, float] = {}
        for arm in order:
            if record.failures.keys() & {0, arm}:
                continue
            outcome, record.notes[arm] = self._once(record.arms[arm])
            if isinstance(outcome, Failure):
                record.failures[arm] = outcome
            else:
                values[arm] = outcome
        return values

    def _once(self, configuration: Configuration) -> tuple[float | Failure, str]:
        """One run: its seconds or its metric, and what it printed."""
        limit = self._limit(configuration)
        environ = {**self._environ, **self.command.variables(configuration)}
        words = self.command.arguments(configuration)
        kills = resource_limits.oom_kills()
        began = perf_counter()
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )
        except (OSError, ValueError) as problem:  # ValueError: a NUL byte in an argument
            return Failure(kind=FailureKind.ERROR, reason=_not_started(words[0], problem)), ""
        assert process.stdout is not None
        try:
            seconds, text = followed(process, process.stdout, began, limit)
        finally:
            with closing(process.stdout):
                end_group(process)
        printed = text.decode(errors="replace")
        if seconds is None:
            reason = f"It did not end within {limit:.3g} s; it was ended with all its children."
            return Failure(kind=FailureKind.TIME_OUT, reason=reason), printed
        if process.returncode:
            return _failure(
                process.returncode, printed, out_of_memory=resource_limits.oom_kills() != kills
            ), printed
        value = seconds if self._metric is None else self._metric.read(printed)
        if isinstance(value, str):
            return Failure(kind=FailureKind.PROTOCOL, reason=value + last_words(printed)), printed
        self.wall_seconds[configuration].append(seconds)
        if configuration.is_default:
            self._slowest = seconds if self._slowest is math.inf else max(seconds, self._slowest)
        return value, printed

    def _limit(self, configuration: Configuration) -> float:
        """How long a run may take."""
        if configuration.is_default:
            return self._patience
        return min(self._patience, FACTOR_OF_DEFAULT * self._slowest + 1.0)


@dataclass(slots=True, kw_only=True)
class _Record:
    """What is known of one case so far. Arms are known by their position."""

    case: Case
    arms: tuple[Configuration, ...]
    rounds: list[tuple[bool, float, dict[int, float]]] = field(default_factory=list)
    """(was the machine busy, interference, values by arm)"""
    round_seconds: float = 0.0
    """Of all rounds."""
    failures: dict[int, Failure] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)

    def measurements(self, wanted: int) -> tuple[Measurement, ...]:
        """One for each arm; none has timings if the default failed."""
        if 0 in self.failures:
            reason = f"The default failed: {self.failures[0].reason}"
            orphan = Failure(kind=FailureKind.NOT_REACHED, reason=reason)
            self.failures = {arm: self.failures.get(arm, orphan) for arm in range(len(self.arms))}
        kept = [self.rounds[place][1:] for place in noise.kept([busy for busy, *_ in self.rounds], wanted)]
        return tuple(
            Measurement(
                operation=self.case.operation,
                configuration=configuration,
                pairs=()
                if arm in self.failures or not arm
                else tuple(
                    Pair(default_seconds=values[0], candidate_seconds=values[arm], interference=interference)
                    for interference, values in kept
                ),
                seconds=() if arm in self.failures else tuple(values[arm] for _, values in kept),
                failure=self.failures.get(arm),
                note=noted(self.notes.get(arm, "")),
            )
            for arm, configuration in enumerate(self.arms)
        )


def _failure(status: int, printed: str, *, out_of_memory: bool) -> Failure:
    """Why a command that ended with this status has no timing."""
    if status < 0:
        return by_signal(-status, last_words(printed), out_of_memory=out_of_memory)
    return Failure(kind=FailureKind.ERROR, reason=f"It ended with exit status {status}.{last_words(printed)}")


def _not_started(name: str, problem: Exception) -> str:
    if isinstance(problem, FileNotFoundError) and shutil.which(name) is None:
        return f"There is no command {name!r}."
    return f"{name} cannot be run: {getattr(problem, 'strerror', None) or problem}."
