"""A calibration of this machine, from the self-test to the profile; the only part of search with side effects."""

import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import autotune
from autotune.bench import selftest
from autotune.bench.host_lock import host_lock
from autotune.bench.neighbours import Accompanied, neighbours
from autotune.bench.process_bench import ProcessBench
from autotune.bench.user_workload import UserWorkload
from autotune.controls.placement import offered
from autotune.errors import ProfileError
from autotune.host.detect import detect
from autotune.host.identity import governor, host_id
from autotune.host.numeric_libraries import libraries
from autotune.host.usable_cpus import affinity, schedulable_cpus
from autotune.model.entry import Entry
from autotune.model.machine import Allocation, Machine
from autotune.model.profile import Key, Profile, Provenance
from autotune.profiles import profile_files, resolve
from autotune.profiles.folders import state_dir, user_profiles
from autotune.search.cross_confirmation import seconded
from autotune.search.environment import Site
from autotune.search.events import Listener, Testing
from autotune.search.journal import Journal, header
from autotune.search.pipeline import Item, as_planned, calibrate, plan
from autotune.search.request import Request
from autotune.search.sequential_test import ERROR
from autotune.search.similar_machines import microarchitecture, ranked
from autotune.search.time_budget import Clock
from autotune.search.warm_starts import lessons, read_lessons, written

SELF_TEST_SHARE = 0.02
"""Of the budget, for one go of the self-test."""
SELF_TEST_SECONDS = (2.0, 6.0)
"""It takes no less, or it would see too few pairs, and no more."""

SELF_TEST_LIMIT = 0.06
"""Of the budget, after which no further go begins."""
CEILINGS_FROM = 60.0
"""Seconds of budget from which the machine's limits are measured, for two seconds and the report's sake."""
SELF_TESTS = 3
FINE_RESOLUTION = 0.03
"""A coarser one may be a bad moment: it is measured again, and the finest of three is the machine's."""


Tested = Mapping[str, Any]
"""What a self-test found, as plain values: site, capacity, ceilings, and the seconds spent on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a campaign leads to."""

    profile: Profile
    finished: bool
    """False if it was interrupted: the profile then holds what was decided before."""


def campaign(
    request: Request,
    *,
    report: Listener,
    own: UserWorkload | None = None,
    asked: Mapping[str, Any] | None = None,
    resume: bool = False,
    relatives: Sequence[Profile] = (),
    tested: Tested | None = None,
) -> Outcome:
    """Measure this machine.

    What the user's own profiles and those of `relatives` chose is tried first, nearest kin first.
    `own` is the user's function that `request.workload` describes. `asked` is kept with the sessions for
    whoever resumes. `tested` is what `examine` found here: nothing is tested again, and the whole budget is for
    operations. Scope of effect: runs trial processes, holds the host's lock meanwhile, and writes the
    journal of this allocation into the state folder. Raises HostBusy, and what `calibrate` raises; Ctrl-C
    ends it early.
    """
    with host_lock():
        machine, allocation = detect()
        key = _key(machine, allocation)
        path = journal_path(key)
        bench = _bench(allocation, request, own)
        site = _site(machine, allocation, bench, request)
        plan(request, site)  # what cannot be done is refused before anything is measured
        known = header(path) if resume else None
        if known is None:
            tested = tested or _tested(request, site, bench, allocation, report)
            known = {
                **tested,
                "asked": dict(asked or {}),
                "lessons": written(lessons(ranked([*_at_hand(), *relatives], key, microarchitecture()))),
            }
        entries: list[Entry] = []
        finished = True
        with neighbours(request.neighbours) as pids:
            site = Site(**known["site"])
            journal = Journal(Accompanied(bench, pids), path, known, resume=resume)
            try:
                for entry in calibrate(
                    request,
                    site=site,
                    bench=journal,
                    report=report,
                    spent=known["spent"],
                    known=read_lessons(known.get("lessons", [])),
                ):
                    entries.append(entry)  # noqa: PERF402  # what was decided before an interruption is kept
            except KeyboardInterrupt:
                finished = False
    provenance = _provenance(request, machine, bench, known, entries)
    asked_for = as_planned(entries, plan(request, site))
    return Outcome(profile=Profile(key=key, entries=asked_for, provenance=provenance), finished=finished)


def foresee(request: Request, own: UserWorkload | None = None) -> tuple[Key, list[Item]]:
    """What this machine is, and what a campaign would measure on it. Measures nothing, takes no lock.

    Raises what `plan` raises for what cannot be done here.
    """
    machine, allocation = detect()
    bench = _bench(allocation, request, own)
    return _key(machine, allocation), plan(request, _site(machine, allocation, bench, request))


def examine(request: Request, *, report: Listener) -> Tested:
    """The self-test of a campaign by itself, for several campaigns of one request on this machine.

    Scope of effect: holds the host's lock for about ten seconds. Raises HostBusy.
    """
    with host_lock():
        machine, allocation = detect()
        bench = _bench(allocation, request, None)
        site = _site(machine, allocation, bench, request)
        return {**_tested(request, site, bench, allocation, report), "spent": 0.0}


def second(
    request: Request, choices: Sequence[Entry], *, tested: Tested, own: UserWorkload | None = None
) -> Profile:
    """This host's word on what another host of its class chose: a proof on fresh processes, without a search.

    Scope of effect: holds the host's lock, for the request's budget at most. Raises HostBusy.
    """
    with host_lock():
        machine, allocation = detect()
        bench = _bench(allocation, request, own)
        clock = Clock(budget=request.seconds, seed=request.seed)
        with neighbours(request.neighbours) as pids:
            entries = seconded(
                choices,
                request.workload,
                site=Site(**tested["site"]),
                bench=Accompanied(bench, pids),
                clock=clock,
            )
        provenance = _provenance(request, machine, bench, tested, entries)
        return Profile(key=_key(machine, allocation), entries=tuple(entries), provenance=provenance)


