#!/usr/bin/env python3
"""Decisions of a whole calibration within its time, on simulated machines whose true times are known.

    scripts/benchmarks/run simulated_catalogue                                    quick, on 2 CPUs
    scripts/benchmarks/run simulated_catalogue --effort normal --cpus 64,256 --noise none,common --json
    scripts/benchmarks/run simulated_catalogue --machines 5 --verify 240          what holds two hours later

Each run is what `autotune calibrate` does with its usual budget, from the request to the entries, over the whole
catalogue; processes, inputs and discarded calls cost the virtual time that they cost on a real machine. `open` counts
the entries that are undecided or noisy. The share of the gain is the sum of the logarithms of the true speed-ups of
what was chosen over that of the best configurations; `slower` counts choices that truly take over 1 % longer than plain
NumPy. With `--verify` the choices are measured once more two hours later, as `autotune verify` does within this
number of seconds: `holds` of `verified`.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import log
from statistics import fmean

from support.simulated_machines import WEATHERS, Computer, SimulatedBench

from autotune.bench import ladder
from autotune.model.catalogue import Family, Kind
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.search.environment import Environment
from autotune.search.events import ignore
from autotune.search.machine_states import Capacity
from autotune.search.pipeline import Calibration
from autotune.search.plan import Plan, make_plan
from autotune.search.request import Effort, Request
from autotune.search.space import setting, space
from autotune.search.time_budget import Clock
from autotune.search.verification import Check, Standing, verify
from benchmarks.simulated_search import common_options, positive

CASE_SECONDS = 0.1
"""Inputs, check and warm-up of one case: visits of arrays of a million elements took so long on two virtual CPUs."""
SELF_TEST_SECONDS = 2.0
"""Of the budget, before the first trial."""
OPEN = (Status.UNDECIDED, Status.NOISY)
LATER_SECONDS = 7200.0
"""From a calibration to its verification."""


@dataclass
class CatalogueComputer:
    """A drawn computer on which plain NumPy takes the time that the ladder of sizes expects."""

    drawn: Computer
    _scaled: dict[Operation, Computer] = field(default_factory=dict)

    @property
    def cpus(self) -> int:
        """CPUs, all of them usable."""
        return self.drawn.cpus

    def seconds(self, kind: Kind, operation: Operation, configuration: Configuration) -> float:
        """Return the seconds of one unit of work, without any noise."""
        if operation not in self._scaled:
            elements = max(self.drawn.elements(kind, operation), 1.0)
            threads = min(2, self.cpus) if kind.name in ladder.FLOPS and kind.family is not Family.STACK else 1
            each = ladder.seconds_of(kind, operation) / elements * threads
            self._scaled[operation] = replace(self.drawn, element_seconds=each)
        return self._scaled[operation].seconds(kind, operation, configuration)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Outcome of one calibration."""

    cpus: int
    effort: str
    noise: str
    machine: int
    entries: int
    tuned: int
    open: int
    slower: int
    share_of_gain: float
    seconds: float
    sampled: float
    """Timed samples over all the time."""
    full_capacity: float | None
    """Share of the probes."""
    verified: int
    holds: int


def main() -> int:
    """Calibrate, count, print."""
    options = _options()
    rows = []
    for cpus in options.cpus:
        for noise in options.noise:
            for machine in range(options.seed, options.seed + options.machines):
                rows.append(_calibrated(cpus, noise, machine, options))
                if not options.json:
                    print(_line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps({"results": [asdict(row) for row in rows]}, indent=1))
    else:
        for cpus in options.cpus:
            for noise in options.noise:
                print(_summary([row for row in rows if (row.cpus, row.noise) == (cpus, noise)]))
    return 0


def _options() -> argparse.Namespace:
    parser = common_options(__doc__)
    parser.set_defaults(machines=4)
    parser.add_argument("--cpus", type=lambda text: [positive(word) for word in text.split(",")], default=[2])
    parser.add_argument("--effort", choices=[str(effort) for effort in Effort], default="quick")
    parser.add_argument("--explain", action="store_true", help="list what stays open, with its true gain")
    parser.add_argument("--verify", type=float, metavar="SECONDS", help="measure the choices again in so long")
    return parser.parse_args()


