"""Which computer this is, and in what state: provenance, never part of a profile's key."""

import os
import platform
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.host.kernel_files import read

if TYPE_CHECKING:
    from autotune.model.profile import Provenance

HOST_ID = "AUTOTUNE_HOST_ID"

SERIALS = ("/sys/class/dmi/id/product_uuid", "/sys/class/dmi/id/board_serial", "/proc/device-tree/serial-number")


def host_id() -> str:
    """Return a text that is the same for every process on a host and differs between hosts; it hides the name.

    $AUTOTUNE_HOST_ID if set (hashed if it could not be part of a file name). Else a hash: of the machine id
    with the host name, since computers cloned from one image share the id; in containers without a machine id
    of the kernel's boot id, so that all on one computer agree until it restarts; else of the host name.
    """
    name = os.environ.get(HOST_ID, "").strip()
    if name:
        return name if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) else _hash("told", name)
    machine = _machine_id()
    if machine is not None:
        return _hash("machine", machine, socket.gethostname())
    boot = read("/proc/sys/kernel/random/boot_id")
    return _hash("boot", boot) if boot else _hash("name", socket.gethostname())


def short_host_id(host: str | None = None) -> str:
    """Return a host's identity (default: this host's) for names of files that hosts with one home must not share."""
    return _hash("file", host or host_id())[:8]


def marks() -> tuple[str, ...]:
    """Return hashes that stay when the host gets another name, as containers do at each start.

    Of the mainboard's or virtual machine's serial number (root may read it), of the current boot, which all
    containers on a computer share, and of the installed system, which clones share. Empty where AUTOTUNE_HOST_ID tells
    hosts apart.
    """
    if os.environ.get(HOST_ID, "").strip():
        return ()
    sources = {
        "board": next(filter(None, (_serial(path) for path in SERIALS)), None),
        "boot": read("/proc/sys/kernel/random/boot_id"),
        "system": _machine_id(),
    }
    return tuple(f"{kind}-{_hash(kind, text)}" for kind, text in sources.items() if text)


def is_measured_here(provenance: "Provenance") -> bool:
    """Did this computer make a measurement, under its present name or another?"""
    from autotune.model.profile import Provenance, is_same_computer

    return is_same_computer(provenance, Provenance(host=host_id(), marks=marks()))


def has_lasting_identity() -> bool:
    """Is this host known by something that a restart does not change?"""
    return bool(os.environ.get(HOST_ID, "").strip()) or any(not mark.startswith("boot-") for mark in marks())


def _serial(path: str) -> str | None:
    """Return the serial number in a file; None for those that makers leave in all their boards."""
    text = (read(path) or "").replace("-", "").lower()
    return text if len(set(text)) > 4 and not text.startswith("0300020004000500") else None


def _machine_id() -> str | None:
    machine = read("/etc/machine-id") or read("/var/lib/dbus/machine-id")
    return machine if machine and machine != "uninitialized" else None


def kernel(root: Path = Path("/")) -> str | None:
    """Return the release of the running kernel, such as `6.8.0-45-generic`; of a recorded computer with its root."""
    if root.resolve() == Path("/").resolve():
        return platform.release() or None
    return read(f"{root}/proc/sys/kernel/osrelease") or None


def governor(root: Path = Path("/")) -> str | None:
    """Return the frequency governor of the first CPU, such as "powersave"; None if it has none."""
    return read(f"{root}/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None


def _hash(*parts: str) -> str:
    """Hash to 16 hex digits; a machine id must not be shown as it is (machine-id(5))."""
    import hashlib

    return hashlib.sha256("\0".join(("autotune", *parts)).encode()).hexdigest()[:16]
