"""A batch file that calibrates one kind of node, for sites whose scheduler runs no Dask. Pure.

Nodes are asked for whole, since timings beside somebody else's job are worth nothing, and by twos, since an entry
counts once two hosts agree. Each measures by itself into a file of its own (homes are shared) and publishes that.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from autotune.errors import UsageError


class Batch(StrEnum):
    """The batch systems that there are files for."""

    SLURM = "slurm"
    PBS = "pbs"
    LSF = "lsf"
    SGE = "sge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the file is to ask for."""

    nodes: int = 2
    partition: str | None = None
    """A queue, with other words than Slurm's."""
    constraint: str | None = None
    """What the nodes of the class have in common, in the words of the batch system."""
    minutes: int = 30
    cpus: int | None = None
    """CPUs of a node; None where the batch system gives all of them with the node."""


def script(batch: Batch, wanted: Wanted, *, program: Sequence[str], words: Sequence[str], store: str) -> str:
    """The file. `program` is how to call autotune on a node, `words` are what `calibrate` is asked.

    Raises UsageError for what would end a line of the file, and where the number of CPUs is needed.
    """
    for text in (wanted.partition, wanted.constraint, store, *program, *words):
        if text is not None and not text.isprintable():
            raise UsageError(f"{text!r} cannot stand in a batch file.")
    if wanted.cpus is None and batch in {Batch.PBS, Batch.SGE}:
        raise UsageError(
            f"--{batch} needs --cpus N, how many CPUs a node has: else a job is held to some of them."
        )
    header, launch = _ASKED[batch](wanted)
    return "\n".join([
        "#!/bin/bash",
        *header,
        "# Calibrates one kind of node with autotune: submit it once for each kind.",
        "set -euo pipefail",
        "",
        "measure='",
        _escaped(_measure(program, words, store)),
        "'",
        f'{launch} bash -c "$measure"',
        "",
    ])  # fmt: skip


def _measure(program: Sequence[str], words: Sequence[str], store: str) -> str:
    call = shlex.join(program)
    return "\n".join((
        "set -euo pipefail",
        f"export AUTOTUNE_STORE={shlex.quote(store)}",  # here: pbsdsh takes no environment along
        "folder=$(mktemp -d)",
        "trap 'rm -rf \"$folder\"' EXIT",
        f'{call} calibrate {shlex.join(words)} --output "$folder/node.yaml"'.replace("  ", " "),
        f'{call} publish "$folder/node.yaml"',
    ))  # fmt: skip


def _escaped(text: str) -> str:
    """As it stands between single quotes."""
    return text.replace("'", "'\\''")


def _slurm(wanted: Wanted) -> tuple[list[str], str]:
    """A step gets all CPUs of its node only if it asks for them (srun(1), --cpus-per-task, since 22.05)."""
    header = [
        "#SBATCH --job-name=autotune",
        f"#SBATCH --nodes={wanted.nodes}",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --exclusive",
        "#SBATCH --mem=0",
        f"#SBATCH --time={wanted.minutes}",
        *_lines("#SBATCH --partition={}", wanted.partition),
        *_lines("#SBATCH --constraint={}", wanted.constraint),
    ]
    return header, 'srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" --cpu-bind=none'


def _pbs(wanted: Wanted) -> tuple[list[str], str]:
    """`constraint` goes into the chunk, such as `cpu_type=icelake`."""
    chunk = ":".join(filter(None, (f"ncpus={wanted.cpus}", wanted.constraint)))
    header = [
        "#PBS -N autotune",
        f"#PBS -l select={wanted.nodes}:{chunk}",
        "#PBS -l place=scatter:excl",
        f"#PBS -l walltime={_clock(wanted.minutes)}:00",
        *_lines("#PBS -q {}", wanted.partition),
    ]
    return header, "pbsdsh --"


def _lsf(wanted: Wanted) -> tuple[list[str], str]:
    """One slot on each of so many hosts, and nobody else on them; `constraint` is a select[] string."""
    header = [
        "#BSUB -J autotune",
        f"#BSUB -n {wanted.nodes}",
        '#BSUB -R "span[ptile=1]"',
        *_lines('#BSUB -R "select[{}]"', wanted.constraint, quoted=False),
        "#BSUB -x",
        f"#BSUB -W {_clock(wanted.minutes)}",
        *_lines("#BSUB -q {}", wanted.partition),
    ]
    return header, 'blaunch -z "$LSB_HOSTS"'


def _sge(wanted: Wanted) -> tuple[list[str], str]:
    """An array job with one task for each host; `exclusive` is what sites call the complex for whole hosts."""
    header = [
        "#$ -N autotune",
        f"#$ -t 1-{wanted.nodes}",
        "#$ -l exclusive=true",
        f"#$ -pe smp {wanted.cpus}",
        *_lines("#$ -l {}", wanted.constraint),
        f"#$ -l h_rt={_clock(wanted.minutes)}:00",
        *_lines("#$ -q {}", wanted.partition),
        "#$ -cwd",
        "#$ -S /bin/bash",
    ]
    return header, "env"


_ASKED = {Batch.SLURM: _slurm, Batch.PBS: _pbs, Batch.LSF: _lsf, Batch.SGE: _sge}


def _lines(form: str, value: str | None, *, quoted: bool = True) -> Iterable[str]:
    return [] if value is None else [form.format(shlex.quote(value) if quoted else value)]


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
