"""Costs of profiles: reading our largest one, applying it from its compiled copy, refusing hostile ones.

The largest profile has 10,000 entries, each with all that calibrate writes. `scan` is the time per megabyte until
its document is built, every check included, and `events` that of libyaml's parser alone, in turns with it; both in
CPU seconds. `apply` and `find` are medians over fresh processes that have imported NumPy and find the compiled copy;
`copy` is what these entries cost there: apply() with all of them less apply() with one.
Hostile documents are timed until they are refused. Exit code 1 if a figure is over its limit.

    python scripts/benchmarks/run profile_files [--entries 10000] [--repeats 7] [--json]

Mutated profiles: `AUTOTUNE_MUTANTS=10000 python -m pytest tests/profiles/test_profiles_mutants.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np  # its BLAS is part of the key
import yaml

from autotune.errors import ProfileError
from autotune.host.usable_cpus import usable_cpus
from autotune.model.catalogue import CATALOGUE
from autotune.model.configuration import Configuration
from autotune.model.entry import Alternative, Entry, Evidence, Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile, Provenance
from autotune.profiles import profile_files
from autotune.profiles.profile_document import decode_profile
from autotune.profiles.resolve import this_site
from autotune.profiles.yaml_subset import MAX_BYTES, MAX_NODES, parse
from autotune.profiles.yaml_writer import text_of

LIMITS = {"bytes": MAX_BYTES, "scan": 0.15, "copy": 0.010, "refusal": 0.010}
"""Bytes; seconds per megabyte; seconds; seconds."""

_CHILD = """
import sys, numpy
from time import perf_counter
import autotune
from autotune.runtime.process_state import state
began = perf_counter()
autotune.apply()
applied = perf_counter()
found = autotune.config("svd", n={size})
print(applied - began, perf_counter() - applied)
assert state.setting.failure is None and found is not None, (state.setting.failure, found)
assert "yaml" not in sys.modules
"""


def largest(count: int) -> tuple[Profile, int]:
    """Return a profile of this machine with `count` entries, and a size of svd that is among them."""
    site = this_site(*usable_cpus())
    kinds = [kind for kind in CATALOGUE.values() if not kind.name.startswith("batch")]
    each = -(-count // len(kinds))
    entries = [
        _made_entry(kind.name, dict.fromkeys(kind.size_names, 16 + number)) for kind in kinds for number in range(each)
    ][:count]
    provenance = Provenance(created="2026-01-02T03:04:05+00:00", autotune="0.1.0", host=site.host)
    return Profile(key=site.key, provenance=provenance, entries=tuple(entries)), 16


def _made_entry(name: str, sizes: dict[str, int]) -> Entry:
    return Entry(
        operation=Operation(name=name, sizes=tuple(sizes.items())),
        status=Status.TUNED,
        reason="Proved faster in 6 fresh processes. The CPUs were taken by others for 1.2 % of the time.",
        choice=Configuration(blas_threads=1),
        alternatives=tuple(
            Alternative(choice=Configuration(blas_threads=count), speedup=1.6 + count / 100) for count in range(1, 7)
        ),
        evidence=Evidence(
            speedup=1 / 0.530012,
            interval=(1 / 0.554321, 1 / 0.512345),
            default_seconds=0.00123456,
            tuned_seconds=0.000654321,
            processes=6,
            pairs=120,
            default_threads=len(os.sched_getaffinity(0)),
            safe_threads=(1, 2),
        ),
    )


def scanned(data: bytes, repeats: int) -> dict[str, float]:
    """Return CPU seconds per megabyte of our scan and of libyaml's events, in turns, and the ratio of their medians."""
    text = data.decode()
    seconds: dict[str, list[float]] = {"scan": [], "events": []}
    for _ in range(repeats):
        seconds["scan"].append(_timed(lambda: parse(data)))
        seconds["events"].append(_timed(lambda: _events(text)))
    scan, events = (median(seconds[name]) / (len(data) / 1e6) for name in ("scan", "events"))
    return {"scan": scan, "events": events, "scan_over_events": scan / events}


