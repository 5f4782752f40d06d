"""`autotune doctor`."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from os.path import exists  # Path's raises for a folder that is closed
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import click

from autotune.cli.messages import LAYERS, SWITCHED_OFF, limit_text
from autotune.cli.terminal import json_option, print_json, print_lines
from autotune.controls import wait_policy
from autotune.errors import AutotuneError
from autotune.host import cpu_variables, pressure
from autotune.host.detect import detect
from autotune.host.identity import governor, has_lasting_identity, host_id, kernel
from autotune.host.machine_warnings import SHARED_MEMORY, THREAD_COUNTS, machine_warnings
from autotune.host.numeric_libraries import isolating_tool
from autotune.host.numeric_libraries import libraries as find_libraries
from autotune.host.numeric_libraries import software as find_software
from autotune.model import units
from autotune.model.machine import Allocation, Machine
from autotune.model.record import Record
from autotune.model.software import BlasLibrary, Software
from autotune.native import core
from autotune.parallel.worker_processes import has_semaphores
from autotune.profiles import folders
from autotune.profiles.resolve import resolve
from autotune.runtime.process_settings import is_disabled
from autotune.runtime.text_table import printable

COUNTS = {
    "logical_cpus": "logical CPUs",
    "physical_cores": "physical cores",
    "packages": "packages",
    "numa_nodes": "NUMA nodes",
    "l3_groups": "L3 groups",
}
ALL_WELL = "Nothing here makes NumPy slow."
THREADS_OF_YOURS = "environment; no profile exceeds it"
SAMPLE_SECONDS = 0.3
"""Thirty ticks of the kernel's CPU time."""


class SettingRow(Record, kw_only=True):
    """A folder or setting in force."""

    name: str
    value: str | None
    source: str
    """The variable or file that it comes from."""


class Diagnosis(Record, kw_only=True):
    """Everything that `doctor` prints."""

    machine: Machine
    allocation: Allocation
    warnings: tuple[str, ...]
    libraries: tuple[BlasLibrary, ...] = ()
    software: Software | None = None
    host: str | None = None
    core: str | None = None
    """Whether the C core is in use."""
    settings: tuple[SettingRow, ...] = ()


@click.command()
@json_option
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    help="Read the recording of another computer: a folder that holds its /sys and /proc.",
)
def doctor(as_json: bool, root: Path) -> None:
    """Describe this machine, the CPUs that a program may use, NumPy's BLAS, and the folders and settings in force.

    Warns of settings that make NumPy slow. Changes nothing.

    \b
    Examples:
      autotune doctor
      autotune doctor --json
      autotune doctor --root recorded/
    """
    diagnosis = examine_this_machine() if root.resolve() == Path("/").resolve() else examine_recording(root)
    if as_json:
        print_json("doctor/1", document(diagnosis, root))
    else:
        print_lines(describe(diagnosis))
        for warning in diagnosis.warnings:
            print_lines(["", f"! {printable(warning)}"], style="yellow")
        if not diagnosis.warnings:
            print_lines(["", ALL_WELL])


def examine_this_machine() -> Diagnosis:
    machine, allocation = detect()
    libraries = load_libraries()
    warnings = machine_warnings(
        machine,
        allocation,
        libraries,
        os.environ,
        governor=governor(Path("/")),
        shared_memory_bytes=shared_memory_bytes(),
        busy=share_of_others(allocation),
        has_semaphores=has_semaphores(),
        has_lasting_identity=has_lasting_identity(),
        isolating_tool=isolating_tool(),
    )
    return Diagnosis(
        machine=machine,
        allocation=allocation,
        warnings=(*profile_warnings(), *warnings, *conflicting_packages()),
        libraries=libraries,
        software=find_software(),
        host=host_id(),
        core=core_state(),
        settings=tuple(settings_in_force()),
    )


def profile_warnings() -> list[str]:
    """Warn of a switch that puts all profiles out of use, and of a named profile that is not used."""
    if is_disabled():
        return [SWITCHED_OFF]
    return list(resolve().unused_named)


def examine_recording(root: Path) -> Diagnosis:
    machine, allocation = detect(root)
    return Diagnosis(
        machine=machine, allocation=allocation, warnings=machine_warnings(machine, allocation, governor=governor(root))
    )


def load_libraries() -> tuple[BlasLibrary, ...]:
    """Load and list NumPy's BLAS, and SciPy's own copy where SciPy is installed."""
    with contextlib.suppress(ImportError):
        import numpy as np  # noqa: F401
        import scipy.linalg  # noqa: F401
    return find_libraries()


def core_state() -> str:
    """Say whether the C core is in use, or why it is off."""
    try:
        loaded = core()
    except ImportError as error:  # without NumPy
        loaded = f"The C core cannot be loaded: {error}"
    if isinstance(loaded, str):
        return f"Calls and loops of unchanged programs run as NumPy makes them. {loaded}"
    return "The C core is in use: calls and loops of unchanged programs can be tuned."


def shared_memory_bytes() -> int | None:
    try:
        return shutil.disk_usage(SHARED_MEMORY).total
    except OSError:
        return None


def share_of_others(allocation: Allocation) -> float | None:
    """Share of the usable CPUs' time that other processes and guests take, measured for a third of a second."""
    before, begin = pressure.read(cpus=allocation.cpus or None), monotonic()
    sleep(SAMPLE_SECONDS)
    after, span = pressure.read(cpus=allocation.cpus or None), monotonic() - begin
    if before.foreign_seconds is None or after.foreign_seconds is None:
        return None
    stolen = (after.stolen_seconds or 0.0) - (before.stolen_seconds or 0.0)
    cpus = len(allocation.cpus) or allocation.usable_cpus
    share = (after.foreign_seconds - before.foreign_seconds + stolen) / (span * cpus)
    return max(0.0, min(1.0, share))


