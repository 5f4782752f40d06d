"""The rows of the README: what they call is calibrated first, then each is compared, plain and with autotune.

It takes ten to twelve minutes on a quiet machine; --profile leaves out the calibration. Each side calls `apply()` or
nothing; rows of unchanged programs run the same code on both sides. `scripts/benchmarks/run run_all --only readme` puts
the table into the README.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import claims, course
from benchmarks.paired_runs import Call, Pair, Program
from benchmarks.paired_runs import main as compare

CALIBRATED = (
    ("log", "n=10000000"),
    ("loop_exp", "loop_power", "n=10000000"),
    ("qr", "n=128"),
    ("loop_rows", "loop_add", "loop_sqrt", "loop_scale", "n=500000,1000000"),
    ("share", "n=10000000"),
    ("stack_inv", "n=16", "count=10000"),
)
"""Operations and sizes of the rows. Loops of unchanged programs go by their class, between two sizes of it."""
BUDGET = "65s"


def unchanged(operation: str, size: int, prepare: Callable[[int], Call]) -> Callable[[bool], Pair]:
    """Make the same call on both sides; `quick` takes a tenth of the work."""

    def make(quick: bool) -> Pair:
        call = prepare(10 if quick else 1)
        return Pair(plain=call, tuned=call, asks=(operation, {"n": size}))

    return make


def logarithms(part: int) -> Call:
    """Take logarithms into a given array."""
    x = np.random.default_rng(1).random(10_000_000 // part) + 0.5
    y = np.empty_like(x)
    return lambda: np.log(x, out=y)


def heat(part: int) -> Call:
    """Take one step of the heat equation on the inner part of a square grid."""
    u = np.random.default_rng(1).random((1000 // part, 1000))
    return lambda: u[1:-1, 1:-1] + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])


def factorisations(function: Callable[[np.ndarray], object]) -> Callable[[int], Call]:
    """Make factorisations of 50 matrices in a loop."""

    def prepare(part: int) -> Call:
        matrices = np.random.default_rng(1).random((50 // part, 128, 128))
        return lambda: [function(matrix) for matrix in matrices]

    return prepare


PROGRAMS = {
    "log_unchanged": Program(
        title="unchanged: `np.log(x, out=y)` of 10 million numbers", make=unchanged("log", 10_000_000, logarithms)
    ),
    "qr_unchanged": Program(
        title="unchanged: 50 QR of 128 x 128 in a loop", make=unchanged("qr", 128, factorisations(np.linalg.qr))
    ),
    "heat_unchanged": Program(
        title="unchanged: a step of the heat equation on a grid of 1,000 x 1,000",
        make=unchanged("loop_rows", 1_000_000, heat),
    ),
    "log_allocating": Program(
        title="`map_blocks(np.log, x)` of 10 million numbers, against `np.log(x)`",
        make=claims.against_allocating(np.log),
    ),
    "shared_array": Program(
        title="`process_map` over 10 million `shared` numbers, against `multiprocessing.Pool`", make=course.shared_array
    ),
    "stack": Program(
        title="`map_blocks(np.linalg.inv, ...)` of 10,000 matrices of 16 x 16, against `np.linalg.inv`",
        make=course.stack_of_small_matrices,
    ),
}


def main() -> int:
    """Calibrate into a folder, and compare with it."""
    if {"--profile", "--side"} & set(sys.argv):
        return compare("benchmarks.readme", __doc__, PROGRAMS)
    with tempfile.TemporaryDirectory() as folder:
        for number, words in enumerate(CALIBRATED):
            command = [sys.executable, "-m", "autotune", "calibrate", *words, "--budget", BUDGET]
            file = Path(folder, f"{number}.yaml")
            subprocess.run([*command, "--output", file], stdout=subprocess.DEVNULL, check=True)
        sys.argv += ["--profile", folder, "--runs", "6", "--patience", "20"]
        return compare("benchmarks.readme", __doc__, PROGRAMS)


if __name__ == "__main__":
    sys.exit(main())
