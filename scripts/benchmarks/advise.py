#!/usr/bin/env python3
"""Attribution of the time in NumPy and SciPy by `advise`, its cost, and the gains foretold by `calibrate -- CMD`.

    scripts/benchmarks/run advise                     attribution and overhead of each program of advise_programs.py
    scripts/benchmarks/run advise --gains             also calibrates for each, 2 minutes a program
    scripts/benchmarks/run advise --only nbody --json

Attribution: a sampler that is preloaded (sampler.c) counts where the program's CPU time goes, with one BLAS thread. The
recorded part of the run is compared with the part of it in NumPy's and SciPy's libraries, and in the C and maths
libraries when these call them: in a run that is ten times as long, since samples come every 4 ms, and starts count as
NumPy's. Overhead: the median, with its 95 % interval, of the ratios of adjacent plain and recorded runs, from the start
of the process to its end. Gains: the speed-up of the whole run as `calibrate` foretells it, and as pairs of runs
measure it. Seven programs take 6 minutes on two quiet CPUs, and 3 more for each with --gains.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from math import exp, sqrt
from pathlib import Path
from typing import Any

from autotune.bench.statistics import hodges_lehmann, log_ratios, mean_interval
from benchmarks.advise_programs import PROGRAMS

HERE = Path(__file__).parent
NUMERIC = ("/numpy/", "numpy.libs/", "/scipy/", "scipy.libs/")
QUICK_ROUNDS, ROUNDS = 20, 150
LONGER = 10
"""Times as many rounds in the run that is sampled."""
AUTOTUNE = [sys.executable, "-m", "autotune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Figures of one program."""

    program: str
    numeric_share: float
    """Part of the CPU time in NumPy and SciPy, by samples, with the libraries that they call."""
    recorded_share: float
    """Part of the run inside recorded calls."""
    attributed: float
    """Recorded over sampled, at most 1."""
    attributed_error: float
    """Of that: 1.96 standard errors of the samples."""
    overhead: float
    overhead_interval: tuple[float, float]
    """Recorded seconds over plain ones, minus 1."""
    predicted: float | None = None
    measured: float | None = None
    measured_interval: tuple[float, float] | None = None
    """Speed-up of the whole run after `calibrate -- CMD`."""
    decided: str | None = None
    """Entries decided, of all."""


def main() -> int:
    """Run every program, print the rows; 1 if a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PROGRAMS, nargs="+", default=list(PROGRAMS))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--quick", action="store_true", help="a trial of the script: its figures mean nothing"
    )
    parser.add_argument("--gains", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds, pairs = (QUICK_ROUNDS, 3) if options.quick else (options.rounds, options.pairs)
    with tempfile.TemporaryDirectory() as folder:
        sampler = build_sampler(Path(folder))
        rows = [measure(name, rounds, pairs, sampler, gains=options.gains) for name in options.only]
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print("\n".join(table(rows)))
    return int(
        any(
            row.attributed + row.attributed_error < 0.95
            or row.overhead_interval[0] > 0.03
            or foretold_badly(row)
            for row in rows
        )
    )


def foretold_badly(row: Row) -> bool:
    """Is the gain of the whole run surely more than 5 points from the one that was foretold?"""
    if row.predicted is None or row.measured is None:
        return False
    low, high = row.measured_interval or (row.measured, row.measured)
    return not low - 0.05 <= row.predicted <= high + 0.05


def build_sampler(folder: Path) -> Path:
    """Compile the sampler."""
    library = folder / "sampler.so"
    command = [
        os.environ.get("CC", "cc"),
        "-O2",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(HERE / "sampler.c"),
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return library


def words(name: str, rounds: int) -> list[str]:
    """Return the command that runs a program."""
    return [sys.executable, "-m", "benchmarks.advise_programs", name, str(rounds)]


def measure(name: str, rounds: int, pairs: int, sampler: Path, *, gains: bool) -> Row:
    """Measure one program."""
    numeric, recorded, samples = attribution(name, LONGER * rounds, sampler)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for side, prefix in enumerate(([], [*AUTOTUNE, "advise", "-o", os.devnull, "--"])):
            done = subprocess.run([*prefix, *words(name, rounds)], capture_output=True, text=True, check=True)
            seconds[side].append(float(done.stderr.strip().splitlines()[-1]))
    ratios = log_ratios(seconds[1], seconds[0])
    _, low, high = mean_interval(ratios)
    return Row(
        program=name,
        numeric_share=numeric,
        recorded_share=recorded,
        attributed=min(1.0, recorded / numeric),
        attributed_error=1.96 * recorded / numeric * sqrt((1.0 - numeric) / (numeric * samples)),
        overhead=exp(hodges_lehmann(ratios)) - 1,
        overhead_interval=(exp(low) - 1, exp(high) - 1),
        **(gain(name, rounds) if gains else {}),
    )


def attribution(name: str, rounds: int, sampler: Path) -> tuple[float, float, int]:
    """Return the part of one run in NumPy and SciPy, by samples, the part in recorded calls, and the samples."""
    with tempfile.TemporaryDirectory() as folder:
        samples, advice = Path(folder, "samples"), Path(folder, "advice.json")
        environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "SAMPLES": str(samples)}
        # the sampler is for the program alone, and not for `autotune advise` around it
        command = ["env", f"LD_PRELOAD={sampler}", *words(name, rounds)]
        subprocess.run(
            [*AUTOTUNE, "advise", "--json", "-o", advice, "--", *command],
            env=environ,
            check=True,
            capture_output=True,
        )
        places = samples.read_text(encoding="utf-8").splitlines()
        recorded = json.loads(advice.read_text(encoding="utf-8"))["call_share"]
    of_numeric = sum(any(part in place for part in NUMERIC) for place in places)
    return of_numeric / len(places), recorded, len(places)


def gain(name: str, rounds: int) -> dict[str, Any]:
    """Calibrate for a program, and return what it gained."""
    command = [*AUTOTUNE, "calibrate", "--json", "--budget", "2m", "--", *words(name, rounds)]
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "XDG_CONFIG_HOME": folder,
            "XDG_STATE_HOME": folder,
            "XDG_CACHE_HOME": folder,
        }
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"decided": f"failed: {done.stderr.strip().splitlines()[-1]}"}
    document = json.loads(done.stdout)
    program = document["program"]
    statuses = [entry["status"] for each in document["profiles"] for entry in each["profile"]["entries"]]
    count = sum(status in {"tuned", "default-kept"} for status in statuses)
    return {
        "predicted": program["predicted"],
        "measured": program["measured"],
        "measured_interval": program["interval"],
        "decided": f"{count} of {len(statuses)}",
    }


def table(rows: list[Row]) -> list[str]:
    """Format the rows as a table."""
    lines = [
        "| program | in NumPy, SciPy | attributed | overhead | predicted | measured | decided |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row.overhead_interval
        gains = [("-" if value is None else f"{value:.2f}") for value in (row.predicted, row.measured)]
        attributed = f"{row.attributed:.0%} ± {row.attributed_error:.0%}"
        overhead = f"{row.overhead:+.1%} ({low:+.1%} to {high:+.1%})"
        lines.append(
            f"| {row.program} | {row.numeric_share:.0%} | {attributed} | {overhead} | {gains[0]} | {gains[1]} | "
            f"{row.decided or '-'} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
