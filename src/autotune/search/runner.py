"""Runner of everything that measures this machine: it holds lock, detection, self-test, journal and provenance.

Calibrations, verifications, commands, the nodes of a cluster and notebooks all go through here; it is the only part of
search with side effects.
"""

import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from statistics import median
from time import monotonic

from autotune._version import __version__
from autotune.bench.blas_wait import BlasWait, measure_blas_wait
from autotune.bench.command_bench import CommandBench
from autotune.bench.host_lock import host_lock
from autotune.bench.neighbours import Accompanied, neighbours
from autotune.bench.process_bench import ProcessBench
from autotune.bench.selftest import SelfTest, run_selftest
from autotune.bench.user_workload import PRESUMED, UserWorkload
from autotune.controls.placement import available_placements
from autotune.controls.wait_policy import DEFAULT_EXPONENT
from autotune.errors import ProfileError
from autotune.host.detect import detect
from autotune.host.identity import governor, host_id, is_measured_here, marks
from autotune.host.numeric_libraries import libraries
from autotune.host.usable_cpus import affinity, schedulable_cpus, usable_cpus
from autotune.model.catalogue import Family
from autotune.model.configuration import DEFAULT
from autotune.model.entry import Entry
from autotune.model.machine import Allocation, Machine
from autotune.model.policy import memory_allowance
from autotune.model.profile import Key, Profile, Provenance
from autotune.model.similar_machines import rank_profiles
from autotune.profiles import learned_choices, profile_files, resolve
from autotune.profiles.folders import user_profiles
from autotune.profiles.profile_document import entry_order
from autotune.search.environment import Environment
from autotune.search.events import Listener, SelfTestStarted
from autotune.search.journal import Header, Journal, journal_path
from autotune.search.machine_states import Capacity
from autotune.search.microarchitectures import generations, host_microarchitecture
from autotune.search.pipeline import Calibration
from autotune.search.plan import Plan, make_plan
from autotune.search.request import Request
from autotune.search.sequential_test import ERROR
from autotune.search.time_budget import Clock
from autotune.search.tune_command import CommandRequest, command_plan
from autotune.search.verification import Check, confirm, select_verifiable, verify
from autotune.search.warm_starts import warm_starts

