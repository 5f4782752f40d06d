"""Programs in a private view of the machine: mounts, users, processes. Tests skip where it cannot be made."""

import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest


@cache
def _can_unshare(*options: str) -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", *options, "true"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def unshared(*options: str, setup: str = "") -> list[str]:
    """Return the command that starts a program in new namespaces, after some shell commands there."""
    if not _can_unshare(*options):
        pytest.skip(f"needs `unshare {' '.join(options)}`")
    return ["unshare", *options, "sh", "-ec", f'{setup or "true"}\nexec "$@"', "sh"]


def needs_root() -> None:
    """Skip the test for any other user."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root")


@contextmanager
def control_group(controller: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[list[str]]:
    """Make a group of version 1 or 2 with these limits, and yield the command that starts a program in it."""
    groups = Path("/sys/fs/cgroup")
    places = [(groups / controller, first), (groups, second), (groups / "unified", second)]
    root, limits = next((place for place in places if _offers(place[0], controller)), (groups, {}))
    group = root / f"autotune-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip(f"needs a control group for {controller}")
    try:
        for name, value in limits.items():
            (group / name).write_text(value)
        yield ["sh", "-ec", f'echo $$ >{group}/cgroup.procs\nexec "$@"', "sh"]
    finally:
        group.rmdir()


def _offers(root: Path, controller: str) -> bool:
    """Can groups below this one limit what the controller counts?"""
    handed_down = root / "cgroup.subtree_control"
    if handed_down.exists():
        return controller in handed_down.read_text().split()
    return root.name == controller and (root / "cgroup.procs").exists()


def libgomp_library(folder: Path) -> Path:
    """Build a library that adds one to doubles in a parallel region of GNU's OpenMP, and return its path."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    source, library = folder / "inc.c", folder / "libinc.so"
    source.write_text(
        "#include <omp.h>\nvoid inc(double *p, long n) {\n#pragma omp parallel for num_threads(2)\n"
        "  for (long i = 0; i < n; i++) p[i] += 1;\n}\n"
    )
    built = subprocess.run(
        [compiler, "-fopenmp", "-shared", "-fPIC", "-o", library, source], capture_output=True, check=False, timeout=120
    )
    if built.returncode or not ctypes.util.find_library("gomp"):
        pytest.skip("needs GNU's OpenMP")
    return library
