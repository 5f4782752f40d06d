#!/usr/bin/env python3
"""Attribution of the time in NumPy and SciPy by `advise`, its cost, and the gains predicted by `calibrate -- CMD`.

    scripts/benchmarks/run advise                     attribution and overhead of each program of advise_programs.py
    scripts/benchmarks/run advise --gains             calibrates for each instead, 2 minutes a program
    scripts/benchmarks/run advise --only nbody --json

Attribution: a sampler that is preloaded (sampler.c) counts where the program's CPU time goes, with one BLAS thread. The
recorded part of the run is compared with the part of it in NumPy's and SciPy's libraries, and in the C and maths
libraries when these call them: in a run that is ten times as long, since samples come every 4 ms, and starts count as
NumPy's. Overhead: a plain and a recorded process do a few rounds in turn, each once every tenth of a second, so that
both meet the machine's states alike; the ratio with its 95 % interval over pairs of processes, and what recording adds
to the start. Whole runs side by side tell nothing about 3 % where CPUs come and go within seconds. One BLAS thread:
those of the process that rests would spin. The C library keeps all memory: else it gives the heap back at other moments
in a process that holds other objects, recorder or not (175 and 190 more page faults a round, +5 and +9 %, in two
programs). Gains: the speed-up of the whole run as `calibrate` predicts it, and as pairs of runs measure it. Seven
programs take 10 minutes on two quiet CPUs, and 15 with --gains. Rows are printed as they come.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from math import exp, sqrt
from pathlib import Path
from statistics import median

from autotune.bench.statistics import hodges_lehmann, log_ratios, mean_interval
from benchmarks.advise_programs import PROGRAMS, SERVE

HERE = Path(__file__).parent
NUMERIC = ("/numpy/", "numpy.libs/", "/scipy/", "scipy.libs/")
QUICK_ROUNDS, ROUNDS = 20, 150
TURN_SECONDS, TURNS, WARM_UP = 0.05, 60, 4
"""Of one turn of a process; turns of each, and how many of them do not count."""
HEAP = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**30))
RUN_SECONDS = 8.0
"""Of a program that `calibrate` is to gain for: `autotune run` adds to its start."""
PAIRS_OF_RUNS = 7
"""As many as the budget of 2 minutes allows. The interval of three pairs is 30 points wide."""
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
    start_seconds: float
    """That recording adds to the start of the process."""

    @property
    def is_kept(self) -> bool:
        """Are the promises kept, as far as the figures can tell?"""
        return self.attributed + self.attributed_error >= 0.95 and self.overhead_interval[0] <= 0.03

    def __str__(self) -> str:
        low, high = self.overhead_interval
        attributed = f"{self.attributed:.0%} ± {self.attributed_error:.0%}"
        overhead = f"{self.overhead:+.1%} ({low:+.1%} to {high:+.1%})"
        start = f"{1e3 * self.start_seconds:.0f} ms"
        return f"| {self.program} | {self.numeric_share:.0%} | {attributed} | {overhead} | {start} |"


@dataclass(frozen=True, slots=True, kw_only=True)
class GainRow:
    """Speed-up of a whole program after `calibrate -- CMD`."""

    program: str
    decided: int
    """Entries."""
    entries: int
    predicted: float | None
    measured: float | None
    """None: nothing is tuned, or no pairs of runs were made."""
    measured_interval: tuple[float, float] | None
    failure: str = ""
    """Last words of a calibration that failed."""

    @property
    def is_decided(self) -> bool:
        """Is every entry decided?"""
        return not self.failure and self.decided == self.entries

    @property
    def is_kept(self) -> bool:
        """Can the gain be within 5 points of the predicted one?"""
        if self.predicted is None or self.measured is None:
            return True
        low, high = self.measured_interval or (self.measured, self.measured)
        return low - 0.05 <= self.predicted <= high + 0.05

    def __str__(self) -> str:
        figures = [("-" if value is None else f"{value:.2f}") for value in (self.predicted, self.measured)]
        interval = "({:.2f} to {:.2f})".format(*self.measured_interval) if self.measured_interval else ""
        decided = self.failure or f"{self.decided} of {self.entries}"
        return f"| {self.program} | {decided} | {figures[0]} | {figures[1]} {interval} |"


HEADINGS = {
    False: "| program | in NumPy, SciPy | attributed | overhead | start |\n|---|---|---|---|---|",
    True: "| program | decided | predicted | measured |\n|---|---|---|---|",
}


def main() -> int:
    """Run every program, print the rows; 1 if a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PROGRAMS, nargs="+", default=list(PROGRAMS))
    parser.add_argument("--pairs", type=int, default=10, help="of processes; default 10")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a trial of the script: its figures mean nothing")
    parser.add_argument("--gains", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds, pairs = (QUICK_ROUNDS, 3) if options.quick else (options.rounds, options.pairs)
    if not options.json:
        print(HEADINGS[options.gains], flush=True)
    rows: list[Row | GainRow] = []
    for row in gains(options.only) if options.gains else attributions(options.only, rounds, pairs):
        rows.append(row)
        if not options.json:
            print(row, "" if row.is_kept else "MISSED", flush=True)
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2))
    undecided = sum(isinstance(row, GainRow) and not row.is_decided for row in rows)
    return int(undecided > 1 or not all(row.is_kept for row in rows))