def settings_in_force() -> Iterator[SettingRow]:
    """Yield the folders and settings with their origin."""
    from autotune.share.store import without_secrets
    from autotune.share.store_settings import STORE, read_store_settings, settings_files

    for layer, path in folders.places():
        state = "exists" if exists(path) else "does not exist"  # noqa: PTH110
        yield SettingRow(name="profiles", value=path, source=f"{LAYERS[str(layer)]}; {state}")
    variable = "AUTOTUNE_STATE_DIR"
    source = variable if variable in os.environ else "default; AUTOTUNE_STATE_DIR changes it"
    yield SettingRow(name="journals and locks", value=str(folders.state_dir()), source=source)
    yield SettingRow(name="cache", value=folders.cache_dir(), source="may be deleted at any time")
    origin = ", ".join(filter(exists, map(str, settings_files()))) or "no configuration file"
    try:
        store = read_store_settings()
    except AutotuneError as problem:
        yield SettingRow(name="store", value=None, source=str(problem))
    else:
        address = store.store and without_secrets(store.store)
        yield SettingRow(name="store", value=address, source=STORE if os.environ.get(STORE) else origin)
        yield SettingRow(name="trust", value=str(store.policy.rule), source=origin)
    own = ("AUTOTUNE_PROFILE", cpu_variables.CAP, cpu_variables.PROCESSES, "AUTOTUNE_DISABLE")
    for name in (*own, *THREAD_COUNTS):
        if name in os.environ:
            source = "environment" if name in own else THREADS_OF_YOURS
            yield SettingRow(name=name, value=os.environ[name], source=source)
    yield wait_in_force()


def wait_in_force() -> SettingRow:
    """Return how long idle BLAS threads spin in programs of this environment."""
    own = wait_policy.exponent_of(os.environ)
    exponent = resolve().wait.exponent if own is None else own
    if own is not None:
        source = f"{wait_policy.VARIABLE}; idle BLAS threads spin for 2^{exponent} cycles"
    elif exponent is None:
        source = "no profile has measured it; idle BLAS threads spin as long as their library lets them"
    elif exponent == wait_policy.DEFAULT_EXPONENT:
        source = "profile; no shorter time of idle BLAS threads was shown to cost nothing"
    else:
        source = f"profile; idle BLAS threads spin for 2^{exponent} cycles under `autotune run` and apply()"
    return SettingRow(name="blas_wait", value=None if exponent is None else str(exponent), source=source)


def conflicting_packages() -> list[str]:
    """Warn of other distributions with a package or command `autotune`: they overwrite each other's files."""
    from importlib.metadata import distributions

    packages: set[str] = set()
    commands: set[str] = set()
    for distribution in distributions():
        name = distribution.metadata["Name"] or "an installation without a name"
        files = distribution.read_text("RECORD") or ""
        if "\nautotune/" in f"\n{files}" or (distribution.read_text("top_level.txt") or "").split() == ["autotune"]:
            packages.add(name)
        scripts = distribution.entry_points.select(group="console_scripts", name="autotune")
        commands |= {name for _ in scripts}
    kinds = {"package": packages, "command": commands}
    return [
        f"Several distributions install the {kind} `autotune`: {', '.join(sorted(names))}. They overwrite each other's "
        "files; uninstall all of them, and install this one again."
        for kind, names in kinds.items()
        if len(names) > 1
    ]


def document(diagnosis: Diagnosis, root: Path) -> dict[str, Any]:
    fields = asdict(diagnosis)
    machine, allocation = fields.pop("machine"), fields.pop("allocation")
    return {
        "machine": {
            **machine.pop("counts"),
            **machine,
            "core_kinds": dict(diagnosis.machine.core_kinds),
            "kernel": kernel(root),
            "governor": governor(root),
        },
        "allocation": {**allocation.pop("counts"), **allocation},
        **fields,
    }


def describe(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the diagnosis for people, without its warnings."""
    machine, allocation = diagnosis.machine, diagnosis.allocation
    name = machine.name or machine.vendor or "Unknown CPU"
    yield printable(", ".join(part for part in (name, machine.architecture) if part))
    rows: list[tuple[str, str, str]] = [("", "machine", "usable here")]
    for field, label in COUNTS.items():
        whole, usable = getattr(machine.counts, field), getattr(allocation.counts, field)
        rows.append((label, "unknown" if whole is None else str(whole), "unknown" if usable is None else str(usable)))
    rows.append(("memory", units.memory(machine.memory_bytes), units.memory(allocation.memory_bytes)))
    rows.append(("L2, L3", f"{units.memory(machine.l2_bytes)}, {units.memory(machine.l3_bytes)}", ""))
    rows += [(f"{kind} CPUs", str(cpus), "") for kind, cpus in machine.core_kinds]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield f"CPUs that a program may keep busy: {allocation.usable_cpus}{limit_text(allocation.limit)}."
    if allocation.quota_cpus is not None:
        yield f"CPU quota: {allocation.quota_cpus:g} CPUs' worth of time."
    yield from (describe_library(library) for library in diagnosis.libraries)
    if diagnosis.software:
        python = "free threading" if diagnosis.software.python == "free-threaded" else "a GIL"
        yield f"NumPy {diagnosis.software.numpy or 'not installed'}, Python with {python}"
    if diagnosis.core:
        yield printable(diagnosis.core)
    if diagnosis.settings:
        yield ""
    for setting in diagnosis.settings:
        yield printable(f"{setting.name}: {setting.value or 'not set'} ({setting.source})")


def describe_library(library: BlasLibrary) -> str:
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
