"""Measures a whole command: every run is a process of its own, timed from its start to its end.

Meaning of a Configuration: `blas_threads` are the threads of every library, set by their environment
variables, or of BLAS libraries alone where `openmp_threads` sets those of the others; `workers` and `chunk` stand for
`{workers}` and `{chunk}` in the arguments.
"""

import math
import os
import re
import selectors
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import monotonic

from autotune.bench import noise, sampling
from autotune.bench.failure_text import end_failure, last_words, oom_kills, shorten
from autotune.controls import thread_variables, wait_policy
from autotune.controls.supervise import Ending, Supervised
from autotune.errors import BadWorkload, UnsupportedPlatform
from autotune.host import pressure
from autotune.host.usable_cpus import affinity, schedulable_cpus
from autotune.model.configuration import DEFAULT, Configuration, Knob
from autotune.model.measurement import Case, Failure, FailureKind, Measurement, Pair, Session, TrialPlan

GRACE_SECONDS = 1.0
"""Between SIGTERM and SIGKILL for a command that takes too long: it may remove its temporary files."""
LARGEST_OUTPUT = 2**20
"""Bytes of printed text that are kept of its end: a metric comes last."""
LAST_WORDS_SECONDS = 1.0
"""Seconds to read what a child of the command prints after its end."""
LOOK_SECONDS = 0.05
"""Seconds between looks at what a first run has loaded."""
LONGEST_WAIT_SECONDS = 86400.0
"""Of a single wait for a command: epoll_wait(2) counts milliseconds in 31 bits, which are 24 days."""
FACTOR_OF_DEFAULT = 5
"""A run that takes this many times as long as the slowest of the default, and a second, is a time-out."""


