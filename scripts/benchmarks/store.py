#!/usr/bin/env python3
"""Sharing profiles, at the size of a cluster: what it costs, and that nothing is torn or lost.

    scripts/benchmarks/run store                                  everything; about eight minutes
    scripts/benchmarks/run store --only pull,merge --json
    scripts/benchmarks/run store --only folder,s3 --seconds 10    shorter storms
    scripts/benchmarks/run store --only warm --machines 40

    crowd    hosts of 50 classes publish into one folder; then one host pulls: what it reads
    pull     a class with 200 publishers of 100 entries each, cold and with local copies; apply() afterwards
    merge    1,000 profiles of 100 entries
    folder   8 writers and 4 readers in one folder: torn reads, lost publications
    s3       the same against a server of the S3 protocol on loopback (moto)
    warm     simulated machines: time of a calibration with a relative's profile over one without, and what it chose

Exit code 1 if a figure is missed.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter, process_time
from typing import Any

from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.machine import Hardware
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile, Provenance
from autotune.model.software import Software
from autotune.share.fetch import read_class
from autotune.share.folder_backend import FolderBackend
from autotune.share.merge import merge_publications
from autotune.share.mirror import pull
from autotune.share.publication import Publication
from autotune.share.publish import publish
from autotune.share.store_settings import open_store
from autotune.share.trust import TrustPolicy

CLASSES = 50
WRITERS, READERS = 8, 4
HOSTS_OF_A_WRITER = 25
MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
APPLY = """
import time, numpy, autotune
start = time.perf_counter()
autotune.apply()
print(time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure and its limit."""

    what: str
    value: float
    limit: float | None
    """None: for comparison."""
    unit: str = "s"
    detail: str = ""

    @property
    def met(self) -> bool:
        """Is it within its limit?"""
        return self.limit is None or self.value <= self.limit


def main() -> int:
    """Run what was asked for, print a row for each figure."""
    arguments = parse()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            own = Path(folder) / name
            own.mkdir()
            with alone(own):
                for row in BENCHES[name](own, arguments):
                    rows.append(row)
                    if not arguments.json:
                        print(show(row), flush=True)
    if arguments.json:
        plain = [
            {"what": row.what, "value": row.value, "limit": row.limit, "unit": row.unit, "met": row.met}
            | ({"detail": row.detail} if row.detail else {})
            for row in rows
        ]
        print(json.dumps({"results": plain}, indent=2))
    return 0 if all(row.met for row in rows) else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(BENCHES), help=", ".join(BENCHES))
    parser.add_argument("--hosts", type=int, default=10_000, help="that publish into one store")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each storm of writers and readers")
    parser.add_argument("--machines", type=int, default=40, help="simulated ones for warm starts")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.only if name not in BENCHES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    return arguments


def show(row: Row) -> str:
    """Print for people."""
    verdict = "" if row.limit is None else f"at most {row.limit:g}   {'ok' if row.met else 'MISSED'}"
    value = f"{row.value:.3g} {row.unit}".rstrip()
    return f"{row.what:<58}{value:>14}   {verdict:<22}{row.detail}".rstrip()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Use folders of our own: no user's profiles are read or changed."""
    before = dict(os.environ)
    for name in ("CONFIG", "STATE", "CACHE", "DATA"):
        os.environ[f"XDG_{name}_HOME"] = str(folder / name.lower())
    for name in ("AUTOTUNE_STATE_DIR", "AUTOTUNE_STORE", "AUTOTUNE_PROFILE"):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def key(number: int = 0) -> Key:
    """Return the key of one of many classes."""
    return Key(
        hardware=Hardware(
            architecture="x86_64",
            vendor="GenuineIntel",
            family=6,
            model=number,
            packages=2,
            physical_cores=64,
            smt=2,
            numa_nodes=2,
            l2_bytes=2**21,
            l3_bytes=2**26,
        ),
        software=Software(blas="openblas", blas_version="0.3.31", kernels="SkylakeX", numpy="2.4", python="gil"),
        usable_cpus=64,
        limit=Limit.NONE,
    )


def profile(host: str, count: int, *, of: Key, created: str = "2026-01-02T03:04:05+00:00") -> Profile:
    """Return a profile that a host may have measured."""
    luck = sum(host.encode())
    entries = tuple(
        Entry(
            operation=Operation(name="qr", sizes=(("m", 10 + number), ("n", 10 + number))),
            status=Status.TUNED,
            reason=f"{2 - (luck % 9) / 10:.2f} times as fast as the default on fresh data.",
            choice=Configuration(blas_threads=1 + number % 4 + (luck % 7 == 0)),
            evidence=Evidence(
                speedup=1 / (0.55 + (luck % 9) / 100),
                interval=(1 / (0.6 + (luck % 9) / 100), 1 / (0.5 + (luck % 9) / 100)),
                default_seconds=0.00123 + number * 1e-6,
                tuned_seconds=0.00068 + number * 1e-6,
                processes=6,
                pairs=120,
                default_threads=64,
                safe_threads=(1, 2, 4, 8),
            ),
        )
        for number in range(count)
    )
    return Profile(key=of, entries=entries, provenance=Provenance(created=created, host=host, cpu="A CPU"))


def crowd(folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Publish from a whole cluster; one host reads its class only."""
    root = folder / "store"
    root.mkdir()
    store = open_store(str(root))
    began = perf_counter()
    for number in range(arguments.hosts):
        publish(profile(f"host{number}", 20, of=key(number % CLASSES)), store)
    spent = perf_counter() - began
    yield Row(
        what=f"publishing, {arguments.hosts} hosts of {CLASSES} classes: each", value=spent / arguments.hosts, limit=1.0
    )
    read: Counter[str] = Counter()
    listed: Counter[str] = Counter()
    plain_read, plain_files = FolderBackend.read, FolderBackend.files

    def counted_read(self: FolderBackend, name: str, names: Any, limit: int) -> Any:
        read[name] += len(names)
        return plain_read(self, name, names, limit)

    def counted_files(self: FolderBackend, name: str) -> Any:
        listed[name] += 1
        return plain_files(self, name)

    FolderBackend.read, FolderBackend.files = counted_read, counted_files  # type: ignore[method-assign,assignment]
    began = perf_counter()
    pulled = pull(store, TrustPolicy(), key(7))
    spent = perf_counter() - began
    FolderBackend.read, FolderBackend.files = plain_read, plain_files  # type: ignore[method-assign]
    foreign = sum(count for name, count in (read + listed).items() if name != key(7).slug)
    yield Row(
        what="fitting one host: listings and files of other classes",
        value=foreign,
        limit=0,
        unit="",
        detail=f"{read[key(7).slug]} files of its own, {pulled.mirrored[0].hosts} hosts",
    )
    yield Row(what="fitting one host: pull", value=spent, limit=2.0)


def pull_large(folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """A class with many publishers."""
    del arguments
    from autotune.search.runner import this_key

    own_key = this_key()
    root = folder / "store"
    root.mkdir()
    store = open_store(str(root))
    for number in range(200):
        publish(profile(f"host{number}", 100, of=own_key), store)
    for name in ("cold", "with local copies"):
        began, busy = perf_counter(), process_time()
        pulled = pull(store, TrustPolicy(), own_key)
        spent, busy = perf_counter() - began, process_time() - busy
        own = pulled.mirrored[0]
        yield Row(
            what=f"pull, 200 publishers x 100 entries, {name}",
            value=spent,
            limit=2.0,
            detail=f"{own.entries} entries, {own.confirmed} confirmed, {busy:.2f} s of CPU time",
        )
    seconds = []
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # programs are compiled once
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    for _ in range(12):
        done = subprocess.run([sys.executable, "-c", APPLY], capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    yield Row(what="apply() on the mirror, from its compiled copy, median", value=median(seconds[1:]), limit=0.02)


def merge_many(folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Merge and election alone."""
    del folder, arguments
    made = [Publication(name="", profile=profile(f"host{number}", 100, of=key())) for number in range(1000)]
    began = perf_counter()
    merged = merge_publications(made, key())
    spent = perf_counter() - began
    yield Row(
        what="merge of 1,000 profiles x 100 entries", value=spent, limit=5.0, detail=f"{len(merged.entries)} entries"
    )


def storm_in_folder(folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Writers and readers in one folder."""
    root = folder / "store"
    root.mkdir()
    yield from storm("folder", str(root), arguments.seconds)


def storm_on_s3(folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Writers and readers against one server."""
    del folder
    with subprocess.Popen(
        [sys.executable, "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "NO_PROXY": "127.0.0.1",
        }
        import s3fs

        s3fs.S3FileSystem().mkdir("cluster")
        yield from storm("s3", "s3://cluster/autotune", arguments.seconds)
        server.kill()


def storm(name: str, address: str, seconds: float) -> Iterator[Row]:
    """Each writer stands for hosts that publish again and again; in the end the latest of each must be there."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(WRITERS + READERS) as pool:
        writing = [pool.apply_async(write, (address, number, seconds)) for number in range(WRITERS)]
        reading = [pool.apply_async(read, (address, seconds)) for _ in range(READERS)]
        acknowledged = {host: made for job in writing for host, made in job.get().items()}
        reads = [job.get() for job in reading]
    latest: dict[str, str] = {}
    final = read_class(open_store(address), key().slug, TrustPolicy())
    for publication in final.publications:
        created = publication.profile.provenance.created or ""
        latest[publication.host] = max(latest.get(publication.host, ""), created)
    lost = [host for host, (created, _) in acknowledged.items() if latest.get(host, "") < created]
    published = sum(count for _, count in acknowledged.values())
    torn = sum(reader["torn"] for reader in reads) + len(final.rejected)
    files = sum(reader["files"] for reader in reads)
    yield Row(
        what=f"{name}: torn reads",
        value=torn,
        limit=0,
        unit="",
        detail=f"{files} files in {sum(reader['reads'] for reader in reads)} reads of the class, {seconds:g} s",
    )
    yield Row(
        what=f"{name}: lost publications",
        value=len(lost),
        limit=0,
        unit="",
        detail=f"of {published} by {len(acknowledged)} hosts, {WRITERS} writers",
    )


def write(address: str, number: int, seconds: float) -> dict[str, tuple[str, int]]:
    """Publish for so long. Returns, for each host, the stamp of its last publication and how many there were."""
    store = open_store(address)
    done: dict[str, tuple[str, int]] = {}
    end = monotonic() + seconds
    turn = 0
    while monotonic() < end:
        host = f"w{number}-{turn % HOSTS_OF_A_WRITER}"
        stamp = f"2026-01-01T00:00:00.{turn:09}+00:00"
        publish(profile(host, 20, of=key(), created=stamp), store)
        done[host] = (stamp, done.get(host, ("", 0))[1] + 1)
        turn += 1
    return done


def read(address: str, seconds: float) -> dict[str, int]:
    """Read the class for so long; everything that was refused is torn, since nothing bad is published."""
    store = open_store(address)
    counts = {"torn": 0, "files": 0, "reads": 0}
    end = monotonic() + seconds
    while monotonic() < end:
        reading = read_class(store, key().slug, TrustPolicy())
        counts["torn"] += len(reading.rejected)
        counts["files"] += len(reading.publications)
        counts["reads"] += 1
    return counts


def warm_start(folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """A whole calibration with a relative's profile over one without: its time, and how good its choice truly is."""
    del folder
    import numpy as np
    from support.simulated_machines import WEATHERS, SimulatedBench, Task, draw

    from autotune.search.warm_starts import warm_starts
    from benchmarks.simulated_search import entries

    def calibrated(task: Task, seed: int, profiles: list[Profile]) -> tuple[Entry, float]:
        """The first entry that `autotune calibrate` decides, and the seconds that all of it takes."""
        bench = SimulatedBench(task.computer, task.kind, WEATHERS["common"], seed=seed)
        return entries(task, bench, seed, warm_starts(profiles))[0], bench.clock

    def true(task: Task, entry: Entry) -> float:
        return float(task.computer.seconds(task.kind, task.operation, entry.choice))

    pairs: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(arguments.machines):
        task = draw(seed)
        cold, spent = calibrated(task, seed, [])
        if cold.choice.is_default:
            continue  # nothing to find
        for name, profiles in relatives(task, seed, calibrated):
            warm, took = calibrated(task, seed, profiles)
            pairs.setdefault(name, []).append((took, spent, true(task, warm) / true(task, cold)))
    for name, triples in pairs.items():
        took, spent, loss = np.transpose(triples)
        yield Row(
            what=f"warm over cold, {name}: time of all machines",
            value=float(took.sum() / spent.sum()),
            limit=1 / 3,
            unit="",
            detail=f"{len(loss)} machines, median {np.median(took / spent):.2f}",
        )
        yield Row(
            what=f"warm over cold, {name}: time of what was chosen, mean",
            value=float(np.exp(np.log(loss).mean())),
            limit=1.02,
            unit="",
            detail=f"{(loss <= 1.02).mean():.0%} as good within 2 %, worst {loss.max():.2f}",
        )


def relatives(task: Any, seed: int, calibrated: Any) -> Iterator[tuple[str, list[Profile]]]:
    """Prior knowledge of the machine: the choices of a relative."""
    import numpy as np

    computer = task.computer
    random = np.random.default_rng([31, seed])
    traits = ("bandwidth", "serial_blas", "serial_workers", "barrier", "start", "slice_seconds", "cache")
    changed = {name: getattr(computer, name) * float(np.exp(random.normal(0, 0.2))) for name in traits}
    for name, relative in (
        ("a host of the same class", computer),
        ("a sibling CPU", replace(computer, seed=computer.seed + 1, **changed)),
        ("half the CPUs", replace(computer, cpus=max(2, computer.cpus // 2))),
    ):
        entry, _ = calibrated(replace(task, computer=relative), seed + 1, [])
        yield name, [Profile(key=Key(usable_cpus=relative.cpus), entries=(entry,))]


BENCHES: dict[str, Callable[[Path, argparse.Namespace], Iterator[Row]]] = {
    "crowd": crowd,
    "pull": pull_large,
    "merge": merge_many,
    "folder": storm_in_folder,
    "s3": storm_on_s3,
    "warm": warm_start,
}

if __name__ == "__main__":
    sys.exit(main())
