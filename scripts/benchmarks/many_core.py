#!/usr/bin/env python3
"""Figures of a machine of many CPUs, within ten minutes and without a network.

    scripts/benchmarks/many_core                        calibrate, verify, the course, and what depends on the CPUs
    scripts/benchmarks/many_core --seconds 90           the same in short, to try it

Each step has its share of the time and is ended with it; a step that was ended, or that failed, says so in its row.
Half of the time is the calibration's. FOLDER/DATE-MACHINE.json holds for each step its command, exit status, seconds
and the JSON that it printed; FOLDER/MACHINE.yaml is the profile, to be copied to profiles/ after a look
(profiles/README.md).
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGINT, SIGKILL
from time import monotonic
from typing import Any

from autotune.errors import ProfileError
from autotune.profiles import profile_files
from benchmarks.run_all import RESULTS, machine

GRACE_SECONDS = 10.0
"""After which a step that was told to end is ended."""
LEAST_SECONDS = 30.0
"""Seconds of all steps."""
COURSE = ("log", "sqrt", "tasks_of_300", "shared_array", "qr_in_a_loop", "svd_in_a_loop", "stack")
"""Programs of the course that take seconds; the others take minutes where memory is large."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and its share of the time."""

    name: str
    words: tuple[str, ...]
    share: float


def main() -> int:
    """Run the steps, write after each."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    partial = options.output / "profile.partly.yaml"
    document: dict[str, Any] = {
        "schema": "many-core/1",
        "date": options.date,
        "machine": machine(),
        "steps": {},
    }
    results = options.output / f"{options.date}-{_slug(document['machine'])}.json"
    for step in _steps(partial, options.seconds):
        print(f"many_core: {step.name} ...", file=sys.stderr, flush=True)
        document["steps"][step.name] = row = run(step, options.seconds, options.output / "steps.log")
        results.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        print(
            f"{step.name:<12} exit {row['exit']!s:<5} {row['seconds']:6.1f} s  {row['problem'] or ''}",
            flush=True,
        )
    try:
        profile = profile_files.read(partial)
    except ProfileError as problem:
        print(f"many_core: there is no profile: {problem}", file=sys.stderr)
        return 1
    partial.rename(options.output / f"{profile.key.slug}.yaml")
    print(f"{results}\n{options.output / profile.key.slug}.yaml")
    return 0 if all(row["exit"] in {0, 1} for row in document["steps"].values()) else 1


def _steps(profile: Path, seconds: float) -> Sequence[Step]:
    autotune, benchmark = (sys.executable, "-m", "autotune"), (sys.executable, "-m")
    chosen = ("--profile", str(profile), "--json")
    return (
        Step(
            name="calibrate",
            words=(
                *autotune,
                "calibrate",
                "--budget",
                f"{0.5 * seconds:.0f}s",
                "--output",
                str(profile),
                "--json",
            ),
            share=0.55,
        ),
        Step(
            name="verify",
            words=(*autotune, "verify", str(profile), "--budget", f"{0.1 * seconds:.0f}s", "--json"),
            share=0.13,
        ),
        Step(
            name="course",
            words=(*benchmark, "benchmarks.course", *COURSE, "--runs", "3", "--patience", "5", *chosen),
            share=0.15,
        ),
        Step(
            name="trial_costs",
            words=(*benchmark, "benchmarks.trial_costs", "--visits", "2", "--json"),
            share=0.05,
        ),
        Step(
            name="native",
            words=(*benchmark, "benchmarks.native", "--runs", "2", "--patience", "2", *chosen),
            share=0.12,
        ),
    )


def run(step: Step, seconds: float, log: Path) -> dict[str, Any]:
    """Run a step for its share of the time; returns its row. What it says besides its JSON is added to a log."""
    began = monotonic()
    problem = None
    with log.open("a") as words:
        process = subprocess.Popen(
            step.words, stdout=subprocess.PIPE, stderr=words, text=True, start_new_session=True
        )
    try:
        printed, _ = process.communicate(timeout=step.share * seconds)
    except subprocess.TimeoutExpired:
        problem = f"Its time ended after {step.share * seconds:.0f} s."
        printed = _ended(process)
    try:
        values = json.loads(printed)
    except ValueError:
        values, problem = None, problem or "It printed no JSON."
    return {
        "command": " ".join(["python", *step.words[1:]]),
        "exit": process.returncode,
        "seconds": monotonic() - began,
        "problem": problem,
        "printed": values,
    }


def _ended(process: "subprocess.Popen[str]") -> str:
    """End a step as Ctrl-C does, else kill it; returns what it printed."""
    for number in (SIGINT, SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            return process.communicate(timeout=GRACE_SECONDS)[0]
    return ""


def _slug(described: dict[str, Any]) -> str:
    """Name a machine in files."""
    words = f"{described['cpu'] or 'cpu'} {described['usable_cpus']}cpu"
    return "-".join(re.findall(r"[a-z0-9]+", words.lower()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="for everything (default 600)")
    parser.add_argument("--output", type=Path, default=RESULTS / "many-core", metavar="FOLDER")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat(), help="names the file")
    options = parser.parse_args()
    if not options.seconds >= LEAST_SECONDS:
        parser.error(f"a calibration and what follows take {LEAST_SECONDS:.0f} s at least")
    return options


if __name__ == "__main__":
    sys.exit(main())
