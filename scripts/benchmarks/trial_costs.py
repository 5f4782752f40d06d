"""Parts of a calibration's time: timed samples as a share of the wall time, and the parts of the rest.

Visits as confirmation makes them: one candidate next to the default, in a process of its own, eight pairs or 0.4 s.
With `--processes` the forked trial processes are compared with interpreters that were started for the occasion: the
time of plain calls in either, as the ratio of medians over processes. It should be 1 within its interval.

    python scripts/benchmarks/run trial_costs [--visits 5] [--seconds 0.4] [--processes 20] [--json]
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import exp, log
from statistics import mean, median, stdev
from time import perf_counter

from autotune.bench.process_bench import ProcessBench
from autotune.host.usable_cpus import usable_cpus
from autotune.model.catalogue import kind, operation
from autotune.model.configuration import Configuration, Knob
from autotune.model.measurement import Case, TrialPlan
from autotune.model.operation import Operation

OPERATIONS = (
    operation("log", n=1_000_000),
    operation("add", n=10_000_000),
    operation("sum", n=1_000_000),
    operation("random", n=1_000_000),
    operation("qr", n=128),
    operation("matmul", n=512),
    operation("svd", n=256),
    operation("stack_solve", n=16, count=1000),
    operation("batch_matmul", n=300),
)
PAIRS = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """The visits to one operation."""

    operation: str
    seconds: float
    """Of a visit, median."""
    sampled: float
    """Timed samples as a share of the wall time of all visits."""
    pairs: float
    """In a visit, mean."""
    interference: float | None
    """Mean of all pairs."""


def main() -> int:
    """Measure, print."""
    options = _options()
    if options.processes:
        rows = compare_processes(options.processes)
        print(json.dumps({"results": rows}, indent=1) if options.json else _ratios(rows))
        return 0
    bench = ProcessBench()
    results = [visit(bench, chosen, options.visits, options.seconds) for chosen in OPERATIONS]
    bench.close()
    everything = bench.costs["all"]
    parts = {
        part: seconds / everything
        for part, seconds in sorted(bench.costs.items(), key=lambda item: -item[1])
        if part != "all"
    }
    parts["rest"] = 1.0 - sum(parts.values())
    if options.json:
        print(json.dumps({"results": [asdict(row) for row in results], "parts": parts}, indent=1))
        return 0
    for row in results:
        print(f"{row.operation:<44} {row.seconds:6.2f} s  {row.pairs:4.1f} pairs  sampled {row.sampled:.0%}")
    for part, share in parts.items():
        print(f"{part:<20} {share:6.1%}")
    return 0


def visit(bench: ProcessBench, chosen: Operation, visits: int, seconds: float) -> Row:
    """Visit one operation `visits` times."""
    case = Case(operation=chosen, configurations=(_candidate(chosen),))
    plans = (TrialPlan(cases=(case,), rounds=PAIRS, seed=seed, seconds=seconds) for seed in range(visits))
    sessions = [bench.run(plan) for plan in plans]
    pairs = [pair for session in sessions for pair in session.measurements[1].pairs]
    interference = [pair.interference for pair in pairs if pair.interference is not None]
    return Row(
        operation=str(chosen),
        seconds=median(session.wall_seconds for session in sessions),
        sampled=sum(session.sampled_seconds for session in sessions)
        / sum(session.wall_seconds for session in sessions),
        pairs=len(pairs) / visits,
        interference=mean(interference) if interference else None,
    )


def _candidate(chosen: Operation) -> Configuration:
    """All CPUs as workers; without workers, one BLAS thread."""
    cpus, knobs = usable_cpus()[0], kind(chosen.name).knobs
    if Knob.WORKERS not in knobs:
        return Configuration(blas_threads=1)
    whole = chosen.size.get("count") or chosen.size["n"]
    return Configuration(
        blas_threads=1 if Knob.BLAS_THREADS in knobs else None,
        workers=max(2, cpus),
        chunk=max(1, whole // max(2, cpus)) if Knob.CHUNK in knobs else None,
    )


def compare_processes(count: int) -> list[dict[str, float | str]]:
    """Ratio of forked to newly started processes for each call, with its 95 % interval over processes."""
    import numpy as np

    assert np.__version__  # loaded before the forks, as in the server of trials
    forked: list[dict[str, float]] = []
    started: list[dict[str, float]] = []
    for _ in range(count):
        sides: list[tuple[list[dict[str, float]], Callable[[], dict[str, float]]]] = [
            (forked, _in_a_fork),
            (started, _in_a_new_interpreter),
        ]
        for results, run in random.sample(sides, 2):
            results.append(run())
    rows: list[dict[str, float | str]] = []
    for name in forked[0]:
        logs = [[log(result[name]) for result in results] for results in (forked, started)]
        difference = median(logs[0]) - median(logs[1])
        # standard error of a median of normal values: 1.2533 of the mean's
        error = 1.2533 * (sum(stdev(values) ** 2 for values in logs) / count) ** 0.5
        low, high = difference - 1.96 * error, difference + 1.96 * error
        rows.append({"call": name, "ratio": exp(difference), "low": exp(low), "high": exp(high)})
    return rows


def plain_calls() -> dict[str, float]:
    """Return the median seconds of plain calls in this process."""
    import numpy as np

    rng = np.random.default_rng(1)
    a, x = rng.random((256, 256)), rng.random(1_000_000)
    y = np.empty_like(x)
    calls: dict[str, Callable[[], object]] = {
        "matmul 256": lambda: a @ a,
        "qr 256": lambda: np.linalg.qr(a),
        "log 1e6": lambda: np.log(x, out=y),
        "sqrt 1e6": lambda: np.sqrt(x, out=y),
        "x*x + y 1e6": lambda: x * x + y,
    }
    return {name: _median_seconds(call) for name, call in calls.items()}


def _median_seconds(call: Callable[[], object]) -> float:
    end = perf_counter() + 0.05
    while perf_counter() < end:
        call()
    seconds = []
    for _ in range(15):
        begin = perf_counter()
        call()
        seconds.append(perf_counter() - begin)
    return median(seconds)


def _in_a_fork() -> dict[str, float]:
    """In a child of this process, which has loaded NumPy and called nothing of it."""
    end, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, json.dumps(plain_calls()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(end) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return dict(json.loads(text))


def _in_a_new_interpreter() -> dict[str, float]:
    code = "import json; from benchmarks.trial_costs import plain_calls; print(json.dumps(plain_calls()))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def _ratios(rows: list[dict[str, float | str]]) -> str:
    return "\n".join(f"{row['call']:<14} {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=5, help="to each operation (default 5)")
    parser.add_argument("--seconds", type=float, default=0.4, help="of a visit (default 0.4)")
    parser.add_argument("--processes", type=int, default=0, help="number of processes of either kind to compare")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