def _timed(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def _events(text: str) -> None:
    for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
        pass


def applied(profile: Profile, size: int, repeats: int) -> dict[str, float]:
    """Return medians of apply() and of the first look-up of a size, in fresh processes with a compiled copy.

    `apply_one` is the same with a single entry, in turns with it, and `copy` what the other entries add.
    """
    single = replace(
        profile, entries=tuple(each for each in profile.entries if each.operation == _asked(profile, size))
    )
    seconds: dict[str, list[float]] = {"apply": [], "find": [], "apply_one": []}
    with tempfile.TemporaryDirectory() as large, tempfile.TemporaryDirectory() as small:
        _write(profile, large)
        _write(single, small)
        for _ in range(repeats):
            for root, names in ((large, ("apply", "find")), (small, ("apply_one",))):
                for name, said in zip(names, _run(_CHILD.format(size=size), root).split(), strict=False):
                    seconds[name].append(float(said))
    row = {name: median(values) for name, values in seconds.items()}
    pairs = zip(seconds["apply"], seconds["apply_one"], strict=True)
    return {**row, "copy": median(big - little for big, little in pairs)}


def _asked(profile: Profile, size: int) -> Operation:
    """Return the entry that the children look up."""
    return next(
        each.operation
        for each in profile.entries
        if each.operation.name == "svd" and set(each.operation.size.values()) == {size}
    )


def _write(profile: Profile, root: str) -> None:
    """Put a profile where programs with this root look, and let one compile it."""
    profile_files.write(profile, Path(root) / "autotune" / "profiles" / "bench.yaml")
    _run("import autotune; autotune.apply()", root)


def _run(code: str, root: str) -> str:
    names = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
    environ = {**os.environ, **dict.fromkeys(names, root), "AUTOTUNE_PROFILE": ""}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled bytecode is part of what a program has
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


def hostile() -> dict[str, bytes]:
    """Return documents that are refused."""
    anchors = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(9))
    merges = "\n".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))
    return {
        "aliases": anchors.encode(),
        "merge keys": f"a0: &a0 {{x: 1}}\n{merges}".encode(),
        "depth": b"[" * 100_000,
        "depth by indentation": b"- " * 100_000 + b"1",
        "tag": b"!!python/object/apply:os.system [ls]",
        "number": b"a: " + b"9" * 5000,
        "NUL": b"a: \0",
        "equal keys": b"{a: 1, a: 2}",
        "too large": b"#" * (MAX_BYTES + 1),
        "schema of the future": b"schema: 9\nkey: {}\n",
        "no profile": b"[1, 2, 3]",
    }


def refused(data: bytes) -> tuple[float, str]:
    """Return the seconds until a document is refused, the best of three, and the reason."""
    seconds = []
    for _ in range(3):
        began = perf_counter()
        try:
            decode_profile(parse(data))
        except ProfileError as error:
            seconds.append(perf_counter() - began)
            reason = str(error)
        else:
            raise AssertionError(data[:40])
    return min(seconds), reason


def main() -> int:
    """Measure, print, judge."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--entries", type=int, default=10_000)
    words.add_argument("--repeats", type=int, default=7)
    words.add_argument("--json", action="store_true", help="print the same as JSON")
    options = words.parse_args()
    profile, size = largest(options.entries)
    data = text_of(profile).encode()
    assert len(decode_profile(parse(data)).entries) == options.entries, "our limits refuse our own profile"
    refusals = {name: refused(each) for name, each in hostile().items()}
    row = {
        "numpy": np.__version__,
        "entries": options.entries,
        "bytes": len(data),
        "values": _values(parse(data)),
        "most_values": MAX_NODES,
        **scanned(data, options.repeats),
        **applied(profile, size, options.repeats),
        "refusal": max(seconds for seconds, _ in refusals.values()),
    }
    over = [name for name, limit in LIMITS.items() if row[name] > limit]
    if options.json:
        plain = {name: {"seconds": seconds, "reason": reason} for name, (seconds, reason) in refusals.items()}
        print(json.dumps({**row, "limits": LIMITS, "over": over, "refusals": plain}, indent=2))
    else:
        for name, value in row.items():
            limit = f"   limit {LIMITS[name]:g}" if name in LIMITS else ""
            print(f"{name:18} {value:>14.6g}{limit}" if isinstance(value, float) else f"{name:18} {value:>14}{limit}")
        for name, (seconds, reason) in refusals.items():
            print(f"  {name:22} {seconds * 1e3:8.2f} ms  {reason}")
    return 1 if over else 0


def _values(document: object) -> int:
    """Count the values of a document, as its limit counts them: keys too."""
    if isinstance(document, dict):
        return 1 + sum(1 + _values(value) for value in document.values())
    return 1 + sum(map(_values, document)) if isinstance(document, list) else 1


if __name__ == "__main__":
    sys.exit(main())
