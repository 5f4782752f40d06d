#!/usr/bin/env python3
"""Calibrations, end to end, on faked machines of many CPUs: choice, knobs, and time.

    scripts/benchmarks/run faked_machines                                     16, 96 and 256 CPUs, three curves
    scripts/benchmarks/run faked_machines --cpus 96 --curves scaling --budget 25 --json

Each row runs `autotune calibrate --workload` where /sys, /proc/cpuinfo and Python's affinity give the row's
number of CPUs; the work sleeps as long as a curve of its workers says. It needs mount namespaces: root, or user
namespaces.
Exits with 1 if a choice is over 2 % worse than the best, sets a knob other than the workers, or took over 30 s.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from support.faked_machines import Calibrated, calibrate_curve

from autotune.model.configuration import Configuration
from benchmarks.simulated_search import names, positive

CURVES = ("scaling", "waves", "step")
MOST_REGRET, MOST_SECONDS = 0.02, 30.0


def main() -> int:
    """Calibrate, compare, print."""
    options = _options()
    rows = []
    with TemporaryDirectory(prefix="autotune-faked-") as folder:
        for cpus in options.cpus:
            for curve in options.curves:
                rows.append(calibrate_curve(Path(folder), curve, cpus=cpus, seconds=options.budget))
                if not options.json:
                    print(_line(rows[-1]), flush=True)
    if options.json:
        results = [{**asdict(row), "choice": row.choice.as_dict(), "kept": _is_kept(row)} for row in rows]
        print(json.dumps({"results": results}, indent=1))
    return 0 if all(map(_is_kept, rows)) else 1


def _is_kept(row: Calibrated) -> bool:
    only_workers = row.choice == Configuration(workers=row.choice.workers)
    return row.regret <= MOST_REGRET and row.seconds <= MOST_SECONDS and only_workers


def _line(row: Calibrated) -> str:
    return (
        f"{row.cpus:>4} CPUs  {row.curve:<9}{row.status:<14}{row.choice!s:<24} regret {row.regret:6.2%}, "
        f"speed-up {row.speedup:5.2f}, {row.seconds:5.1f} s{'' if _is_kept(row) else '  MISSED'}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=lambda text: [positive(word) for word in text.split(",")], default=[16, 96, 256])
    parser.add_argument("--curves", type=names(CURVES), default=list(CURVES), help=", ".join(CURVES))
    parser.add_argument("--budget", type=float, default=25.0, help="seconds of each calibration")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
