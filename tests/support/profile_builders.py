"""Profiles made by hand for tests: of an invented machine, or of this one."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.model.allocation import Limit
from autotune.model.catalogue import CATALOGUE
from autotune.model.configuration import Configuration, Knob
from autotune.model.entry import Alternative, Entry, Evidence, Status
from autotune.model.machine import Hardware
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile, Provenance
from autotune.model.software import Software

if TYPE_CHECKING:
    import pytest  # benchmarks, which use this too, have none

HARDWARE = Hardware(
    architecture="x86_64",
    vendor="GenuineIntel",
    family=6,
    model=143,
    packages=1,
    physical_cores=8,
    smt=2,
    numa_nodes=1,
    l2_bytes=2097152,
    l3_bytes=31457280,
)
SOFTWARE = Software(
    blas="openblas",
    blas_version="0.3.31",
    kernels="SkylakeX",
    threading="pthreads",
    ilp64=True,
    numpy="2.4",
    python="gil",
)
KEY = Key(hardware=HARDWARE, software=SOFTWARE, usable_cpus=8, limit=Limit.NONE)


def make_entry(
    name: str = "qr",
    *,
    status: Status | None = None,
    choice: dict[str, Any] | None = None,
    speedup: float | None = None,
    safe: Iterable[int] = (),
    others: Iterable[tuple[dict[str, Any], float]] = (),
    dtype: str = "float64",
    **sizes: int,
) -> Entry:
    """An entry: tuned if it has a choice, else default-kept. `others` are pairs of knobs and speed-up."""
    tuned = choice is not None
    speedup = speedup or (2.0 if tuned else None)
    return Entry(
        operation=Operation(name=name, dtype=dtype, sizes=tuple(sizes.items())),
        status=status or (Status.TUNED if tuned else Status.DEFAULT_KEPT),
        reason="Made by hand.",
        choice=Configuration(**(choice or {})),
        evidence=Evidence(
            speedup=speedup,
            interval=(speedup / 1.1, speedup / 0.9) if speedup else None,
            default_seconds=0.002,
            tuned_seconds=0.002 / speedup if speedup else None,
            processes=6,
            pairs=60,
            default_threads=8 if calls_blas(name) else None,
            safe_threads=tuple(safe),
        ),
        alternatives=alternatives(*others),
    )


def alternatives(*pairs: tuple[dict[str, Any], float]) -> tuple[Alternative, ...]:
    """Alternatives from pairs of knobs and speed-up."""
    return tuple(Alternative(choice=Configuration(**knobs), speedup=speedup) for knobs, speedup in pairs)


def with_evidence(entry: Entry, **changes: Any) -> Entry:
    """The entry with other evidence."""
    return replace(entry, evidence=replace(entry.evidence, **changes))


def calls_blas(name: str) -> bool:
    """Does calibrate set BLAS threads for it?"""
    return name not in CATALOGUE or Knob.BLAS_THREADS in CATALOGUE[name].knobs


def profile(*entries: Entry, key: Key = KEY, host: str | None = "here") -> Profile:
    """A profile of these entries."""
    provenance = Provenance(created="2026-01-02T03:04:05Z", autotune="0.1.0", host=host, cpu="A CPU")
    return Profile(key=key, entries=entries, provenance=provenance)


def alone(monkeypatch: "pytest.MonkeyPatch", folder: Path) -> None:
    """No profiles, caches or settings but those below this folder."""
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    for name in ("AUTOTUNE_PROFILE", "AUTOTUNE_DISABLE", "AUTOTUNE_CPUS", "AUTOTUNE_PROCESSES", "AUTOTUNE_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("autotune.profiles.folders.system_profiles", lambda: str(folder / "system"))
    monkeypatch.setattr("autotune.profiles.folders.NODE_FOLDER", str(folder / "node"))
    monkeypatch.setattr("autotune.profiles.folders.shipped_profiles", lambda: str(folder / "shipped"))


def of_this_machine(*entries: Entry) -> Profile:
    """A profile that fits this machine, as it is now, and was measured on it."""
    import numpy as np  # noqa: F401 - its BLAS is part of the key

    from autotune.host.usable_cpus import usable_cpus
    from autotune.profiles.resolve import this_site

    site = this_site(*usable_cpus())
    threads = site.schedulable_cpus
    own = (with_evidence(entry, default_threads=entry.evidence.default_threads and threads) for entry in entries)
    return profile(*own, key=site.key, host=site.host)
