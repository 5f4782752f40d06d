#!/usr/bin/env python3
"""Figures of a machine of many CPUs, within ten minutes and without a network.

    scripts/benchmarks/many_core                        calibrate, verify, the course, and what depends on the CPUs
    scripts/benchmarks/many_core --seconds 90           the same in short, to try it
    scripts/benchmarks/many_core --decisions            what calibrations decide, on any machine: 25 minutes

The last calibrates with the usual efforts, quietly and next to a process that uses 15 and 30 % of a CPU in bursts,
once for three times as long, and on faked machines; it verifies the first profile at the end. Its document has a row
for each figure, with the figure that is asked for on two CPUs. Configuration and state lie in a folder of its own.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import log
from pathlib import Path
from signal import SIGINT, SIGKILL, default_int_handler, signal
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from autotune.errors import ProfileError
from autotune.model.entry import Status
from autotune.model.profile import Profile
from autotune.profiles import profile_files
from autotune.search.request import BUDGET_SECONDS, Effort
from benchmarks.run_all import RESULTS, machine

GRACE_SECONDS = 10.0
"""After which a step that was told to end is ended."""
START_SECONDS, LEAST_BUDGET = 10.0, 10.0
LEAST_SECONDS = 30.0
"""Seconds of all steps."""
SECONDS, DECISIONS_SECONDS = 600.0, 1500.0
BURST_EVERY = 0.2
BURSTS = (0.15, 0.3)
"""Share of a CPU that a process uses in bursts, one in `BURST_EVERY` seconds."""
LONGER = 3.0
"""Times the budget of a quick calibration, of the one that its gain is compared with."""
BURNER = """
import time
while True:
    end = time.perf_counter() + {busy}
    while time.perf_counter() < end: pass
    time.sleep({idle})
"""
COURSE = ("log", "sqrt", "tasks_of_300", "shared_array", "qr_in_a_loop", "svd_in_a_loop", "stack")
"""Programs of the course that take seconds; the others take minutes where memory is large."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and its share of the time."""

    name: str
    words: tuple[str, ...]
    share: float
    burst: float = 0.0
    """Share of a CPU that another process uses meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that is asked for."""

    what: str
    measured: float | None
    """None where its step ended without it."""
    at_most: float | None = None
    at_least: float | None = None
    of: int | None = None
    """Entries that were counted."""

    @property
    def is_met(self) -> bool | None:
        """Is it as asked for? None if it was not measured."""
        if self.measured is None:
            return None
        return (self.at_most is None or self.measured <= self.at_most) and (
            self.at_least is None or self.measured >= self.at_least
        )


def main() -> int:
    """Run the steps, write after each."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    signal(SIGINT, default_int_handler)  # ignored in a shell's background, by the steps too, which it ends early
    return _decisions(options) if options.decisions else _many_core(options)


def _decisions(options: argparse.Namespace) -> int:
    """Measure what calibrations decide; print and write a row for each figure."""
    document: dict[str, Any] = {"schema": "decisions/1", "date": options.date, "machine": machine()}
    document["steps"] = steps = {}
    results = options.output / f"{options.date}-{_slug(document['machine'])}-decisions.json"
    with TemporaryDirectory(prefix="autotune-decisions-") as name, _set_apart(Path(name)):
        for step in _decision_steps(options.output, options.seconds / DECISIONS_SECONDS):
            print(f"many_core: {step.name} ...", file=sys.stderr, flush=True)
            steps[step.name] = run(step, options.seconds, options.output / "steps.log")
            rows = figures(steps, options.output)
            document["figures"] = [{**asdict(row), "met": row.is_met} for row in rows]
            results.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    for row in rows:
        limit = f"at most {row.at_most:g}" if row.at_most is not None else f"at least {row.at_least:g}"
        measured = "not measured" if row.measured is None else f"{row.measured:.3g}"
        of = "" if row.of is None else f" of {row.of}"
        print(f"{row.what:<62} {measured}{of}; asked: {limit}{'' if row.is_met else '  MISSED'}")
    print(results)
    return 0 if all(row.is_met for row in rows) else 1


@contextmanager
def _set_apart(folder: Path) -> Iterator[None]:
    """Give the children of the `with` a configuration, state and cache of their own: nothing is known before."""
    names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "AUTOTUNE_STATE_DIR", "AUTOTUNE_PROFILE")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ.update({name: str(folder / name) for name in names[:-1]})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def _decision_steps(folder: Path, scale: float) -> Sequence[Step]:
    """Return the commands of `_decisions`; budgets are the usual ones, times `scale` where it is tried in short."""

    def step(name: str, words: Sequence[str], seconds: float, burst: float = 0.0) -> Step:
        """Return a step of this budget; its start, and the end of its last process, are given to each."""
        budget = max(LEAST_BUDGET, seconds * scale)
        share = (1.1 * budget + GRACE_SECONDS + START_SECONDS) / (DECISIONS_SECONDS * scale)
        said = (sys.executable, "-m", *words, "--json", "--budget")
        return Step(name=name, words=(*said, f"{budget:.0f}s"), share=share, burst=burst)

    def calibration(name: str, effort: Effort, *, times: float = 1.0, burst: float = 0.0) -> Step:
        words = ("autotune", "calibrate", "--effort", str(effort), "--output", str(folder / f"{name}.yaml"))
        return step(name, words, BUDGET_SECONDS[effort] * times, burst)

    return (
        calibration("normal", Effort.NORMAL),
        calibration("quick", Effort.QUICK),
        *(calibration(f"quick-bursts-{burst:.0%}", Effort.QUICK, burst=burst) for burst in BURSTS),
        calibration("longer", Effort.QUICK, times=LONGER),
        Step(
            name="faked",
            words=(sys.executable, "-m", "benchmarks.faked_machines", "--cpus", "96", "--json"),
            share=120.0 / (DECISIONS_SECONDS * scale),
        ),
        step("verify", ("autotune", "verify", str(folder / "normal.yaml")), 180.0),
    )


def figures(steps: dict[str, dict[str, Any]], folder: Path) -> list[Figure]:
    """Return the figures of the steps that were run, and those that are still to come without a value."""
    rows = []
    for name, most in (("normal", 3), ("quick", 3), ("quick-bursts-15%", 5), ("quick-bursts-30%", 9)):
        profile = _profile(steps, name, folder)
        undecided = None if profile is None else sum(not entry.is_decided for entry in profile.entries)
        of = None if profile is None else len(profile.entries)
        rows.append(Figure(what=f"{name}: entries undecided or noisy", measured=undecided, at_most=most, of=of))
        if name == "normal":
            spent = [each["calibration"] for each in _printed(steps, name).get("profiles", ()) if "calibration" in each]
            minutes = steps[name]["seconds"] / 60 if spent else None
            sampled = spent[0]["sampled_seconds"] / spent[0]["seconds"] if spent else None
            rows.append(Figure(what="normal: minutes", measured=minutes, at_most=5.5))
            rows.append(Figure(what="normal: timed samples over wall time", measured=sampled, at_least=0.35))
    quick, longer = (_profile(steps, name, folder) for name in ("quick", "longer"))
    share = None if quick is None or longer is None or not _gain(longer) else _gain(quick) / _gain(longer)
    rows.append(Figure(what="quick: share of the gain of three times the budget", measured=share, at_least=0.95))
    results = _printed(steps, "faked").get("results", ())
    for name, limit in (("regret", 0.02), ("seconds", 30.0)):
        worst = max((row[name] for row in results if row["cpus"] == 96), default=None)
        rows.append(Figure(what=f"faked 96 CPUs: {name}, worst curve", measured=worst, at_most=limit))
    checks = [row for row in _printed(steps, "verify").get("entries", ()) if row["standing"] != "open"]
    holds = sum(row["standing"] == "holds" for row in checks) / len(checks) if checks else None
    slowest = min((row["speedup"] for row in checks if row["speedup"] is not None), default=None)
    rows.append(Figure(what="verify: choices that hold", measured=holds, at_least=0.97))
    rows.append(Figure(what="verify: slowest choice, default over choice", measured=slowest, at_least=0.97))
    return rows


def _printed(steps: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the JSON document of a step; empty before it was run, or without one."""
    return steps.get(name, {}).get("printed") or {}