SELF_TEST_SHARE = 0.01
"""Of the budget, for the resolution."""
SELF_TEST_SECONDS = (1.5, 4.0)
"""It takes no less, or it would see too few pairs, and no more."""
CEILINGS_FROM = 120.0
"""Seconds of budget from which the machine's limits are measured, for two seconds and the report's sake."""
WAIT_FROM = 120.0
"""Seconds of budget from which the time-out of BLAS threads is measured."""
WAIT_SECONDS = 16.0
"""It takes about as long, once for a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of a calibration."""

    profile: Profile
    finished: bool
    """False if it was interrupted: the profile then holds what was decided before."""
    wall_seconds: float = 0.0
    sampled_seconds: float = 0.0
    """Of all timed samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workbench:
    """This machine, and what measures on it."""

    machine: Machine
    allocation: Allocation
    key: Key
    bench: ProcessBench
    environment: Environment


def calibrate_machine(
    request: Request,
    *,
    report: Listener,
    resume: bool = False,
    relatives: Sequence[Profile] = (),
    self_test: SelfTest | None = None,
) -> Outcome:
    """Measure this machine.

    With `resume` it goes on with the journal of this allocation, if that was begun for the same request. The choices of
    `relatives`, profiles of other machines, and of the user's own profiles are tried first, those of the nearest
    machines before others. With a `self_test`, which `examine` ran here, nothing is tested again, and the whole budget
    is for operations.

    Scope of effect: runs trial processes, holds the host's lock meanwhile, and writes the journal of this allocation
    into the state folder. Ctrl-C ends it early. Raises HostBusy; BadSize and BadBudget for what cannot be done here.
    """
    with host_lock():
        host = _workbench(request)
        path = journal_path(host.key)
        plan = make_plan(request, host.environment)  # refuses what cannot be done before anything is measured
        header = Header.read(path) if resume else None
        resume = header is not None and header.request.with_pools() == request
        if header is None or not resume:
            header = _new_header(request, host, plan, report, relatives, self_test)
        plan = make_plan(header.request, header.environment)
        host.bench.wait(header.self_test.blas_wait)
        entries: list[Entry] = []
        finished = True
        with neighbours(request.neighbours) as pids:
            journal = Journal(Accompanied(host.bench, pids), path, header, resume=resume)
            clock = Clock(
                bench=journal,
                capacity=_capacity(header.environment),
                budget=request.seconds,
                seed=request.seed,
                elapsed=header.self_test.seconds if self_test is None else 0.0,
            )
            calibration = Calibration(
                plan=plan, environment=header.environment, clock=clock, report=report, warm_starts=header.warm_starts
            )
            try:
                for entry in calibration.entries():
                    entries.append(entry)  # noqa: PERF402  # what was decided before an interruption is kept
                journal.finish()
            except KeyboardInterrupt:
                finished = False
    return Outcome(
        profile=_profile(request, host, header.self_test, clock.capacity, plan.in_order(entries)),
        finished=finished,
        wall_seconds=clock.elapsed,
        sampled_seconds=clock.sampled_seconds,
    )


def _new_header(
    request: Request,
    host: _Workbench,
    plan: Plan,
    report: Listener,
    relatives: Sequence[Profile],
    self_test: SelfTest | None,
) -> Header:
    """Return the header of a new journal: the machine's self-test, pools at work, and choices proved elsewhere."""
    tested = self_test or _examine(request, host, report)
    pools, seconds = _pools_at_work(plan, host, max(0.0, request.seconds - tested.seconds))
    others = rank_profiles([*_own_profiles(), *relatives], host.key, host_microarchitecture(), generations)
    taught = warm_starts([*learned_choices.read(), *others])
    # in the order of the journal, so that a resumed calibration goes the same way
    ordered = (profile.replace(entries=tuple(sorted(profile.entries, key=entry_order))) for profile in taught)
    return Header(
        request=request.with_pools(pools),
        environment=host.environment,
        self_test=replace(tested, seconds=tested.seconds + seconds),
        warm_starts=tuple(ordered),
    )


def foresee(request: Request) -> tuple[Key, Plan]:
    """Describe this machine and what a calibration would measure on it. Measures nothing, takes no lock.

    Raises what `make_plan` raises for what cannot be done here.
    """
    host = _workbench(request)
    return host.key, make_plan(request, host.environment)


def examine(request: Request, *, report: Listener) -> SelfTest:
    """Run the self-test alone, for several calibrations of one request on this machine.

    Scope of effect: holds the host's lock for some seconds. Raises HostBusy.
    """
    with host_lock():
        return _examine(request, _workbench(request), report)


def confirm_choices(request: Request, choices: Sequence[Entry], *, self_test: SelfTest) -> Profile:
    """Test on this host what another host of its class chose, without exploration.

    Scope of effect: holds the host's lock, for the request's budget at most. Raises HostBusy.
    """
    with host_lock():
        host = _workbench(request)
        host.bench.wait(self_test.blas_wait)
        with neighbours(request.neighbours) as pids:
            bench, capacity = Accompanied(host.bench, pids), _capacity(host.environment)
            clock = Clock(bench=bench, capacity=capacity, budget=request.seconds, seed=request.seed)
            entries = confirm(choices, request.workload, environment=host.environment, clock=clock)
        return _profile(request, host, self_test, capacity, entries)


def verify_profile(profile: Profile, *, seconds: float, workload: UserWorkload | None) -> Iterator[Check]:
    """Measure a profile's choices once more, under their background load; return the verdict on each.

    Scope of effect: holds the host's lock, for `seconds` at most. Raises HostBusy.
    """
    made = profile.provenance
    request = Request(budget_seconds=seconds, neighbours=made.neighbours, copies=made.copies, workload=workload)
    names = () if workload is None else (workload.name,)
    entries, refused = select_verifiable(profile, resolve.this_site(*usable_cpus()), own=names)
    yield from refused
    if not entries:
        return
    with host_lock(), neighbours(made.neighbours) as pids:
        host = _workbench(request)
        host.bench.wait(profile.blas_wait)
        capacity = _capacity(host.environment, made.capacity)
        clock = Clock(bench=Accompanied(host.bench, pids), capacity=capacity, budget=seconds)
        yield from verify(entries, request.workload, environment=host.environment, clock=clock)


