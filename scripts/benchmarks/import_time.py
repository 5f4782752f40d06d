"""Cost of autotune at a program's start: `import autotune`, `apply()` after NumPy, and the first call with an entry.

Medians over fresh processes, which take turns, with bytecode written and a profile of 200 entries compiled.
Exit code 1 if a median is over its limit, or if a module is loaded that a tuned program must not load.

    python scripts/benchmarks/run import_time [--processes 21] [--json]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

LIMITS = {"import": 0.002, "apply": 0.020, "first call": 0.015}
"""Seconds."""
FORBIDDEN = {
    "import": ("numpy", "optuna", "yaml", "rich", "click", "threadpoolctl"),
    "apply": ("optuna", "yaml", "rich", "click", "fsspec", "http.client", "json", "autotune.errors"),
    "first call": ("optuna", "yaml", "rich", "click", "fsspec", "dataclasses"),
}
PROBES = {
    "import": "import autotune",
    "apply": "import autotune; autotune.apply()",
    "first call": "numpy.linalg.svd(matrix)",
}
BEFORE = {
    "import": "",
    "apply": "import numpy",
    "first call": "import numpy, autotune; matrix = numpy.eye(50); numpy.linalg.svd(matrix); autotune.apply()",
}
"""Statements before a probe, whose time is not counted."""
_CHILD = """
import sys, time
{before}
start = time.perf_counter()
{probe}
seconds = time.perf_counter() - start
loaded = [name for name in {forbidden!r} if name in sys.modules]
import json
print(json.dumps([seconds, loaded]))
"""
_PROFILE = """
import numpy
from pathlib import Path
from autotune.host.usable_cpus import usable_cpus
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.model.profile import Profile, Provenance
from autotune.model.entry import Entry, Evidence, Status
from autotune.profiles import folders, profile_files
from autotune.profiles.resolve import this_site

site = this_site(*usable_cpus())
entries = tuple(
    Entry(
        operation=Operation(name=name, sizes=(("m", size), ("n", size))),
        status=Status.TUNED, reason="Made for a benchmark of start-up time.",
        choice=Configuration(blas_threads=1), evidence=Evidence(speedup=2.0, safe_threads=(1,)),
    )
    for name in ("qr", "svd", "lstsq", "pinv") for size in range(10, 510, 10)
)
profile = Profile(key=site.key, provenance=Provenance(host=site.host), entries=entries)
profile_files.write(profile, folders.user_profiles() / "benchmark.yaml")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="What autotune costs a program at start.")
    parser.add_argument("--processes", type=int, default=21, help="fresh processes for each probe")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = _environment(Path(folder))
        _run(_PROFILE, environment)
        results = measure(max(1, arguments.processes), environment)
    if arguments.json:
        print(json.dumps({"results": results}, indent=2))
    else:
        for row in results:
            loaded = f"; must not be loaded: {', '.join(row['loaded'])}" if row["loaded"] else ""
            print(
                f"{row['name']:10} {row['seconds'] * 1e3:6.2f} ms, smallest {row['smallest'] * 1e3:6.2f} ms "
                f"(limit {row['limit'] * 1e3:.0f} ms){loaded}"
            )
    return int(any(row["loaded"] or row["seconds"] > row["limit"] for row in results))


def measure(processes: int, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Yield one row a probe. The first round writes the bytecode and the compiled profile, and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in PROBES}
    loaded: dict[str, set[str]] = {name: set() for name in PROBES}
    for turn in range(processes + 1):
        for name, probe in PROBES.items():
            source = _CHILD.format(before=BEFORE[name], probe=probe, forbidden=FORBIDDEN[name])
            took, modules = json.loads(_run(source, environment))
            if turn:
                loaded[name].update(modules)
                seconds[name].append(took)
    return [
        {
            "name": name,
            "seconds": median(seconds[name]),
            "smallest": min(seconds[name]),
            "limit": LIMITS[name],
            "processes": processes,
            "loaded": sorted(loaded[name]),
        }
        for name in PROBES
    ]


def _environment(folder: Path) -> dict[str, str]:
    """Return the caller's environment, with bytecode written and only our own profile found."""
    folders = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_CACHE_HOME": str(folder / "cache")}
    dropped = {"PYTHONDONTWRITEBYTECODE", "AUTOTUNE_PROFILE", "AUTOTUNE_DISABLE"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | folders


def _run(source: str, environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", source], env=environment, check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
