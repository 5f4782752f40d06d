"""A calibration on a machine that is a formula: a profile with its journal, real but for the clock and the CPUs."""

from collections.abc import Sequence
from math import exp
from pathlib import Path
from random import Random

from autotune.bench.selftest import SelfTest
from autotune.model.catalogue import CATALOGUE, Family, WorkUnit
from autotune.model.configuration import Configuration, Knob
from autotune.model.operation import Operation
from autotune.model.profile import Profile, Provenance
from autotune.report.rows import Subject
from autotune.search.environment import Environment
from autotune.search.journal import Header, Journal, sessions
from autotune.search.plan import make_plan
from autotune.search.request import Effort, Request
from support.calibration_runs import run_calibration
from support.fake_bench import FakeBench
from support.profile_builders import KEY

MADE = Provenance(
    created="2026-11-22T13:00:00+00:00",
    autotune="0.1.0",
    host="here",
    cpu="A CPU of eight cores",
    resolution=0.012,
    capacity=7.6,
    memory_bandwidth=4.2e10,
    peak_flops=3.1e11,
    effort="normal",
    error_per_rule=0.025,
    rules_tested=12,
)


def seconds(operation: Operation, configuration: Configuration, luck: Random) -> float:
    """Return the time on a machine of eight cores: Amdahl, memory's bandwidth, and a cost for every thread."""
    kind = CATALOGUE[operation.name]
    if kind.family is Family.TASKS:  # a trial runs a few of them
        operation = Operation(name=operation.name, sizes=(("n", operation.size["n"]), ("tasks", 2)))
    rate = 4e10 if kind.unit is WorkUnit.FLOPS else 1.2e10
    work = kind.work_of(operation) / rate + 2e-6
    plain = 8 if Knob.BLAS_THREADS in kind.knobs else 1
    blas, workers = configuration.blas_threads or plain, configuration.workers or 1
    both = min(8.0, blas**0.75 * workers**0.95) if kind.unit is WorkUnit.FLOPS else min(4.5, workers**0.9)
    cost = 4e-6 * (blas - 1) + 1.5e-5 * (workers - 1)
    cut = 1.0 if configuration.chunk is None else 1 + 0.03 * abs(Random(configuration.chunk).random() - 0.3)
    return float((work / both * cut + cost) * exp(luck.gauss(0, 0.006)))


def calibrated(
    folder: Path, operations: Sequence[str] = (), *, label: str = "here", budget: float = 330.0, slower: float = 1.0
) -> Subject:
    """The subject of a report: what calibrating these operations finds; all of the catalogue without any."""
    path = folder / "journal.jsonl"
    environment = Environment(usable_cpus=8, default_threads=8, l2_bytes=2**21, l3_bytes=2**25, memory_bytes=2**34)
    request = Request(operations=tuple(operations), effort=Effort.NORMAL, budget_seconds=budget)
    header = Header(request=request, environment=environment, self_test=SelfTest(resolution=0.012, capacity=7.6))
    journal = Journal(FakeBench(lambda *what: slower * seconds(*what)), path, header)
    entries, _, _ = run_calibration(journal, request, environment)
    ordered = make_plan(request, environment).in_order(entries)
    profile = Profile(key=KEY, entries=ordered, provenance=MADE)
    return Subject(label=label, profile=profile, path=f"{label}.yaml", sessions=sessions(path))