def tune_command(request: CommandRequest, *, report: Listener) -> Entry:
    """Tune a whole command on this machine.

    Scope of effect: what the command does, as often as it is run; holds the host's lock meanwhile. Raises
    BadWorkload if it fails as it stands, BadBudget, HostBusy; Ctrl-C ends it, with nothing decided.
    """
    with host_lock():
        environment = Environment(usable_cpus=detect()[1].usable_cpus)
        bench = CommandBench(request.command, metric=request.metric, patience=request.run_seconds)
        first_seconds = bench.probe()
        command = bench.command = replace(request.command, runtimes=bench.runtimes)
        request = replace(request, command=command)
        clock = Clock(
            bench=bench,
            capacity=Capacity(usable_cpus=environment.usable_cpus),
            budget=request.seconds,
            seed=request.seed,
            elapsed=first_seconds,
        )
        plan = command_plan(request, environment, first_seconds)
        calibration = Calibration(plan=plan, environment=environment, clock=clock, report=report)
        (entry,) = plan.in_order(calibration.entries())
    evidence = replace(entry.evidence, safe_threads=())  # BLAS's are but a part of a command's threads
    if request.metric is None:
        return replace(entry, evidence=evidence)
    walls = {choice: median(seconds) for choice, seconds in bench.wall_seconds.items() if seconds}
    tuned = None if entry.choice.is_default else walls.get(entry.choice)
    evidence = replace(evidence, default_seconds=walls.get(DEFAULT), tuned_seconds=tuned)
    return replace(entry, evidence=evidence)


def profile_with(entry: Entry, path: Path) -> Profile:
    """Make a profile of this machine with this entry, to be joined with the one at `path`.

    What made that one stays said, if this host made it.
    """
    key = this_key()
    with suppress(ProfileError):  # there is none
        old = profile_files.read(path)
        if old.key == key and is_measured_here(old.provenance):
            return Profile(key=key, entries=(entry,), provenance=old.provenance)
    provenance = replace(_made_here(detect()[0]), error_per_rule=ERROR, rules_tested=int(entry.evidence.processes > 0))
    return Profile(key=key, entries=(entry,), provenance=provenance)


def this_key() -> Key:
    """Return the key of a profile of this machine and allocation. Loads NumPy, whose BLAS is part of it."""
    return resolve.key(*detect())


def _workbench(request: Request) -> _Workbench:
    machine, allocation = detect()
    memory_bytes = allocation.memory_bytes
    bench = ProcessBench(
        workloads={} if request.workload is None else {request.workload.name: request.workload},
        memory_bytes=memory_allowance(memory_bytes),
        copies=request.copies,
        neighbours=request.neighbours,
    )
    key = resolve.key(machine, allocation)
    is_movable = affinity() is not None  # on macOS threads are not
    environment = Environment(
        usable_cpus=allocation.usable_cpus,
        default_threads=_default_threads(bench),
        l2_bytes=machine.l2_bytes,
        l3_bytes=machine.l3_bytes,
        memory_bytes=None if memory_bytes is None else memory_bytes // request.copies,
        neighbours=request.neighbours,
        copies=request.copies,
        placements=available_placements([cpu for cpu in machine.cpus if is_movable and cpu.number in allocation.cpus]),
        full_capacity=full_capacity(key),
    )
    return _Workbench(machine=machine, allocation=allocation, key=key, bench=bench, environment=environment)


def _capacity(environment: Environment, known_best: float | None = None) -> Capacity:
    return Capacity(
        usable_cpus=environment.usable_cpus, known_best=environment.full_capacity if known_best is None else known_best
    )


def full_capacity(key: Key) -> float | None:
    """Return the full capacity in the user's own newest profile of this machine and allocation."""
    made = [profile.provenance for profile in _own_profiles() if profile.key == key]
    return max(
        (each for each in made if each.capacity is not None), key=lambda each: each.created or "", default=Provenance()
    ).capacity


def _own_profiles() -> list[Profile]:
    """Return the user's own profiles, of this machine or any other."""
    profiles = []
    for path in sorted(user_profiles().glob("*.yaml")):
        with suppress(ProfileError, OSError):
            profiles.append(profile_files.read(path))
    return profiles


