"""Flow of a calibration's time: exploration of all operations, confirmation in rounds, then further candidates."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log1p
from statistics import fmean

from autotune.model.catalogue import Family
from autotune.model.configuration import Configuration
from autotune.model.entry import OUT_OF_TIME, Alternative, Entry, Status
from autotune.model.operation import Operation
from autotune.model.policy import CPU_SLACK, TIE
from autotune.model.profile import Profile
from autotune.search.candidate import LARGE_GAIN, LEAST_SPAN, MOST_PROCESSES, Candidate, Verdict
from autotune.search.confirmation import GROUP, GROUP_SECONDS, Confirmation
from autotune.search.crossings import alternatives
from autotune.search.decide import decide, make_bare_entry
from autotune.search.environment import Environment
from autotune.search.events import Confirming, Decided, Exploring, Listener, Tried
from autotune.search.evidence import TrialEvidence
from autotune.search.explore import Exploration
from autotune.search.plan import Item, Plan
from autotune.search.request import Objective
from autotune.search.sequential_test import LEAST_PROCESSES_OF_LARGE_GAIN, MARGIN, SHARES, candidate_error
from autotune.search.size_search import SizeSearch, has_small_space
from autotune.search.time_budget import SIZE_SECONDS, Clock, least_seconds, sizes_within

EXPLORATION_SHARE, EXPLORATION_SHARE_OF_SMALL = 0.45, 0.25
"""Of the time, at most, before the first confirmation, and the same where all configurations of an operation are few;
the first process of every operation may take more."""
FIRST_PASS_SHARE = 0.8
"""Of that, for the first process of every operation."""
MOST_OF_FIRST_PASS = 0.6
"""Of the time, after which operations that had no process yet stay undecided."""
TOO_LONG = (
    "Not measured: one trial of it takes about {seconds:.0f} s or more, and {allowed:.0f} s were left. Give it more "
    "time with --budget."
)
PROOF_SECONDS = LEAST_SPAN + GROUP_SECONDS
"""For the test of a candidate, at least: what exploration finds later can no longer be accepted."""
BETTER = 0.015
"""Log-ratio by which another candidate has to seem faster than an accepted one to be put to the test as well."""
UNSEEN_GAIN = -0.3
"""Log-ratio that is expected of a candidate that was only seen while CPUs were missing, although it uses more."""
QUIET_BOUND = log1p(0.01)
"""Log-ratio that a choice proved next to neighbours must stay below without them: no slower than the margin allows."""


@dataclass(kw_only=True)
class _Size:
    """One size of an item: what was put to the test, and what was decided."""

    exploration: Exploration
    search: SizeSearch
    tested: list[Candidate] = field(default_factory=list)
    """In order. At most one is undecided, besides accepted ones that are tested again."""
    quiet: dict[Configuration, Candidate] = field(default_factory=dict)
    """The same while the neighbours rest."""
    entry: Entry | None = None

    @property
    def operation(self) -> Operation:
        return self.search.operation

    @property
    def evidence(self) -> TrialEvidence:
        return self.search.evidence

    @property
    def tested_choices(self) -> set[Configuration]:
        """Configurations that were put to the test."""
        return {test.choice for test in self.tested}

    @property
    def under_test(self) -> bool:
        """Is a candidate of it undecided?"""
        return any(test.verdict is Verdict.OPEN for test in (*self.tested, *self.quiet.values()))

    @property
    def has_proof(self) -> bool:
        """Is its entry a choice that was proved?"""
        return self.entry is not None and self.entry.status is Status.TUNED

    @property
    def best(self) -> Candidate | None:
        """The candidate that the entry is about: the accepted one that seems best, else the undecided or last one."""
        accepted = [
            test
            for test in self.tested
            if test.verdict is Verdict.ACCEPTED and self.quiet.get(test.choice, test).verdict is Verdict.ACCEPTED
        ]
        last = self.tested[-1] if self.tested else None
        last = next((test for test in reversed(self.tested) if test.verdict is Verdict.OPEN), last)
        return min(accepted, key=lambda test: self.evidence.estimate(test.choice), default=last)


@dataclass(kw_only=True)
class Calibration:
    """A calibration under way."""

    plan: Plan
    environment: Environment
    clock: Clock
    """Runs the trials, within its budget."""
    report: Listener
    """Told of every event."""
    warm_starts: Sequence[Profile] = ()
    """Choices proved elsewhere, which are tried first."""
    explorations: list[Exploration] = field(init=False, default_factory=list)
    sizes: dict[Operation, _Size] = field(init=False, default_factory=dict)
    too_long: dict[Operation, str] = field(init=False, default_factory=dict)
    """Sizes that are not measured, and why."""
    confirming: float = field(init=False, default=0.0)
    """Seconds that confirmation took while exploration went on."""

    def __post_init__(self) -> None:
        self.capacity = None if self.environment.has_background_load else self.clock.capacity
        self.confirmation = Confirmation(self.clock)
        self.saves_cpu = self.plan.objective is Objective.CPU

    def entries(self) -> Iterator[Entry]:
        """Yield every entry as soon as it is decided.

        An operation has a second entry where something better was proved later. What the time does not reach comes
        last, undecided.
        """
        yield from self._explore()
        for exploration in self.explorations:
            yield from self._nominate(exploration)
        self._reopen_refuted()
        while self._is_unfinished:
            before = self.clock.plans
            yield from self._confirm()
            yield from self._explore_further()
            if self.clock.plans == before:
                break
            self._reopen_refuted()
        yield from self._close()

    @property
    def _is_unfinished(self) -> bool:
        """Are there time and something to do?"""
        remaining = self.clock.remaining
        return remaining > 0 and bool(self.confirmation.open or self._explorable(within=remaining))

    def _reopen_refuted(self) -> None:
        """Reopen accepted candidates that the present full capacity refutes."""
        for candidate in self.confirmation.reopen():
            size = self.sizes[candidate.operation]
            if size.entry is not None and size.entry.choice == candidate.choice:
                size.entry = None

    # --- exploration ---

    def _explore(self) -> Iterator[Entry]:
        """Pass after pass through all operations, until nothing is open or the time for it is over.

        Meanwhile those that lead by far are confirmed while all CPUs are there: the moments at full capacity are few on
        some machines, and the processes of a candidate shall be far apart.
        """
        share = self.clock.remaining * fmean(
            EXPLORATION_SHARE_OF_SMALL if has_small_space(item, self.environment) else EXPLORATION_SHARE
            for item in self.plan.items
        )
        yield from self._first_pass(FIRST_PASS_SHARE * share)

        def remaining() -> float:
            return min(share + self.confirming - self.clock.elapsed, self.clock.remaining)

        while unfinished := self._explorable(within=remaining()):
            for exploration in sorted(unfinished, key=lambda each: each.promise, reverse=True):
                if remaining() > exploration.next_seconds:
                    self._step(exploration, remaining())
                    yield from self._confirm_early(exploration, until=self.clock.budget)

    def _first_pass(self, seconds: float) -> Iterator[Entry]:
        """Run one process of every operation; each gets an equal part of the time that is left."""
        began = self.clock.elapsed
        self._set_aside()
        latest = began + MOST_OF_FIRST_PASS * self.clock.remaining
        waiting = list(self.plan.items)
        while waiting:
            explored = self.clock.elapsed - self.confirming
            item = next((each for each in waiting if self._suits(each)), waiting[0])
            part = max(SIZE_SECONDS, (began + seconds - explored) / len(waiting))
            part = min(max(part, SIZE_SECONDS * len(item.operations)), latest - explored)
            waiting.remove(item)
            exploration = Exploration(
                item,
                sizes_within([size for size in item.operations if size not in self.too_long], part),
                environment=self.environment,
                capacity=self.capacity,
                seed=self.clock.seed,
                warm_starts=self.warm_starts,
                seconds=part,
            )
            self.explorations.append(exploration)
            for operation, search in exploration.sizes.items():
                self.sizes[operation] = _Size(exploration=exploration, search=search)
            if exploration.next_step is not None:
                self._step(exploration, part)
                explored = self.clock.elapsed - began - self.confirming
                pace = explored / (len(self.plan.items) - len(waiting))
                yield from self._confirm_early(exploration, until=latest - pace * len(waiting))

    def _suits(self, item: Item) -> bool:
        """Can the item be explored in the machine's present state?

        Without full capacity those operations come first of which the default uses all CPUs.
        """
        uses_all = self.environment.default_cpus(item.kind) > 1
        return uses_all is not (self.capacity is None or self.capacity.is_full_now)

    def _confirm_early(self, exploration: Exploration, *, until: float) -> Iterator[Entry]:
        """Put what leads by far to the test, and visit a group of candidates while all CPUs are there.

        A user's function may ignore knobs, which the end of its exploration tells; so it does of CPU time and
        background load.
        """
        has_load = self.environment.has_background_load
        early = not (self.saves_cpu or has_load or exploration.item.kind.family is Family.USER)
        for operation in exploration.sizes:
            size = self.sizes[operation]
            leader = size.search.leader()
            leads = early and not leader.is_default and size.evidence.estimate(leader) < -LARGE_GAIN
            if (leads or exploration.next_step is None) and not size.tested:
                self._put_to_test(size, self._nominee(size))
        is_full = self.capacity is not None and self.capacity.is_full_now
        if is_full and self.clock.elapsed < until and len(self.confirmation.open) >= GROUP:
            began = self.clock.elapsed
            for candidate in self.confirmation.visit(2 * GROUP):
                # few candidates may be tested: the further ones are those that lead when all were seen
                explored = self.sizes[candidate.operation].exploration.next_step is None
                yield from self._conclude(candidate, last=not explored)
            self.confirming += self.clock.elapsed - began

    def _set_aside(self) -> None:
        """Find the sizes of which not even a first process fits the time."""
        for item in self.plan.items:
            for operation in item.operations:
                seconds = least_seconds(item.kind, operation, self.environment.usable_cpus)
                if seconds > self.clock.remaining:
                    self.too_long[operation] = TOO_LONG.format(seconds=seconds, allowed=self.clock.remaining)

    def _explorable(self, *, within: float) -> list[Exploration]:
        """Return the explorations that may still find something, and whose next process fits `within`."""
        return [
            each
            for each in self.explorations
            if each.next_step is not None and each.promise > TIE and each.next_seconds < within
        ]

    def _step(self, exploration: Exploration, seconds: float) -> None:
        """Run one process of an exploration."""
        step = exploration.next_step
        assert step is not None
        self.report(
            Exploring(
                name=exploration.item.kind.name,
                dtype=exploration.item.dtype,
                index=self.explorations.index(exploration) + 1,
                total=len(self.plan.items),
                again=exploration.steps_taken > 0,
                **self._progress(),
            )
        )
        session = self.clock.run(step, seconds=seconds)
        for measurement, value in exploration.take(session, self.clock.elapsed):
            self.report(
                Tried(
                    operation=measurement.operation,
                    configuration=measurement.configuration,
                    speedup=None if value is None else exp(-value),
                    failure=measurement.failure,
                    **self._progress(),
                )
            )

    def _explore_further(self) -> Iterator[Entry]:
        """Explore one more step where the expected improvement is largest; a better leader goes to the test.

        Where there is no time for a step and the test of what it finds, what may be better than an accepted choice is
        tested.
        """
        explorable = self._explorable(within=self.clock.remaining)
        unfinished = [each for each in explorable if each.next_seconds < self._time_for(each)]
        for size in self.sizes.values():
            is_over = size.exploration.next_step is not None and size.exploration not in unfinished
            if is_over and size.has_proof and not size.under_test:
                self._test_rival(size)
        if not unfinished:
            yield from self._confirm()
            return
        exploration = max(unfinished, key=lambda each: each.promise)
        self._step(exploration, self._time_for(exploration))
        if exploration.next_step is None or exploration.steps_taken % 2 == 0:
            yield from self._nominate(exploration)

    def _time_for(self, exploration: Exploration) -> float:
        """Return the seconds for a step: if it can only find what is better than accepted choices, without the test."""
        has_proofs = all(self.sizes[operation].has_proof for operation in exploration.sizes)
        proof_seconds = max(PROOF_SECONDS, LEAST_PROCESSES_OF_LARGE_GAIN * exploration.next_seconds)
        return self.clock.remaining - proof_seconds * has_proofs

    # --- confirmation ---

    def _confirm(self) -> Iterator[Entry]:
        """Run rounds until nothing under test is open or the time is over; yields the entries that they decide."""
        for candidate in self.confirmation.rounds(self._report_round):
            yield from self._conclude(candidate)

    def _nominate(self, exploration: Exploration) -> Iterator[Entry]:
        """Put the leader of every size to the test, unless one is under test already; yields what needs no test."""
        for operation in exploration.sizes:
            size = self.sizes[operation]
            self._withdraw(size)
            if not size.under_test:
                self._put_to_test(size, self._nominee(size))
        yield from self._settle(exploration.sizes)

    def _withdraw(self, size: _Size) -> None:
        """Take back a first candidate that leads no more: unvisited, it has cost no error yet."""
        test = size.tested[0] if len(size.tested) == 1 and not size.quiet else None
        if test is None or test.verdict is not Verdict.OPEN or test.visits or self.saves_cpu:
            return
        if test.choice == size.search.leader():
            return
        size.tested.pop()
        self.confirmation.withdraw(test)

    def _nominee(self, size: _Size) -> Configuration:
        """Return the configuration to put to the test: by the objective; the fastest where that one has failed."""
        thriftiest = size.evidence.thriftiest(log1p(CPU_SLACK)) if self.saves_cpu else None
        if thriftiest is not None and (thriftiest not in size.tested_choices or size.best is None):
            return thriftiest
        leader = size.search.leader()
        is_accepted = any(test.verdict is Verdict.ACCEPTED for test in size.tested)
        if self.saves_cpu or is_accepted or leader not in size.tested_choices:
            return leader
        return size.evidence.runner_up(size.tested_choices)

    def _put_to_test(self, size: _Size, choice: Configuration) -> None:
        if choice.is_default or choice in size.tested_choices or len(size.tested) >= len(SHARES):
            return
        item, evidence = size.exploration.item, size.evidence
        accepted = size.best if size.has_proof else None
        proved = 0.0 if accepted is None else evidence.estimate(accepted.choice)
        seemed = evidence.estimate(choice)
        if evidence.is_pessimistic(choice):
            seemed = min(seemed, UNSEEN_GAIN)
        if accepted is not None and seemed > proved - BETTER:
            return
        thrift = -evidence.cpu_ratio(choice) if self.saves_cpu else 0.0
        saves = thrift > log1p(MARGIN)
        candidate = Candidate(
            operation=size.operation,
            choice=choice,
            capacity=self.capacity,
            fewer_cpus=choice.cpus < self.environment.default_cpus(item.kind),
            bound=log1p(CPU_SLACK) if saves else -log1p(MARGIN),
            thrift=thrift if saves else 0.0,
            error=candidate_error(len(size.tested)),
            seemed=seemed,
            proved=proved,
            weight=item.weight,
            explored=tuple(evidence.visits.get(choice, ())),
            most_processes=item.most_processes or MOST_PROCESSES,
            pairs=item.pairs,
        )
        size.tested.append(candidate)
        self.confirmation.add(candidate)
        if self.environment.neighbours:
            size.quiet[choice] = replace(
                candidate,
                quiet=True,
                fewer_cpus=False,
                bound=QUIET_BOUND,
                thrift=0.0,
                proved=0.0,
                explored=(),
                visits=[],
            )
            self.confirmation.add(size.quiet[choice])

    def _report_round(self) -> None:
        self.report(
            Confirming(
                decided=sum(size.entry is not None for size in self.sizes.values()),
                undecided=len(self.confirmation.open),
                seconds_left=self.confirmation.seconds_left,
                **self._progress(),
            )
        )

    def _conclude(self, candidate: Candidate, *, last: bool = False) -> Iterator[Entry]:
        """Yield the entry that a verdict leads to; after a refusal, the next candidate goes to the test.

        None does once the time is over, when every verdict is the size's last, or while its exploration goes on.
        """
        size = self.sizes[candidate.operation]
        is_accepted = candidate.verdict is Verdict.ACCEPTED
        if not candidate.quiet:
            size.evidence.learn(candidate.choice, candidate.visits)
        if not is_accepted:
            for test in (*size.tested, *size.quiet.values()):  # with its counterpart next to the neighbours
                if test.choice == candidate.choice and test.verdict is Verdict.OPEN:
                    test.verdict, test.reason = Verdict.DROPPED, candidate.reason
            goes_on = self.clock.remaining > 0 and not last
            if goes_on and not any(test.verdict is Verdict.ACCEPTED for test in size.tested):
                following = size.search.leader() if self.saves_cpu else size.evidence.runner_up(size.tested_choices)
                self._put_to_test(size, following)
        if size.under_test:
            return
        yield from self._settle([size.operation])
        if is_accepted and not last:
            self._test_rival(size)

    def _test_rival(self, size: _Size) -> None:
        """Put to the test what may now be faster by `BETTER` than the accepted choice, which had led by chance."""
        if not (self.environment.neighbours or self.saves_cpu):
            self._put_to_test(size, size.evidence.rival(size.tested_choices))

    # --- decision ---

    def _settle(self, operations: Iterable[Operation]) -> Iterator[Entry]:
        """Yield the entries of these sizes that are decided now and were not, or not so, before."""
        alternatives_of: Mapping[Operation, tuple[Alternative, ...]] = {}
        for operation in operations:
            size = self.sizes[operation]
            if size.under_test:
                continue
            if operation not in alternatives_of:
                alternatives_of = alternatives(size.exploration.evidence)
            entry = self._entry(size, alternatives_of.get(operation, ()))
            if size.entry is None or entry.choice != size.entry.choice or entry.status != size.entry.status:
                size.entry = entry
                self.report(Decided(entry=entry, **self._progress()))
                yield entry

    def _close(self) -> Iterator[Entry]:
        """Decide whatever is still open when the time is over."""
        for candidate in list(self.confirmation.close()):
            yield from self._conclude(candidate, last=True)
        for operation in self.plan.operations:
            size = self.sizes.get(operation)
            if size is None:
                kind, reason = self.plan.item_of(operation).kind, self.too_long.get(operation, OUT_OF_TIME)
                entry = make_bare_entry(operation, kind, self.environment, reason)
            elif size.entry is None:
                ways = alternatives(size.exploration.evidence).get(operation, ())
                entry = size.entry = self._entry(size, ways)
            else:
                continue
            self.report(Decided(entry=entry, **self._progress()))
            yield entry

    def _entry(self, size: _Size, ways: tuple[Alternative, ...]) -> Entry:
        best = size.best
        return decide(
            size.operation,
            size.exploration.item.kind,
            environment=self.environment,
            evidence=size.evidence,
            candidate=best,
            objective=self.plan.objective,
            quiet=None if best is None else size.quiet.get(best.choice),
            alternatives=ways,
        )

    def _progress(self) -> dict[str, float]:
        return {"elapsed": self.clock.elapsed, "remaining": self.clock.remaining}