Look = Callable[[Iterable[int]], object]
"""Takes in the process ids of a command and its children, several times while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The words of a command, and how a Configuration changes it."""

    words: tuple[str, ...]
    workers: int | None = None
    """The default's value of `{workers}`; None if the command has no such place."""
    chunk: int | None = None
    separate: bool = False
    """Whether BLAS threads and the threads of other libraries are set apart."""
    runtimes: frozenset[str] = frozenset()
    """Kinds of runtimes whose idle threads sleep or spin as a knob says (`controls.wait_policy`)."""

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """Knobs of the command."""
        named = {
            Knob.BLAS_THREADS: True,
            Knob.OPENMP_THREADS: self.separate,
            Knob.WAIT: bool(self.runtimes),
            Knob.WORKERS: self.workers is not None,
            Knob.CHUNK: self.chunk is not None,
        }
        return tuple(knob for knob, is_present in named.items() if is_present)

    def arguments(self, configuration: Configuration) -> list[str]:
        """Fill in every place of the words."""
        filled = list(self.words)
        for name, usual in (("workers", self.workers), ("chunk", self.chunk)):
            if usual is not None:
                value = getattr(configuration, name) or usual
                filled = [word.replace(f"{{{name}}}", str(value)) for word in filled]
        return filled

    def variables(self, configuration: Configuration) -> dict[str, str]:
        """Return the environment variables to add to those of the shell; none for the default."""
        waiting = wait_policy.wait_variables(configuration.wait, self.runtimes)
        threads = configuration.blas_threads
        if threads is None:
            return waiting
        return {**thread_variables.whole(threads, configuration.openmp_threads or threads), **waiting}

    def line(self, configuration: Configuration) -> str:
        """Return the line to type in a shell."""
        variables = [f"{name}={value}" for name, value in self.variables(configuration).items()]
        return " ".join([*variables, shlex.join(self.arguments(configuration))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number that the command prints."""

    pattern: re.Pattern[str]
    """Its first group, or all that it matches, is the number; of several matches the last counts."""
    maximize: bool = False

    def read(self, printed: str) -> float | str:
        """Read the number, inverted if more is better; or return a sentence on what is wrong with it."""
        match = None
        for match in self.pattern.finditer(printed):  # noqa: B007 - the last one counts
            pass
        if match is None:
            return f"Nothing that it printed matches {self.pattern.pattern!r}."
        text = match[1 if self.pattern.groups else 0] or ""
        try:
            number = float(text)
        except ValueError:
            return f"{shorten(text, 80)!r}, which the metric matches, is not a number."
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
        """Prepare runs that may take `patience` seconds each."""
        if sys.platform == "win32" or not hasattr(os, "killpg"):
            raise UnsupportedPlatform(
                "Commands need POSIX process groups to be tuned, which this system does not have."
            )
        self.command = command
        self.wall_seconds: dict[Configuration, list[float]] = defaultdict(list)
        """Wall time of each successful run, whatever the metric."""
        self._cpu_seconds: dict[Configuration, list[float]] = defaultdict(list)
        self.runtimes: frozenset[str] = frozenset()
        """Kinds of runtimes that the first run loaded, but those whose waiting the environment steers already."""
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
        seen: set[str] = set()
        outcome = self._once(DEFAULT, look=lambda pids: seen.update(*map(_runtimes_of, pids)))
        self.runtimes = wait_policy.adjustable_runtimes(self._environ, seen)
        if isinstance(outcome, Failure):
            hint = " Allow more by --timeout or --budget." if outcome.kind is FailureKind.TIME_OUT else ""
            raise BadWorkload(
                f"The command as it stands cannot be measured: {shlex.join(self.command.words)}. {outcome.reason}{hint}"
            )
        (self._slowest,) = self.wall_seconds.pop(DEFAULT)  # the first run is never a timing
        return self._slowest

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan; its operations differ in nothing but their names."""
        began = monotonic()
        end = began + (math.inf if plan.seconds is None else plan.seconds)
        records = []
        for place, case in enumerate(plan.cases):
            until = sampling.share(monotonic(), end, len(plan.cases) - place)
            records.append(self._measure(case, plan, until))
        cpu_seconds = {chosen: median(seconds) or None for chosen, seconds in self._cpu_seconds.items()}
        return Session(
            measurements=tuple(
                record.measurement(arm, cpu_seconds.get(chosen))
                for record in records
                for arm, chosen in enumerate(record.arms)
            ),
            wall_seconds=monotonic() - began,
            sampled_seconds=sum(record.sampled_seconds for record in records),
        )

    def _measure(self, case: Case, plan: TrialPlan, until: float) -> "_CommandRecord":
        """Time pairs of one case, and disturbed ones again, until enough were undisturbed or the time is over."""
        candidates = tuple(configuration for configuration in case.configurations if not configuration.is_default)
        record = _CommandRecord(case=case, arms=(DEFAULT, *candidates))
        seed = sampling.order_seed(plan.seed, case.operation)
        agenda = sampling.Agenda(sampling.pair_order(len(candidates), plan.rounds, seed))
        last: _Run | None = None
        """The default's run that ended just now, for another candidate than the next."""
        for number, turn in enumerate(agenda):
            if 0 in record.failures or (number >= len(candidates) and monotonic() >= until):
                break
            arm = turn.candidate + 1
            if turn.default_first:
                shared = last is not None and last.partner != arm
                default = last if shared else self._run(record, 0)
                candidate = self._run(record, arm)
            else:
                shared = False
                candidate = self._run(record, arm)
                default = self._run(record, 0)
            last = None
            if default is None or candidate is None:
                agenda.drop(turn.candidate)
                continue
            pair = self._pair(default, candidate)
            record.pairs.setdefault(arm, []).append(pair)
            record.default_seconds += [] if shared else [default.value]
            agenda.note(turn, disturbed=not noise.is_undisturbed(pair))
            if not turn.default_first:
                last = replace(default, partner=arm)
        for number in range(0 if record.pairs else plan.rounds):
            if 0 in record.failures or (number and monotonic() >= until):
                break
            run = self._run(record, 0)
            record.default_seconds += [] if run is None else [run.value]
        return record

    def _pair(self, default: "_Run", candidate: "_Run") -> Pair:
        first, second = sorted((default, candidate), key=lambda run: run.began)
        interference = noise.interference(
            first.load_before, second.load_after, second.ended - first.began, self._cpus, crowded=True
        )
        return Pair(default_seconds=default.value, candidate_seconds=candidate.value, interference=interference)

    def _run(self, record: "_CommandRecord", arm: int) -> "_Run | None":
        """Run an arm once; None if it, or a run of it before, failed."""
        if arm in record.failures:
            return None
        load, began = pressure.read(cpus=affinity()), monotonic()
        outcome = self._once(record.arms[arm])
        if isinstance(outcome, Failure):
            record.failures[arm] = outcome
            return None
        ended = monotonic()
        record.sampled_seconds += ended - began
        return _Run(
            value=outcome, began=began, ended=ended, load_before=load, load_after=pressure.read(cpus=affinity())
        )

    def _once(self, configuration: Configuration, *, look: Look | None = None) -> float | Failure:
        """Run once; returns seconds or metric."""
        limit = min(self._patience, FACTOR_OF_DEFAULT * self._slowest + 1.0)
        environ = {**self._environ, **self.command.variables(configuration)}
        words = self.command.arguments(configuration)
        kills = oom_kills()
        try:
            ending, text = run_to_end(words, environ, limit, look=look)
        except (OSError, ValueError) as problem:  # ValueError: a NUL byte in an argument
            return Failure(kind=FailureKind.ERROR, reason=start_failure(words[0], problem))
        printed = text.decode(errors="replace")
        if ending is None:
            reason = f"It did not end within {limit:.3g} s; it was ended with all its children."
            return Failure(kind=FailureKind.TIME_OUT, reason=reason)
        if ending.status or ending.seconds is None:
            return end_failure("It ended", FailureKind.ERROR, ending.status, printed, kills=kills)
        value = ending.seconds if self._metric is None else self._metric.read(printed)
        if isinstance(value, str):
            return Failure(kind=FailureKind.PROTOCOL, reason=value + last_words(printed))
        self.wall_seconds[configuration].append(ending.seconds)
        if ending.cpu_seconds is not None:
            self._cpu_seconds[configuration].append(ending.cpu_seconds)
        if configuration.is_default:
            self._slowest = ending.seconds if self._slowest is math.inf else max(ending.seconds, self._slowest)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run of the command."""

    value: float
    """Its seconds, or its metric."""
    began: float
    ended: float
    load_before: pressure.Load
    load_after: pressure.Load
    partner: int | None = None
    """The arm of the pair that this run of the default ended."""


@dataclass(slots=True, kw_only=True)
class _CommandRecord:
    """The state of one case. Arms are known by their position; the default is 0."""

    case: Case
    arms: tuple[Configuration, ...]
    pairs: dict[int, list[Pair]] = field(default_factory=dict)
    default_seconds: list[float] = field(default_factory=list)
    """Each run of the default once. Two candidates' pairs may share one that was adjacent to both."""
    sampled_seconds: float = 0.0
    failures: dict[int, Failure] = field(default_factory=dict)

    def measurement(self, arm: int, cpu_seconds: float | None) -> Measurement:
        """Return the measurement of an arm; none has timings if the default failed."""
        pairs = self.pairs.get(arm, [])
        failure = self.failures.get(arm)
        if failure is None and 0 in self.failures:
            reason = f"The default failed: {self.failures[0].reason}"
            failure = Failure(kind=FailureKind.NOT_REACHED, reason=reason)
        seconds = [pair.candidate_seconds for pair in pairs] if arm else self.default_seconds
        return Measurement(
            operation=self.case.operation,
            configuration=self.arms[arm],
            pairs=() if failure else tuple(pairs),
            seconds=() if failure else tuple(seconds),
            cpu_seconds=cpu_seconds,
            failure=failure,
        )


def _runtimes_of(pid: int) -> frozenset[str]:
    """Return the kinds of runtimes that a process has loaded; none where the system does not tell."""
    with suppress(OSError):
        return wait_policy.runtimes_in(Path(f"/proc/{pid}/maps").read_text(errors="replace"))
    return frozenset()


def run_to_end(
    words: Sequence[str], environ: Mapping[str, str], limit: float, *, look: Look | None = None
) -> tuple[Ending | None, bytes]:
    """Run a command with empty input; return its ending, None beyond `limit` seconds, and the end of its output.

    The command ends when its first process does, and all its children are gone when this returns. Raises OSError if it
    cannot be started, ValueError for a NUL byte in a word.
    """
    with (
        Supervised(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            grace=GRACE_SECONDS,
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        pipe, printed, deadline = process.stdout.fileno(), b"", monotonic() + limit
        selector.register(pipe, selectors.EVENT_READ)
        selector.register(process.report, selectors.EVENT_READ)
        while True:
            left = deadline - monotonic()
            if left <= 0:
                return None, printed
            pause = LONGEST_WAIT_SECONDS if look is None else LOOK_SECONDS
            ready = {key.fd for key, _ in selector.select(min(left, pause))}
            if look is not None:
                look(process.descendants())
            if pipe in ready:
                printed = _more(selector, pipe, printed)
            elif process.report in ready:
                break
        last_moment = monotonic() + LAST_WORDS_SECONDS
        while monotonic() < last_moment and pipe in {key.fd for key, _ in selector.select(0)}:
            printed = _more(selector, pipe, printed)
        return process.wait(), printed


def _more(selector: selectors.BaseSelector, pipe: int, printed: bytes) -> bytes:
    text = os.read(pipe, 2**16)
    if not text:
        selector.unregister(pipe)
    return (printed + text)[-LARGEST_OUTPUT:]


def start_failure(name: str, problem: Exception) -> str:
    """Say why a command could not be started."""
    if isinstance(problem, FileNotFoundError) and shutil.which(name) is None:
        return f"There is no command {name!r}."
    return f"{name} cannot be run: {getattr(problem, 'strerror', None) or problem}."