def attributions(names: list[str], rounds: int, pairs: int) -> Iterator[Row]:
    """Measure the attribution and the overhead of each program."""
    with tempfile.TemporaryDirectory() as folder:
        sampler = build_sampler(Path(folder))
        for name in names:
            yield measure(name, rounds, pairs, sampler)


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


def words(name: str, rounds: int | str) -> list[str]:
    """Return the command that runs the rounds of a program, or serves them."""
    return [sys.executable, "-m", "benchmarks.advise_programs", name, str(rounds)]


def measure(name: str, rounds: int, pairs: int, sampler: Path) -> Row:
    """Measure one program."""
    numeric, recorded, samples = attribution(name, LONGER * rounds, sampler)
    in_turn = [processes_in_turn(name) for _ in range(pairs)]
    mean, low, high = mean_interval([ratio for ratio, _ in in_turn])
    return Row(
        program=name,
        numeric_share=numeric,
        recorded_share=recorded,
        attributed=min(1.0, recorded / numeric),
        attributed_error=1.96 * recorded / numeric * sqrt((1.0 - numeric) / (numeric * samples)),
        overhead=exp(mean) - 1,
        overhead_interval=(exp(low) - 1, exp(high) - 1),
        start_seconds=median(start for _, start in in_turn),
    )


def processes_in_turn(name: str) -> tuple[float, float]:
    """Return the log-ratio of the seconds of a recorded and a plain process, and what recording adds to the start."""
    serve = words(name, SERVE)
    with _served(serve) as plain, _served([*AUTOTUNE, "advise", "-o", os.devnull, "--", *serve]) as recorded:
        starts = [_answer(process) for process in (plain, recorded)]
        rounds = max(1, round(TURN_SECONDS / min(_turn(plain, 1) for _ in range(3))))
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for number in range(TURNS):
            for is_recorded in (number % 2 == 0, number % 2 != 0):
                seconds[is_recorded].append(_turn(recorded if is_recorded else plain, rounds))
    ratios = log_ratios(seconds[True][WARM_UP:], seconds[False][WARM_UP:])
    return hodges_lehmann(ratios), starts[1] - starts[0]


def _served(command: list[str]) -> subprocess.Popen[str]:
    environ = {**HEAP, **os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)


def _turn(process: subprocess.Popen[str], rounds: int) -> float:
    """Return the seconds that a process takes for a number of rounds."""
    print(rounds, file=process.stdin, flush=True)
    return _answer(process)


def _answer(process: subprocess.Popen[str]) -> float:
    assert process.stdout is not None
    return float(process.stdout.readline())


def attribution(name: str, rounds: int, sampler: Path) -> tuple[float, float, int]:
    """Return the part of one run in NumPy and SciPy, by samples, the part in recorded calls, and the samples."""
    with tempfile.TemporaryDirectory() as folder:
        samples, advice = Path(folder, "samples"), Path(folder, "advice.json")
        environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "SAMPLES": str(samples)}
        # the sampler is for the program alone, and not for `autotune advise` around it
        command = ["env", f"LD_PRELOAD={sampler}", *words(name, rounds)]
        subprocess.run(
            [*AUTOTUNE, "advise", "--json", "-o", advice, "--", *command], env=environ, check=True, capture_output=True
        )
        places = samples.read_text(encoding="utf-8").splitlines()
        recorded = json.loads(advice.read_text(encoding="utf-8"))["call_share"]
    of_numeric = sum(any(part in place for part in NUMERIC) for place in places)
    return of_numeric / len(places), recorded, len(places)


def gains(names: list[str]) -> Iterator[GainRow]:
    """Calibrate for each program, and return what it gained."""
    for name in names:
        with _served(words(name, SERVE)) as plain:
            _answer(plain)
            rounds = max(1, round(RUN_SECONDS / _turn(plain, 5) * 5))
        command = [*AUTOTUNE, "calibrate", "--json", "--budget", "2m"]
        command += ["--verify-runs", str(PAIRS_OF_RUNS), "--", *words(name, rounds)]
        with tempfile.TemporaryDirectory() as folder:
            own = {f"XDG_{kind}_HOME": folder for kind in ("CONFIG", "STATE", "CACHE")}
            environ = {**os.environ, **own, "AUTOTUNE_STATE_DIR": folder}
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            yield GainRow(program=name, decided=0, entries=0, predicted=None, measured=None, measured_interval=None,
                          failure=f"failed: {last}")  # fmt: skip
            continue
        document = json.loads(done.stdout)
        program = document["program"]
        operations = [each["profile"]["operations"].values() for each in document["profiles"]]
        entries = [entry for dtypes in chain(*operations) for entry in chain(*dtypes.values())]
        yield GainRow(
            program=name,
            decided=sum(entry["status"] in {"tuned", "default-kept"} for entry in entries),
            entries=len(entries),
            predicted=program["predicted_with_start"],
            measured=program["measured"],
            measured_interval=program["interval"],
        )


if __name__ == "__main__":
    sys.exit(main())
