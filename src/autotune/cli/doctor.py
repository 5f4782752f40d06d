"""`autotune doctor`: this machine, its limits and its BLAS."""

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from autotune.cli import messages, units
from autotune.cli.load_line import taken_by_others
from autotune.cli.terminal import console, printable
from autotune.host.advice import SHARED_MEMORY, advice
from autotune.host.detect import detect
from autotune.host.identity import governor, has_lasting_identity, host_id, kernel
from autotune.host.numeric_libraries import libraries as find_libraries
from autotune.host.numeric_libraries import software as find_software
from autotune.model.machine import Allocation, Machine
from autotune.model.software import BlasLibrary, Software
from autotune.parallel.worker_processes import has_semaphores

COUNTS = ("logical_cpus", "physical_cores", "packages", "numa_nodes", "l3_groups")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    help="Read the recording of another computer: a folder that holds its /sys and /proc.",
)
def doctor(as_json: bool, root: Path) -> None:
    """Describe this machine, the CPUs that a program may use here, and NumPy's BLAS.

    Warns of settings that make NumPy slow. Changes nothing.

    \b
    Examples:
      autotune doctor
      autotune doctor --json
      autotune doctor --root recorded/
    """
    own = root.resolve() == Path("/").resolve()
    machine, allocation = detect(root)
    busy = taken_by_others(allocation) if own else None
    libraries = _libraries() if own else None
    software = find_software() if own else None
    warnings = advice(
        machine,
        allocation,
        libraries,
        os.environ if own else None,
        governor=governor(root),
        shared_memory_bytes=_shared_memory_bytes() if own else None,
        busy=busy,
        has_semaphores=not own or has_semaphores(),
        has_lasting_identity=not own or has_lasting_identity(),
    )
    if as_json:
        report = {
            "machine": _machine(machine, root),
            "allocation": _allocation(allocation),
            "libraries": [asdict(library) for library in libraries or ()],
            "software": asdict(software) if software else None,
            "host": host_id() if own else None,
            "warnings": list(warnings),
        }
        click.echo(json.dumps(report, indent=2))
    else:
        _show(machine, allocation, libraries, software, warnings)


def _libraries() -> tuple[BlasLibrary, ...]:
    """NumPy's BLAS, and SciPy's own copy where SciPy is installed."""
    with contextlib.suppress(ImportError):
        import numpy as np  # noqa: F401
        import scipy.linalg  # noqa: F401
    return find_libraries()


def _shared_memory_bytes() -> int | None:
    try:
        return shutil.disk_usage(SHARED_MEMORY).total
    except OSError:
        return None


def _machine(machine: Machine, root: Path) -> dict[str, Any]:
    plain = asdict(machine)
    counts = plain.pop("counts")
    return {
        **counts,
        **plain,
        "core_kinds": dict(machine.core_kinds),
        "kernel": kernel(root),
        "governor": governor(root),
    }


def _allocation(allocation: Allocation) -> dict[str, Any]:
    plain = asdict(allocation)
    counts = plain.pop("counts")
    return {**counts, **plain}


def _show(
    machine: Machine,
    allocation: Allocation,
    libraries: Sequence[BlasLibrary] | None,
    software: Software | None,
    warnings: Sequence[str],
) -> None:
    from rich.table import Table

    out = console()
    table = Table("", "machine", "usable here", box=None, title=_title(machine), title_justify="left")
    for name in COUNTS:
        values = (getattr(machine.counts, name), getattr(allocation.counts, name))
        table.add_row(_LABELS[name], *("unknown" if value is None else str(value) for value in values))
    table.add_row("memory", units.memory(machine.memory_bytes), units.memory(allocation.memory_bytes))
    table.add_row("L2, L3", f"{units.memory(machine.l2_bytes)}, {units.memory(machine.l3_bytes)}", "")
    for kind, cpus in machine.core_kinds:
        table.add_row(f"{kind} CPUs", str(cpus), "")
    out.print(table)
    out.print(f"\n{messages.usable(allocation.usable_cpus, allocation.limit)}")
    for library in libraries or ():
        out.print(_library(library), soft_wrap=True)  # a path that is folded cannot be copied
    if software:
        out.print(messages.numpy_and_python(software.numpy, software.python))
    for warning in warnings:
        out.print(f"\n! {printable(warning)}", style="yellow")
    if not warnings:
        out.print(f"\n{messages.ALL_WELL}")


_LABELS = {
    "logical_cpus": "logical CPUs",
    "physical_cores": "physical cores",
    "packages": "packages",
    "numa_nodes": "NUMA nodes",
    "l3_groups": "L3 groups",
}


def _title(machine: Machine) -> str:
    parts = (machine.name or machine.vendor or "Unknown CPU", machine.architecture)
    return printable(", ".join(part for part in parts if part))


def _library(library: BlasLibrary) -> str:
    integers = {True: "64-bit integers", False: "32-bit integers", None: None}[library.ilp64]
    parts = (
        f"{library.api} {library.version or ''}".strip() + (f" of {library.user}" if library.user else ""),
        library.kernels and f"kernels {library.kernels}",
        library.threading and f"threading {library.threading}",
        integers,
        library.threads and f"threads {library.threads}",
        library.path,
    )
    return printable("BLAS " + ", ".join(part for part in parts if part))