def _profile(steps: dict[str, dict[str, Any]], name: str, folder: Path) -> Profile | None:
    """Return the profile that a step of this run wrote."""
    if not _printed(steps, name):
        return None
    try:
        return profile_files.read(folder / f"{name}.yaml")
    except ProfileError:
        return None


def _gain(profile: Profile) -> float:
    """Sum of the logarithms of the speed-ups of the tuned entries."""
    tuned = (entry for entry in profile.entries if entry.status is Status.TUNED)
    return sum(log(entry.evidence.speedup or 1.0) for entry in tuned)


def _many_core(options: argparse.Namespace) -> int:
    """Measure a machine of many CPUs."""
    partial = options.output / "profile.partly.yaml"
    document: dict[str, Any] = {"schema": "many-core/1", "date": options.date, "machine": machine(), "steps": {}}
    results = options.output / f"{options.date}-{_slug(document['machine'])}.json"
    for step in _steps(partial, options.seconds):
        print(f"many_core: {step.name} ...", file=sys.stderr, flush=True)
        document["steps"][step.name] = row = run(step, options.seconds, options.output / "steps.log")
        results.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        print(f"{step.name:<12} exit {row['exit']!s:<5} {row['seconds']:6.1f} s  {row['problem'] or ''}", flush=True)
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
            words=(*autotune, "calibrate", "--budget", f"{0.5 * seconds:.0f}s", "--output", str(profile), "--json"),
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
        Step(name="trial_costs", words=(*benchmark, "benchmarks.trial_costs", "--visits", "2", "--json"), share=0.05),
        Step(
            name="native",
            words=(*benchmark, "benchmarks.native", "--runs", "2", "--patience", "2", *chosen),
            share=0.12,
        ),
    )


def run(step: Step, seconds: float, steps_log: Path) -> dict[str, Any]:
    """Run a step for its share of the time; returns its row. What it says besides its JSON is added to a log."""
    began = monotonic()
    problem = None
    with steps_log.open("a") as words, _bursts(step.burst):
        process = subprocess.Popen(step.words, stdout=subprocess.PIPE, stderr=words, text=True, start_new_session=True)
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


@contextmanager
def _bursts(share: float) -> Iterator[None]:
    """Use this share of a CPU in another process within the `with`, in bursts."""
    if not share:
        yield
        return
    busy = share * BURST_EVERY
    burner = subprocess.Popen([sys.executable, "-c", BURNER.format(busy=busy, idle=BURST_EVERY - busy)])
    try:
        yield
    finally:
        burner.kill()
        burner.wait()


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", action="store_true", help="what calibrations decide here instead")
    parser.add_argument(
        "--seconds", type=float, help=f"for everything (default {SECONDS:.0f}, decisions {DECISIONS_SECONDS:.0f})"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "many-core", metavar="FOLDER")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat(), help="names the file")
    options = parser.parse_args()
    options.seconds = options.seconds or (DECISIONS_SECONDS if options.decisions else SECONDS)
    if not options.seconds >= LEAST_SECONDS:
        parser.error(f"a calibration and what follows take {LEAST_SECONDS:.0f} s at least")
    return options


if __name__ == "__main__":
    sys.exit(main())
