"""Learning while a program runs: false choices, calls until the optimum, and time lost on the way.

    scripts/benchmarks/run learn                 simulated programs, and a loop of QR and a product on this machine
    scripts/benchmarks/run learn --json          the same as JSON
    scripts/benchmarks/run learn --simulated     simulated programs only, which need no quiet machine

Simulated programs are decided by the code that runs under `apply(learn=True)`, with a clock of their own. The loop is
20 QR of 128 x 128 and a product of 1024 x 1024, in fresh processes: plain, with the counts by hand (the ideal), and
learning. Exits with 1 if a figure that the project promises is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import exp, sin
from pathlib import Path
from random import Random
from statistics import median

from autotune.runtime.lesson import Account, Lesson, Pairing

ROUNDS = 40
"""Of the loop in one process: 840 calls."""
CALLS_OF_ROUND = 21

PROGRAM = """
import json, sys, time
import numpy as np
from threadpoolctl import ThreadpoolController
mode, rounds = sys.argv[1], int(sys.argv[2])
small = np.random.default_rng(0).standard_normal((128, 128))
large = np.random.default_rng(1).standard_normal((1024, 1024))
np.linalg.qr(small), large @ large
controller = ThreadpoolController()
if mode == "learn":
    import autotune
    autotune.apply(learn=True)
seconds = []
for _ in range(rounds):
    start = time.perf_counter()
    if mode == "ideal":
        with controller.limit(limits=1):
            for _ in range(20):
                np.linalg.qr(small)
    else:
        for _ in range(20):
            np.linalg.qr(small)
    large @ large
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure."""

    figure: str
    value: float | None
    """None: it was not reached."""
    promise: float
    kept: bool


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--runs", type=int, default=5, help="Processes of each kind.")
    options = parser.parse_args()
    rows = [*simulated(), *([] if options.simulated else measured(options.runs))]
    if options.json:
        print(json.dumps({"schema": "autotune/learn/1", "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        for row in rows:
            value = "not reached" if row.value is None else f"{row.value:.3g}"
            print(f"{row.figure:<70} {value:>12}   promised {row.promise:g}{'' if row.kept else '   MISSED'}")
    return 0 if all(row.kept for row in rows) else 1


def simulated() -> list[Row]:
    """Decide simulated programs: identical counts with drift and bursts, and 64 CPUs with an optimum of 12 threads."""
    accepted = sum(simulate(lambda _: 1e-3, 2000, 8, seed)[0] is not None for seed in range(400))
    reached = [simulate(_many_cpus, 400, 64, seed)[1] for seed in range(100)]
    late = sorted(float("inf") if calls is None else calls for calls in reached)[94]
    return [
        _row("A/A: share of 400 simulated programs with a choice", accepted / 400, 0.01),
        _row("64 CPUs, optimum of 12: calls until within 5 %, 95th of 100", late, 400),
    ]


def simulate(
    seconds: Callable[[int], float], calls: int, cpus: int, seed: int
) -> tuple[int | None, int | None]:
    """Return the choice of a program, and the calls until it took one within 5 % of the best count; None: never."""
    random = Random(seed)
    account = Account()
    lesson = Lesson(cpus, cpus, account)
    pairing = Pairing(lesson, random.random)
    best = min(seconds(count) for count in range(1, cpus + 1))
    following: int | None = None
    burst = 0
    for number in range(calls):
        if lesson.choice is not None:
            return lesson.choice, number if seconds(lesson.choice) <= 1.05 * best else None
        burst = random.randint(1, 20) if not burst and random.random() < 0.01 else max(0, burst - 1)
        luck = (
            exp(random.gauss(0.0, 0.03))
            * (1.0 + 0.3 * sin(number / 50))
            * (1.0 + bool(burst) * random.random())
        )
        took = seconds(following or cpus) * luck
        account.total_seconds += took
        following = pairing.took(took, trial=following is not None)
    return lesson.choice, None


def measured(runs: int) -> list[Row]:
    """Run the loop in fresh processes, in turns."""
    times: dict[str, list[list[float]]] = {"plain": [], "ideal": [], "learn": []}
    for _ in range(runs):
        for mode, rounds in times.items():
            rounds.append(_run(mode))
    ideal, plain = (median(median(one) for one in times[mode]) for mode in ("ideal", "plain"))
    calls, lost = [], []
    for seconds in times["learn"]:
        reached = next(
            (
                place
                for place in range(len(seconds) - 2)
                if median(seconds[place : place + 3]) <= 1.05 * ideal
            ),
            None,
        )
        until = len(seconds) if reached is None else reached
        calls.append(float("inf") if reached is None else CALLS_OF_ROUND * reached)
        before = seconds[:until]
        lost.append(max(0.0, sum(before) / (plain * len(before)) - 1.0) if before else 0.0)
    return [
        _row("20 QR (128) and a product (1024): calls until within 5 % of the ideal", median(calls), 300),
        _row("the same: share of the time lost until then", median(lost), 0.01),
    ]


def _run(mode: str) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:  # no profile of this machine
        environ = {**os.environ, **{f"XDG_{name}_HOME": folder for name in ("CONFIG", "CACHE", "STATE")}}
        program = Path(folder) / "program.py"
        program.write_text(PROGRAM)
        done = subprocess.run(
            [sys.executable, str(program), mode, str(ROUNDS)],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
    seconds: list[float] = json.loads(done.stdout)
    return seconds


def _many_cpus(count: int) -> float:
    return 0.5e-3 * (12 / count + count / 12)


def _row(figure: str, value: float, promise: float) -> Row:
    return Row(
        figure=figure, value=None if value == float("inf") else value, promise=promise, kept=value <= promise
    )


if __name__ == "__main__":
    sys.exit(main())
