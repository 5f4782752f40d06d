"""All entries of one machine and allocation."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict

from autotune.model.allocation import Limit
from autotune.model.constraints import Amount, Exponent, Name, NonNegative, Quantity, Seed, SizeValue
from autotune.model.entry import Entry, Evidence
from autotune.model.machine import Hardware
from autotune.model.record import Record
from autotune.model.software import Software

SCHEMA = 2
"""Major version of the profile format. Files of any other are refused."""
SCHEMA_URL = f"https://numpy-autotune.readthedocs.io/schemas/profile-{SCHEMA}.json"
"""Identifier of the published JSON Schema; editors read it from the first line of a profile."""


class Key(Record, kw_only=True):
    """Key: the values that must match for a profile to apply to a machine."""

    hardware: Hardware = Hardware()
    """Must equal this machine's."""
    software: Software = Software()
    """Must equal this program's, except for the patch part of the BLAS version."""
    usable_cpus: Quantity = 1
    """Threads that could run at once: affinity, quota, cap and processes that share the CPUs counted."""
    limit: Limit = Limit.NONE
    """The tightest limit on the usable CPUs."""
    cores: Quantity | None = None
    """Physical cores of the CPUs that the process may run on: two threads of one core are not two cores."""
    nodes: Quantity | None = None
    """NUMA nodes of these CPUs."""
    kinds: tuple[str, ...] = ()
    """Kinds of these CPUs on hybrid machines, each with their number: "efficiency:4", "performance:2"."""

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the key as canonical JSON, without what is unknown of the CPUs."""
        content = asdict(self)
        for name in ("cores", "nodes", "kinds"):
            if not content[name]:
                del content[name]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def slug(self) -> str:
        """A name for files and people, such as `genuineintel-6-167-2cpu-openblas-0.3.31-1a2b3c4d5e6f`."""
        hardware, software = self.hardware, self.software
        parts = (
            hardware.vendor or hardware.architecture,
            hardware.family,
            hardware.model,
            f"{self.usable_cpus}cpu",
            software.blas,
            software.blas_version,
        )
        text = "-".join(str(part) for part in parts if part is not None).lower()
        return f"{re.sub(r'[^a-z0-9.]+', '-', text).strip('-.')[:48]}-{self.digest}"


class Provenance(Record, kw_only=True):
    """Origin of a profile. Never part of the key."""

    created: str | None = None
    """Time of the measurement (UTC, ISO 8601)."""
    autotune: str | None = None
    """Version of this package."""
    host: str | None = None
    """Identity of the host: a hash, not its name."""
    marks: tuple[str, ...] = ()
    """Hashes that identify the computer and its system under any host name; `is_same_computer` compares them."""
    cpu: str | None = None
    """Marketing name of the CPU."""
    microarchitecture: str | None = None
    """archspec's name for it, a hint at relatives; virtual machines that hide a flag get an older one."""
    kernel: str | None = None
    """Version of the kernel."""
    governor: str | None = None
    """CPU frequency governor."""
    renumbered_cpus: bool = False
    """Whether the system listed other CPUs than those measured on (lxcfs): load of others was seen for all together."""
    scrubbed: tuple[str, ...] = ()
    """Environment variables that were set by the caller and removed for the trials."""
    resolution: NonNegative | None = None
    """Half-width of the 95 % interval that the machine reports for two identical configurations."""
    capacity: NonNegative | None = None
    """Work that as many busy processes as there are usable CPUs got done, in units of one process's work."""
    memory_bandwidth: NonNegative | None = None
    """Bytes that all usable CPUs together read and wrote in a second when they copied memory."""
    peak_flops: NonNegative | None = None
    """float64 operations that all usable CPUs did in a second when they multiplied matrices in their caches."""
    effort: str | None = None
    """Effort of the calibration: quick, normal or thorough."""
    seed: Seed | None = None
    """Seed of the random numbers."""
    neighbours: Amount = 0
    """Synthetic busy processes that ran next to the trials."""
    copies: Quantity = 1
    """Copies of each trial that ran at once."""
    error_per_rule: NonNegative | None = None
    """Probability allowed for accepting a size's choice although it is not faster."""
    rules_tested: Amount = 0
    """Sizes of which a choice was put to the test."""

    @property
    def expected_wrong(self) -> float | None:
        """Upper bound of the expected number of sizes whose choice was accepted wrongly."""
        return None if self.error_per_rule is None else self.error_per_rule * self.rules_tested


SYSTEM_MARK = "system-"
"""Begins the mark of the installed system, which computers that were cloned from one image share."""


def is_same_computer(left: "Provenance", right: "Provenance") -> bool:
    """Did one computer measure both, under one name or several (a rename, two containers)?"""
    if left.host is not None and left.host == right.host:
        return True
    return any(not mark.startswith(SYSTEM_MARK) for mark in set(left.marks) & set(right.marks))


def is_same_system(left: "Provenance", right: "Provenance") -> bool:
    """Did one installed system measure both, or two that were cloned from one image?"""
    return bool(set(left.marks) & set(right.marks))


class Profile(Record, kw_only=True):
    """All entries of one machine and allocation."""

    key: Key
    """Must match for the profile to be used."""
    entries: tuple[Entry, ...] = ()
    """Every decided operation and size."""
    provenance: Provenance = Provenance()
    """Origin of the measurements."""
    blas_wait: Exponent | None = None
    """Cycles for which idle BLAS threads spin before they sleep, as an exponent of 2; 28 is OpenBLAS's default."""
    loops_after_blas: Mapping[Name, SizeValue] = {}
    """Classes of whole-array loops that gain while BLAS threads spin, with the elements from which on they do."""

    def _repr_html_(self) -> str:
        from autotune.model.units import html_table, speedup

        rows = []
        for entry in self.entries:
            evidence = Evidence() if entry.choice.is_default else entry.evidence
            gain, reason = speedup(evidence.leading_speedup), f"{entry.reason} {evidence.capacity_note}".rstrip()
            rows.append((str(entry.operation), str(entry.status), str(entry.choice), gain, reason))
        return html_table(("operation", "decision", "choice", "speed-up", "reason"), rows)