def _default_threads(bench: ProcessBench) -> int | None:
    """Return the BLAS threads of a fresh trial: this process's, unless its environment limits what a trial's does not.

    This process may be held to fewer CPUs since its library was loaded; a trial starts with these.
    """
    threads = [library.threads for library in libraries(load=True) if library.threads is not None]
    if not threads:
        return None
    return schedulable_cpus() if bench.scrubbed else min(threads[0], schedulable_cpus())


def _examine(request: Request, host: _Workbench, report: Listener) -> SelfTest:
    """Run the self-test, under the background load that the trials will have."""
    report(SelfTestStarted(elapsed=0.0, remaining=request.seconds))
    shortest, longest = SELF_TEST_SECONDS
    wait = _blas_wait(request, host)
    host.bench.wait(wait.exponent)
    with neighbours(request.neighbours):
        tested = run_selftest(
            host.bench,
            usable_cpus=host.allocation.usable_cpus,
            memory_bytes=host.allocation.memory_bytes,
            seconds=max(shortest, min(longest, SELF_TEST_SHARE * request.seconds)),
            seed=request.seed,
            rates=request.seconds >= CEILINGS_FROM,
        )
    return replace(tested, blas_wait=wait.exponent, loops_after_blas=wait.loops, seconds=tested.seconds + wait.seconds)


def _pools_at_work(plan: Plan, host: _Workbench, seconds: float) -> tuple[tuple[str, ...], float]:
    """Name the thread pools that the user's function keeps busy at its largest size, and the seconds that this took.

    BLAS is presumed for operations of the catalogue, and where there is one CPU.
    """
    sizes = [size for item in plan.items if item.kind.family is Family.USER for size in item.operations]
    if not sizes or host.environment.usable_cpus == 1:
        return PRESUMED, 0.0
    began = monotonic()
    largest = max(sizes, key=lambda each: prod(each.size.values()))
    pools = host.bench.pools_at_work(largest, seconds)
    return pools, monotonic() - began


def _blas_wait(request: Request, host: _Workbench) -> BlasWait:
    """Return how long idle BLAS threads should spin, as an earlier calibration found or as is measured now.

    It is measured where there is the time for it and no background load. An earlier result that kept the default is
    measured again: it may have been noise.
    """
    results = (
        BlasWait(exponent=profile.blas_wait, loops=profile.loops_after_blas)
        for profile in _own_profiles()
        if profile.key == host.key and profile.blas_wait is not None
    )
    earlier = next(results, BlasWait())
    is_known = earlier.exponent not in {None, DEFAULT_EXPONENT}
    if is_known or request.seconds < WAIT_FROM or host.environment.has_background_load:
        return earlier
    measured = measure_blas_wait(
        host.key.software, host.bench.environ, cpus=host.allocation.usable_cpus, seconds=WAIT_SECONDS
    )
    return measured or earlier


def _made_here(machine: Machine) -> Provenance:
    """Return the provenance of anything that this host measures now."""
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        autotune=__version__,
        host=host_id(),
        marks=marks(),
        cpu=machine.name,
        kernel=f"{platform.system()} {platform.release()}",
        governor=governor(),
    )


def _profile(
    request: Request, host: _Workbench, self_test: SelfTest, capacity: Capacity, entries: Sequence[Entry]
) -> Profile:
    """Make the profile of what was measured now."""
    provenance = replace(
        _made_here(host.machine),
        microarchitecture=host_microarchitecture(),
        renumbered_cpus=host.allocation.is_renumbered,
        scrubbed=tuple(host.bench.scrubbed),
        resolution=self_test.resolution,
        capacity=self_test.capacity if capacity.lasting is None else capacity.lasting,
        memory_bandwidth=self_test.memory_bandwidth,
        peak_flops=self_test.peak_flops,
        effort=request.effort,
        seed=request.seed,
        neighbours=request.neighbours,
        copies=request.copies,
        error_per_rule=ERROR,
        rules_tested=sum(entry.evidence.processes > 0 for entry in entries),
    )
    return Profile(
        key=host.key,
        entries=tuple(entries),
        provenance=provenance,
        blas_wait=self_test.blas_wait,
        loops_after_blas=self_test.loops_after_blas,
    )