def _calibrated(cpus: int, noise: str, machine: int, options: argparse.Namespace) -> Row:
    computer = CatalogueComputer(Computer.draw(machine, cpus))
    environment = Environment(
        usable_cpus=cpus, default_threads=cpus, l2_bytes=2**19, l3_bytes=2**25, memory_bytes=2**34
    )
    request = Request(effort=Effort(options.effort), seed=machine)
    bench = SimulatedBench(computer, None, WEATHERS[noise], seed=machine, case_seconds=CASE_SECONDS)
    plan = make_plan(request, environment)
    capacity = Capacity(usable_cpus=cpus)
    clock = Clock(bench=bench, capacity=capacity, budget=request.seconds, seed=machine, elapsed=SELF_TEST_SECONDS)
    calibration = Calibration(plan=plan, environment=environment, clock=clock, report=ignore)
    entries = plan.in_order(calibration.entries())
    gains = [_gains(bench, plan, entry) for entry in entries]
    if options.explain:
        for entry, (_, best) in zip(entries, gains, strict=True):
            if entry.status in OPEN:
                print(f"    {entry.operation}: best gain {best:.2f} in log-ratio; {entry.reason}")
    counts = Counter(entry.status for entry in entries)
    full_capacity = capacity.full_share
    checks = [] if options.verify is None else _verified(bench, entries, environment, options)
    return Row(
        cpus=cpus,
        effort=options.effort,
        noise=noise,
        machine=machine,
        entries=len(entries),
        tuned=counts[Status.TUNED],
        open=sum(counts[status] for status in OPEN),
        slower=sum(chosen < -0.01 for chosen, _ in gains),
        share_of_gain=sum(chosen for chosen, _ in gains) / sum(best for _, best in gains),
        seconds=clock.elapsed,
        sampled=clock.sampled_seconds / clock.elapsed,
        full_capacity=full_capacity,
        verified=len(checks),
        holds=sum(check.standing is Standing.HOLDS for check in checks),
    )


def _verified(
    bench: SimulatedBench, entries: Sequence[Entry], environment: Environment, options: argparse.Namespace
) -> list[Check]:
    """Return verdicts on the tuned entries two hours later, those apart that there was no time for."""
    bench.clock += LATER_SECONDS
    capacity = Capacity(usable_cpus=environment.usable_cpus)
    tuned = [entry for entry in entries if entry.status is Status.TUNED]
    clock = Clock(bench=bench, capacity=capacity, budget=options.verify, seed=1)
    checks = list(verify(tuned, environment=environment, clock=clock))
    if options.explain:
        for check in checks:
            if check.standing is not Standing.HOLDS:
                gain = log(bench.truth(check.entry.operation, DEFAULT)) - log(
                    bench.truth(check.entry.operation, check.entry.choice)
                )
                print(f"    {check.entry.operation}: {check.standing}, true gain {gain:.2f}; {check.reason}")
    return [check for check in checks if check.standing is not Standing.OPEN]


def _gains(bench: SimulatedBench, plan: Plan, entry: Entry) -> tuple[float, float]:
    """Return logarithms of the true speed-ups of an entry's choice and of the best configuration."""
    operation, cpus = entry.operation, bench.computer.cpus
    grid = space(plan.item_of(operation).kind, operation, cpus, cpus)
    allowed = [] if grid is None else [setting(grid, point) for point in range(len(grid.points))]
    plain = bench.truth(operation, DEFAULT)
    best = min([plain, *(bench.truth(operation, choice) for choice in allowed if choice.cpus <= cpus)])
    return log(plain / bench.truth(operation, entry.choice)), log(plain / best)


def _line(row: Row) -> str:
    full = "-" if row.full_capacity is None else f"{row.full_capacity:.0%}"
    return (
        f"{row.cpus:>4} CPUs {row.effort:<9}{row.noise:<10} machine {row.machine:<3} {row.tuned:>3} tuned, "
        f"{row.open:>3} open of {row.entries}; share of the gain {row.share_of_gain:.3f}; slower {row.slower}; "
        f"{row.seconds:.0f} s, sampled {row.sampled:.2f}, full capacity {full}; {row.holds} of {row.verified} hold"
    )


def _summary(rows: Sequence[Row]) -> str:
    first = rows[0]
    return (
        f"{first.cpus:>4} CPUs {first.effort:<9}{first.noise:<10} {sum(row.open for row in rows)} open of "
        f"{sum(row.entries for row in rows)}; share of the gain {fmean(row.share_of_gain for row in rows):.3f}; "
        f"slower {sum(row.slower for row in rows)}; "
        f"{sum(row.holds for row in rows)} of {sum(row.verified for row in rows)} hold"
    )


if __name__ == "__main__":
    sys.exit(main())
