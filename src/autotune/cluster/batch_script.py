"""Batch files that calibrate one kind of node, for sites whose scheduler runs no Dask. Pure.

Nodes are requested whole, since timings next to another user's job are worthless, and by twos, since an entry counts
once two hosts agree. Each node measures by itself into a file of its own (homes are shared) and publishes that.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum

from autotune.errors import UsageError


class BatchSystem(StrEnum):
    """The supported batch systems."""

    SLURM = "slurm"
    PBS = "pbs"
    LSF = "lsf"
    SGE = "sge"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """The resources that a batch file requests, and the commands that run on each node."""

    nodes: int = 2
    partition: str | None = None
    """The partition or queue."""
    constraint: str | None = None
    """A property that the nodes of the class share, in the syntax of the batch system."""
    account: str | None = None
    """The account or project that is charged."""
    qos: str | None = None
    """Slurm's quality of service."""
    directives: tuple[str, ...] = ()
    """More lines of the batch system, without its prefix."""
    minutes: int = 30
    cpus: int | None = None
    """CPUs of a node; None where the batch system gives all of them with the node."""
    program: Sequence[str]
    calibrate: Sequence[str]
    store: str
    sign: bool = False


_DIRECTIVES = {
    BatchSystem.SLURM: """
#SBATCH --job-name=autotune
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time={minutes}
#SBATCH --partition={partition}
#SBATCH --constraint={constraint}
#SBATCH --account={account}
#SBATCH --qos={qos}
""",
    BatchSystem.PBS: """
#PBS -N autotune
#PBS -l select={nodes}:{chunk}
#PBS -l place=scatter:excl
#PBS -l walltime={clock}:00
#PBS -q {partition}
#PBS -A {account}
""",
    BatchSystem.LSF: """
#BSUB -J autotune
#BSUB -n {nodes}
#BSUB -R "span[ptile=1]"
#BSUB -R "select[{selection}]"
#BSUB -x
#BSUB -W {clock}
#BSUB -q {partition}
#BSUB -P {account}
""",
    BatchSystem.SGE: """
#$ -N autotune
#$ -t 1-{nodes}
#$ -l exclusive=true
#$ -pe smp {cpus}
#$ -l {constraint}
#$ -l h_rt={clock}:00
#$ -q {partition}
#$ -P {account}
#$ -cwd
#$ -S /bin/bash
""",
}
"""The head of each file. A line with a name that has no value is left out.

LSF gives one slot on each of the hosts; Grid Engine runs an array job with one task for each host, and `exclusive`
is the usual name of the complex for whole hosts.
"""
_LAUNCH = {
    # a step gets only the CPUs that it requests (srun(1), since 22.05)
    BatchSystem.SLURM: 'srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" --cpu-bind=none',
    BatchSystem.PBS: "pbsdsh --",
    BatchSystem.LSF: 'blaunch -z "$LSB_HOSTS"',
    BatchSystem.SGE: "env",
}
"""The command that starts one process on each node."""


def batch_script(system: BatchSystem, request: BatchRequest) -> str:
    """Write the batch file.

    Raises UsageError for text that would end a line of the file, and where the number of CPUs is needed.
    """
    texts = (request.partition, request.constraint, request.account, request.qos, *request.directives)
    for text in (*texts, request.store, *request.program, *request.calibrate):
        if text is not None and not text.isprintable():
            raise UsageError(f"{text!r} cannot stand in a batch file.")
    if request.cpus is None and system in {BatchSystem.PBS, BatchSystem.SGE}:
        raise UsageError(f"--{system} needs --cpus N, how many CPUs a node has: else a job is held to some of them.")
    program, sign = shlex.join(request.program), "--sign " if request.sign else ""
    # the store stands here, since pbsdsh passes no environment on
    measure = f"""set -euo pipefail
export AUTOTUNE_STORE={shlex.quote(request.store)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{program} {shlex.join(["calibrate", *request.calibrate])} --output "$folder/node.yaml"
{program} store publish {sign}"$folder"/node*.yaml"""
    head, between_quotes = "\n".join(_head(system, request)), measure.replace("'", "'\\''")
    return f"""#!/bin/bash
{head}
# Calibrates one kind of node with autotune: submit it once for each kind.
set -euo pipefail

measure='
{between_quotes}
'
{_LAUNCH[system]} bash -c "$measure"
"""


def _head(system: BatchSystem, request: BatchRequest) -> Iterator[str]:
    """Fill in the directives whose values are given."""
    given = {name: value for name, value in asdict(request).items() if value is not None}
    values = {name: shlex.quote(str(value)) for name, value in given.items()}
    values["clock"] = f"{request.minutes // 60:02}:{request.minutes % 60:02}"
    # the constraint is a part of PBS's chunk, such as `cpu_type=icelake`, and of LSF's quoted select[] string
    values["chunk"] = ":".join(filter(None, (f"ncpus={request.cpus}", request.constraint)))
    if request.constraint is not None:
        values["selection"] = request.constraint
    directives = _DIRECTIVES[system].split("\n")[1:-1]
    for directive in directives:
        with suppress(KeyError):
            yield directive.format_map(values)
    prefix = directives[0].partition(" ")[0]
    yield from (f"{prefix} {directive}" for directive in request.directives)
