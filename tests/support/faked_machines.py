"""Calibrations on machines of many CPUs that are not there: a faked /sys, a faked affinity, and work that sleeps.

In a private mount namespace the files of a machine of one piece stand below /sys/devices/system, and Python believes
that it may run on all of its CPUs (`faked_cpus`). The work is a function that sleeps as long as a curve of its workers
says, so that the CPUs that are there suffice.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic

from autotune.model.configuration import Configuration
from autotune.model.entry import Status
from autotune.model.machine import Cpu
from autotune.profiles import profile_files
from support import sleeping_work
from support.kernel_trees import write_kernel
from support.namespaces import unshared

HERE = Path(__file__).parent
CPUINFO = "vendor_id\t: GenuineFake\ncpu family\t: 6\nmodel\t\t: 1\nmodel name\t: Faked CPU\n"
SETUP = """
mount --make-rprivate /
mount --bind {root}/sys/devices/system /sys/devices/system
mount --bind {root}/proc/cpuinfo /proc/cpuinfo
mount -t tmpfs -o ro none /sys/fs/cgroup
"""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Outcome of calibrating a curve on a faked machine."""

    cpus: int
    curve: str
    status: Status
    choice: Configuration
    regret: float
    """Time of the choice over the best, less 1, by the curve."""
    speedup: float
    """Time of the default over that of the choice, by the curve."""
    seconds: float
    """Wall time of the whole command."""


def calibrate_curve(folder: Path, curve: str, *, cpus: int, seconds: float) -> Calibrated:
    """Run `autotune calibrate` for a curve of `sleeping_work` on a faked machine.

    Raises CalledProcessError with the command's output where it fails; skips where there are no mount namespaces.
    """
    root, profile = folder / f"machine-{cpus}", folder / f"{curve}-{cpus}.yaml"
    if not root.exists():
        write_kernel(root, [Cpu(number=cpu, package=0, core=cpu, node=0, l3=0) for cpu in range(cpus)])
        (root / "proc").mkdir()
        (root / "proc/cpuinfo").write_text("".join(f"processor\t: {cpu}\n{CPUINFO}\n" for cpu in range(cpus)))
    prefix = unshared("-m" if os.geteuid() == 0 else "-rm", setup=SETUP.format(root=root))
    words = ["calibrate", "--workload", f"{sleeping_work.__file__}:{curve}", "--budget", f"{seconds:.0f}s"]
    environ = {
        **os.environ,
        "AUTOTUNE_FAKED_CPUS": str(cpus),
        "AUTOTUNE_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": os.pathsep.join([str(HERE / "faked_cpus"), *sys.path]),
    }
    began = monotonic()
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "autotune", *words, "--output", str(profile)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=20 * seconds,
    )
    took = monotonic() - began
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
    (entry,) = profile_files.read(profile).entries
    times = {workers: sleeping_work.seconds(curve, workers, cpus) for workers in range(1, cpus + 1)}
    chosen = times.get(entry.choice.workers or 1, inf)
    return Calibrated(
        cpus=cpus,
        curve=curve,
        status=entry.status,
        choice=entry.choice,
        regret=chosen / min(times.values()) - 1.0,
        speedup=times[1] / chosen,
        seconds=took,
    )
