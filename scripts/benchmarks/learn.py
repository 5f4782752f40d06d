"""Learning while a program runs: false choices, calls until the optimum, and time lost on the way.

    scripts/benchmarks/run learn                 simulated programs, and two loops on this machine
    scripts/benchmarks/run learn --json          the same as JSON
    scripts/benchmarks/run learn --simulated     simulated programs only, which need no quiet machine

Simulated programs are decided by the code that runs under `apply(learn=True)`, with a clock of their own. The first
loop is 20 QR of 128 x 128 and a product of 1024 x 1024, in fresh processes: plain, with the counts by hand (the ideal),
and learning. The second is np.log of 1, 3 and 10 million numbers into an array that stays, 200 calls each in one
process; then calls of NumPy as it is, as it was learned, and its halves by hand in two threads, in turns. Exits with 1
if a figure that the project promises is missed.
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
from types import SimpleNamespace

from autotune.runtime.guard import Guard
from autotune.runtime.learner import Learner
from autotune.runtime.lesson import Account, CallThreads, Candidates, Lesson, Pairing

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


HIDE_SHIPPED = "from autotune.profiles import folders; folders.shipped_profiles = lambda: '/dev/null'\n"
"""Nothing is learned about what a profile covers, and one for this machine may be shipped."""

LOGARITHM = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np, autotune
from autotune.runtime.process_state import state

def halves(n, y):
    start = time.perf_counter()
    parts = (slice(n // 2), slice(n // 2, n))
    list(pool.map(lambda part: np.log(x[part], out=y[part]), parts))
    return time.perf_counter() - start

def seconds(n, y):
    start = time.perf_counter()
    np.log(x[:n], out=y[:n])
    return time.perf_counter() - start

x = np.random.default_rng(0).random(10_000_000) + 1.0
y = np.empty_like(x)
applied = autotune.apply(learn=True)
gains, by_hand = {}, {}
for n in (1_000_000, 3_000_000, 10_000_000):
    for _ in range(200):
        seconds(n, y)
core = state.per_call._core
pool = ThreadPoolExecutor(2, initializer=core.alone, initargs=(True,))
for n in (1_000_000, 3_000_000, 10_000_000):
    pairs, hands = [], []
    for _ in range(15):
        learned, hand = seconds(n, y), halves(n, y)
        core.alone(True)  # calls of this thread run as NumPy's own, and the lessons take them for disturbed
        plain = seconds(n, y)
        core.alone(False)
        pairs.append(plain / learned)
        hands.append(plain / hand)
    gains[n], by_hand[n] = sorted(pairs)[7], sorted(hands)[7]
explanation = autotune.explain()
spent, total = explanation.spent_seconds, state.per_call.learner.account.total_seconds
print(json.dumps({"gains": gains, "by_hand": by_hand, "spent": spent / total}))
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    accepted, accepted_loops = (
        sum(simulate(lambda _: 1e-3, 2000, candidates, seed)[0] is not None for seed in range(400))
        for candidates in (Candidates(8, 8), Candidates(8, most_slices=16))
    )
    threads = [simulate(_many_cpus, 400, Candidates(64, 64), seed)[1] for seed in range(100)]
    workers = [simulate(_loop, 200, Candidates(2, most_slices=16), seed)[1] for seed in range(100)]
    loops = [simulate_loop(seed) for seed in range(100)]
    reached = sorted(float("inf") if calls is None else calls for calls, _ in loops)
    return [
        _row("20 QR, 1.15 times as fast with 1 of 2 threads: calls until both functions", reached[50], 300),
        _row("the same: largest share of the time lost", max(lost for _, lost in loops), 0.01),
        _row("A/A: share of 400 simulated programs with a choice of threads", accepted / 400, 0.01),
        _row("A/A: share of 400 simulated programs with a choice of workers", accepted_loops / 400, 0.01),
        _row("64 CPUs, optimum of 12: calls until within 5 %, 95th of 100", _late(threads), 400),
        _row("loop of 2 CPUs: calls until within 5 %, 95th of 100", _late(workers), 200),
    ]


def _late(reached: list[int | None]) -> float:
    """Return the 95th of 100 numbers of calls."""
    return sorted(float("inf") if calls is None else calls for calls in reached)[94]


def simulate(
    seconds: Callable[[CallThreads], float], calls: int, candidates: Candidates, seed: int
) -> tuple[CallThreads | None, int | None]:
    """Return the choice of a program, and the calls until it took one within 5 % of the best; None: never."""
    random = Random(seed)
    account = Account()
    lesson = Lesson(candidates, account)
    pairing = Pairing(lesson, random.random)
    best = min(seconds(CallThreads(count)) for count in range(1, candidates.most + 1))
    following: CallThreads | None = None
    burst = 0
    for number in range(calls):
        if lesson.choice is not None:
            return lesson.choice, number if seconds(lesson.choice) <= 1.05 * best else None
        burst = random.randint(1, 20) if not burst and random.random() < 0.01 else max(0, burst - 1)
        luck = exp(random.gauss(0.0, 0.03)) * (1.0 + 0.3 * sin(number / 50)) * (1.0 + bool(burst) * random.random())
        took = seconds(following or candidates.default) * luck
        account.total_seconds += took
        following = pairing.took(took, trial=following is not None)
    return lesson.choice, None


def simulate_loop(seed: int) -> tuple[int | None, float]:
    """Return the calls until a loop of 20 QR and a product had learned, and the share of its time that it had lost.

    A QR calls two compiled functions, each 1.15 times as fast with one thread; the product is fastest with two. Calls
    scatter by 10 %.
    """
    random = Random(seed)
    calls = [
        SimpleNamespace(operation=operation, dtype="float64", sizes={"n": n}, learns=True, threads=None, slices=1,
                        watched=None, nanoseconds=0, elements=1, trial=0, trial_slices=0, pause=0)
        for operation, n in (("qr", 128), ("qr", 128), ("matmul", 1024))
    ]  # fmt: skip
    seconds = [{2: 0.6e-3, 1: 0.6e-3 / 1.15}, {2: 0.4e-3, 1: 0.4e-3 / 1.15}, {2: 45e-3, 1: 80e-3}]
    learner = Learner(Guard(), rest=2, most=2)
    spent = plain = 0.0
    for number in range(60):
        if calls[0].threads and calls[1].threads:
            return CALLS_OF_ROUND * number, max(0.0, spent / plain - 1.0)
        for place in [*(0, 1) * 20, 2]:
            call = calls[place]
            trial, call.trial = call.trial, 0
            luck = exp(random.gauss(0.0, 0.1)) * (2.0 if random.random() < 0.05 else 1.0)
            took = seconds[place][trial or call.threads or 2] * luck
            plain += seconds[place][2] * luck
            spent += took
            call.nanoseconds += round(took * 1e9)
            if call.pause and not trial:
                call.pause -= 1
            elif Learner.learns(call):  # type: ignore[arg-type]
                learner.look(call, took, trial)  # type: ignore[arg-type]
    return None, max(0.0, spent / plain - 1.0)


def measured(runs: int) -> list[Row]:
    """Run both loops in fresh processes."""
    return [*_linear_algebra(runs), *_logarithm(runs)]


def _logarithm(runs: int) -> list[Row]:
    """Measure what np.log gained after 200 calls of each size, by the median of the processes."""
    done = [json.loads(_output(LOGARITHM)) for _ in range(runs)]
    gains = {n: median(run["gains"][n] for run in done) for n in done[0]["gains"]}
    shares = {n: median(run["gains"][n] / run["by_hand"][n] for run in done) for n in gains}
    return [
        *(_row(f"np.log of {int(n):,}: speed-up after 200 calls", gain, 1.7, most=False) for n, gain in gains.items()),
        *(
            _row(f"np.log of {int(n):,}: part of what its halves by hand gain", share, 0.95, most=False)
            for n, share in shares.items()
        ),
        _row("the same: share of the time spent on slower candidates", max(run["spent"] for run in done), 0.01),
    ]


def _linear_algebra(runs: int) -> list[Row]:
    """Run the loop of QR and a product in fresh processes, in turns."""
    times: dict[str, list[list[float]]] = {"plain": [], "ideal": [], "learn": []}
    for _ in range(runs):
        for mode, rounds in times.items():
            rounds.append(_run(mode))
    ideal, plain = (median(median(seconds) for seconds in times[mode]) for mode in ("ideal", "plain"))
    calls, lost = [], []
    for seconds in times["learn"]:
        reached = next(
            (place for place in range(len(seconds) - 2) if median(seconds[place : place + 3]) <= 1.05 * ideal), None
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
    seconds: list[float] = json.loads(_output(PROGRAM, mode, str(ROUNDS)))
    return seconds


def _output(text: str, *arguments: str) -> str:
    """Run a program where this machine has no profile."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, **{f"XDG_{name}_HOME": folder for name in ("CONFIG", "CACHE", "STATE")}}
        program = Path(folder) / "program.py"
        program.write_text(HIDE_SHIPPED + text)
        return subprocess.run(
            [sys.executable, str(program), *arguments], env=environ, capture_output=True, text=True, check=True
        ).stdout


def _many_cpus(candidate: CallThreads) -> float:
    return 0.5e-3 * (12 / candidate.threads + candidate.threads / 12)


def _loop(candidate: CallThreads) -> float:
    return 5e-3 if candidate.threads == 1 else 2.7e-3


def _row(figure: str, value: float, promise: float, *, most: bool = True) -> Row:
    return Row(
        figure=figure,
        value=None if value == float("inf") else value,
        promise=promise,
        kept=value <= promise if most else value >= promise,
    )


if __name__ == "__main__":
    sys.exit(main())