def _bench(allocation: Allocation, request: Request, own: UserWorkload | None) -> ProcessBench:
    return ProcessBench(
        workloads={} if own is None else {own.name: own},
        memory_bytes=None if allocation.memory_bytes is None else allocation.memory_bytes // 4,
        copies=request.copies,
        neighbours=request.neighbours,
    )


def _tested(
    request: Request, site: Site, bench: ProcessBench, allocation: Allocation, report: Listener
) -> Tested:
    """What the self-test finds, and the time that it takes."""
    began = monotonic()
    report(Testing(elapsed=0.0, remaining=request.seconds))
    capacity = selftest.capacity(allocation.usable_cpus)
    ceilings = _ceilings(allocation, request)
    with neighbours(request.neighbours):
        resolution = _resolution(bench, request)
    return {
        "site": asdict(replace(site, resolution=resolution)),
        "capacity": capacity,
        "ceilings": ceilings,
        "spent": monotonic() - began,
    }


def _at_hand() -> list[Profile]:
    """The user's own profiles, of this machine or any other: what they chose is tried first."""
    found = []
    for path in sorted(user_profiles().glob("*.yaml")):
        with suppress(ProfileError, OSError):
            found.append(profile_files.read(path))
    return found


def this_key() -> Key:
    """What a profile of this machine and allocation is for. Loads NumPy, whose BLAS is part of it."""
    return _key(*detect())


def begun(key: Key, asked: Mapping[str, Any]) -> bool:
    """Was a campaign that was asked just this begun for this allocation? Then it can be gone on with."""
    head = header(journal_path(key))
    return head is not None and head["asked"] == json.loads(json.dumps(asked))


def journal_path(key: Key) -> Path:
    """Where the sessions of the last campaign on this machine and allocation are kept."""
    return state_dir() / f"calibration-{key.digest}.jsonl"


def _key(machine: Machine, allocation: Allocation) -> Key:
    return resolve.key(machine, allocation.usable_cpus, allocation.limit)


def _site(machine: Machine, allocation: Allocation, bench: ProcessBench, request: Request) -> Site:
    """The site before its self-test."""
    memory_bytes = allocation.memory_bytes
    return Site(
        usable_cpus=allocation.usable_cpus,
        default_threads=_default_threads(bench),
        l2_bytes=machine.l2_bytes,
        l3_bytes=machine.l3_bytes,
        memory_bytes=None if memory_bytes is None else memory_bytes // request.copies,
        neighbours=request.neighbours,
        copies=request.copies,
        placements=_placements(machine, allocation),
    )


def _placements(machine: Machine, allocation: Allocation) -> dict[str, int]:
    """What the CPUs of this process offer; nothing where single threads cannot be moved, as on macOS."""
    if affinity() is None:
        return {}
    return offered([cpu for cpu in machine.cpus if cpu.number in allocation.cpus])


def _resolution(bench: ProcessBench, request: Request) -> float | None:
    """What the self-test says, in the company that the trials will have."""
    shortest, longest = SELF_TEST_SECONDS
    seconds = max(shortest, min(longest, SELF_TEST_SHARE * request.seconds))
    finest: float | None = None
    end = monotonic() + SELF_TEST_LIMIT * request.seconds
    for go in range(SELF_TESTS):
        found = selftest.resolution(bench, seed=request.seed + go, seconds=seconds)
        finest = min((one for one in (finest, found) if one is not None), default=None)
        if monotonic() > end or (finest is not None and finest <= FINE_RESOLUTION):
            break
    return finest


def _ceilings(allocation: Allocation, request: Request) -> tuple[float | None, float | None]:
    """The machine's limits, where the budget can spare the seconds."""
    if request.seconds < CEILINGS_FROM:
        return None, None
    return selftest.ceilings(allocation.usable_cpus, allocation.memory_bytes)


def _default_threads(bench: ProcessBench) -> int | None:
    """BLAS threads of a fresh trial: those of this process, unless its environment limits what a trial's does not.

    This process may be held to fewer CPUs since its library was loaded; a trial starts with these.
    """
    found = [library.threads for library in libraries(load=True) if library.threads is not None]
    if not found:
        return None
    return schedulable_cpus() if bench.scrubbed else min(found[0], schedulable_cpus())


def _provenance(
    request: Request,
    machine: Machine,
    bench: ProcessBench,
    known: Tested,
    entries: Sequence[Entry],
) -> Provenance:
    """Where these entries come from; `known` is what the self-test found."""
    bandwidth, flops = known.get("ceilings", (None, None))
    proved = {(one.operation.name, one.operation.dtype) for one in entries if one.processes}
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        autotune=autotune.__version__,
        host=host_id(),
        cpu=machine.name,
        microarchitecture=microarchitecture(),
        kernel=f"{platform.system()} {platform.release()}",
        governor=governor(),
        scrubbed=tuple(bench.scrubbed),
        resolution=known["site"]["resolution"],
        capacity=known["capacity"],
        memory_bandwidth=bandwidth,
        peak_flops=flops,
        effort=request.effort,
        seed=request.seed,
        neighbours=request.neighbours,
        copies=request.copies,
        error_per_rule=ERROR,
        rules_tested=len(proved),
    )
