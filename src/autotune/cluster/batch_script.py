"""Batch files that calibrate one kind of node, for sites whose scheduler runs no Dask. Pure.

Nodes are requested whole, since timings next to another user's job are worthless, and by twos, since an entry counts
once two hosts agree. Each node measures by itself into a file of its own (homes are shared) and publishes that.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """The resources that a batch file requests."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCommands:
    """The commands that run on each node."""

    program: Sequence[str]
    """The words that start autotune."""
    calibrate: Sequence[str]
    """Arguments of `calibrate`."""
    store: str
    sign: bool = False


def batch_script(system: BatchSystem, request: BatchRequest, commands: NodeCommands) -> str:
    """Write the batch file.

    Raises UsageError for text that would end a line of the file, and where the number of CPUs is needed.
    """
    texts = (request.partition, request.constraint, request.account, request.qos, *request.directives)
    for text in (*texts, commands.store, *commands.program, *commands.calibrate):
        if text is not None and not text.isprintable():
            raise UsageError(f"{text!r} cannot stand in a batch file.")
    if request.cpus is None and system in {BatchSystem.PBS, BatchSystem.SGE}:
        raise UsageError(f"--{system} needs --cpus N, how many CPUs a node has: else a job is held to some of them.")
    prefix, header, launch = _HEADERS[system](request)
    measure = _measure(commands).replace("'", "'\\''")  # as it stands between single quotes
    return "\n".join([
        "#!/bin/bash",
        *(f"{prefix} {line}" for line in (*header, *request.directives)),
        "# Calibrates one kind of node with autotune: submit it once for each kind.",
        "set -euo pipefail",
        "",
        "measure='",
        measure,
        "'",
        f'{launch} bash -c "$measure"',
        "",
    ])  # fmt: skip


def _measure(commands: NodeCommands) -> str:
    call = shlex.join(commands.program)
    calibrate = shlex.join(["calibrate", *commands.calibrate])
    return "\n".join((
        "set -euo pipefail",
        f"export AUTOTUNE_STORE={shlex.quote(commands.store)}",  # here: pbsdsh passes no environment on
        "folder=$(mktemp -d)",
        "trap 'rm -rf \"$folder\"' EXIT",
        f'{call} {calibrate} --output "$folder/node.yaml"',
        f'{call} store publish {"--sign " if commands.sign else ""}"$folder"/node*.yaml',
    ))  # fmt: skip


_Header = tuple[str, list[str], str]
"""Prefix of a directive, the directives, and the command that starts one process on each node."""


def _slurm(request: BatchRequest) -> _Header:
    """Request all CPUs of a node for its step, which gets only what it requests (srun(1), since 22.05)."""
    header = [
        "--job-name=autotune",
        f"--nodes={request.nodes}",
        "--ntasks-per-node=1",
        "--exclusive",
        "--mem=0",
        f"--time={request.minutes}",
        *_option("--partition={}", request.partition),
        *_option("--constraint={}", request.constraint),
        *_option("--account={}", request.account),
        *_option("--qos={}", request.qos),
    ]
    return "#SBATCH", header, 'srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" --cpu-bind=none'


def _pbs(request: BatchRequest) -> _Header:
    """Put the constraint into the chunk, such as `cpu_type=icelake`."""
    chunk = ":".join(filter(None, (f"ncpus={request.cpus}", request.constraint)))
    header = [
        "-N autotune",
        f"-l select={request.nodes}:{chunk}",
        "-l place=scatter:excl",
        f"-l walltime={_clock(request.minutes)}:00",
        *_option("-q {}", request.partition),
        *_option("-A {}", request.account),
    ]
    return "#PBS", header, "pbsdsh --"


def _lsf(request: BatchRequest) -> _Header:
    """Request one slot on each of so many hosts, exclusively; `constraint` is a select[] string."""
    header = [
        "-J autotune",
        f"-n {request.nodes}",
        '-R "span[ptile=1]"',
        *_option('-R "select[{}]"', request.constraint, quoted=False),
        "-x",
        f"-W {_clock(request.minutes)}",
        *_option("-q {}", request.partition),
        *_option("-P {}", request.account),
    ]
    return "#BSUB", header, 'blaunch -z "$LSB_HOSTS"'


def _sge(request: BatchRequest) -> _Header:
    """Return an array job with one task for each host; `exclusive` is the usual name of the complex for whole hosts."""
    header = [
        "-N autotune",
        f"-t 1-{request.nodes}",
        "-l exclusive=true",
        f"-pe smp {request.cpus}",
        *_option("-l {}", request.constraint),
        f"-l h_rt={_clock(request.minutes)}:00",
        *_option("-q {}", request.partition),
        *_option("-P {}", request.account),
        "-cwd",
        "-S /bin/bash",
    ]
    return "#$", header, "env"


_HEADERS = {BatchSystem.SLURM: _slurm, BatchSystem.PBS: _pbs, BatchSystem.LSF: _lsf, BatchSystem.SGE: _sge}


def _option(form: str, value: str | None, *, quoted: bool = True) -> Iterable[str]:
    return [] if value is None else [form.format(shlex.quote(value) if quoted else value)]


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
