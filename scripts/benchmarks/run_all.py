"""Runs every benchmark of the project and writes one dated file; the documentation is made from the newest one.

    scripts/benchmarks/run run_all                       everything: several hours on a quiet machine
    scripts/benchmarks/run run_all --only course,aa      these; the others of the day's file stay
    scripts/benchmarks/run run_all --only readme         the README's table, in twelve minutes
    scripts/benchmarks/run run_all --tables              measures nothing: tables and figures anew

docs/results/DATE.json holds for each benchmark its command, when it ended, its exit status and the JSON that it
printed, untouched, with the machine. It is written after each, so that an interruption loses one benchmark. Exits
with 1 if a benchmark did: a row failed, a promise was missed, or the machine was too busy.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.documentation_tables import put_tables

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/results"

BENCHMARKS: dict[str, list[str]] = {
    "readme": ["readme"],
    "figures": ["claims"],
    "course": ["course"],
    "runtime": ["runtime"],
    "native": ["native"],
    "learn": ["learn", "--json"],
    "trial_costs": ["trial_costs"],
    "libraries": ["libraries"],
    "import": ["import_time"],
    "profiles": ["profile_files"],
    "report": ["report"],
    "aa": ["false_positives"],
    "aa_real": ["false_positives", "--real", "100"],
    "simulated": ["simulated_search", "--machines", "100"],
    "search": ["score_search", "--first", "10000", "--instances", "40", "--seeds", "2"],
    "catalogue": ["simulated_catalogue", "--noise", "none,common,bursts-15,bursts-30,states"],
    "catalogue_many_cpus": ["simulated_catalogue", "--effort", "normal", "--cpus", "64,256", "--noise", "none,common"],
    "faked": ["faked_machines"],
    "transfer": ["warm_starts", "--machines", "50"],
    "regret_svd": ["regret", "svd", "--sizes", "n=128"],
    "regret_sqrt": ["regret", "sqrt", "--sizes", "n=1000000"],
    "regret_batch_matmul": ["regret", "batch_matmul", "--sizes", "n=300"],
    "share": ["store"],
    "cluster": ["cluster"],
    "daemon": ["daemon"],
    "advise": ["advise"],
}


def main() -> int:
    """Run, write, draw."""
    options = _options()
    if not options.tables:
        path = RESULTS / f"{options.date}.json"
        results = _read(path) or {"date": options.date, "benchmarks": {}}
        for name in options.only:
            print(f"run_all: {name} ...", file=sys.stderr, flush=True)
            results["benchmarks"][name] = measured(BENCHMARKS[name])
            _write(path, results)
        failed = [name for name in options.only if results["benchmarks"][name]["exit"]]
        if failed:
            print(f"run_all: look at {', '.join(failed)} in {path}", file=sys.stderr)
    latest = newest()
    put_tables(ROOT, latest)
    from benchmarks.draw_figures import put_figures

    put_figures(ROOT / "docs/figures", latest)
    return 1 if not options.tables and failed else 0


def newest() -> dict[str, Any]:
    """Return the newest result of every benchmark; each says itself when and where it was measured."""
    files = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    return {"benchmarks": {name: result for each in files for name, result in each["benchmarks"].items()}}


def measured(command: list[str]) -> dict[str, Any]:
    """Run a benchmark and return its output, command, exit status and the time when it ended."""
    script, *arguments = command
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{script}", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        printed = json.loads(done.stdout)
    except ValueError:
        printed = {"results": []}
    if isinstance(printed, list):
        printed = {"results": printed}
    return {
        "command": " ".join(["scripts/benchmarks/run", script, *arguments]),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit": done.returncode,
        "machine": machine(),
        **printed,
    }


def machine() -> dict[str, Any]:
    """Describe the machine of the figures."""
    import numpy as np

    from autotune import __version__
    from autotune.host.detect import detect
    from autotune.host.numeric_libraries import software
    from autotune.host.usable_cpus import usable_cpus

    versions = software(load=True)
    cpu = detect()[0]
    numbers = [f"{name} {value}" for name, value in (("family", cpu.family), ("model", cpu.model)) if value is not None]
    return {
        "cpu": f"{cpu.name} ({', '.join(numbers)})" if numbers else cpu.name,
        "usable_cpus": usable_cpus()[0],
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{versions.blas} {versions.blas_version}",
        "autotune": __version__,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_names, default=list(BENCHMARKS), metavar="NAME,..", help="of them")
    parser.add_argument("--tables", action="store_true", help="make the tables and figures anew, only")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat(), help="names the file")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no benchmark {', '.join(unknown)}; {', '.join(BENCHMARKS)}")
    return names


def _read(path: Path) -> dict[str, Any] | None:
    results: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
    return results


def _write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partly")
    partial.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, path)  # noqa: PTH105 - the atomic replacement by its usual name


if __name__ == "__main__":
    sys.exit(main())
