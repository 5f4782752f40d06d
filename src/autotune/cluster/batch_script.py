"""Slurm's batch file that calibrates one kind of node, for sites whose scheduler runs no Dask. Pure.

Nodes are requested whole, since timings next to another user's job are worthless, and by twos, since an entry counts
once two hosts agree. Each node measures by itself into a file of its own (homes are shared) and publishes that.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """The resources that a batch file requests, and the commands that run on each node."""

    nodes: int = 2
    partition: str | None = None
    constraint: str | None = None
    """A feature that the nodes of the class share."""
    account: str | None = None
    """The account that is charged."""
    qos: str | None = None
    """Quality of service."""
    directives: tuple[str, ...] = ()
    """More options of sbatch."""
    minutes: int = 30
    program: Sequence[str]
    calibrate: Sequence[str]
    store: str
    sign: bool = False


def batch_script(request: BatchRequest) -> str:
    """Write the batch file. Raises UsageError for text that would end a line of the file."""
    named = {name: getattr(request, name) for name in ("partition", "constraint", "account", "qos")}
    given = {name: text for name, text in named.items() if text is not None}
    for text in (*given.values(), *request.directives, request.store, *request.program, *request.calibrate):
        if not text.isprintable():
            raise UsageError(f"{text!r} cannot stand in a batch file.")
    options = "".join(f"#SBATCH --{name}={shlex.quote(text)}\n" for name, text in given.items())
    options += "".join(f"#SBATCH {directive}\n" for directive in request.directives)
    program, sign = shlex.join(request.program), "--sign " if request.sign else ""
    measure = f"""set -euo pipefail
export AUTOTUNE_STORE={shlex.quote(request.store)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{program} {shlex.join(["calibrate", *request.calibrate])} --output "$folder/node.yaml"
{program} store publish {sign}"$folder"/node*.yaml"""
    between_quotes = measure.replace("'", "'\\''")
    # a step gets only the CPUs that it requests (srun(1), since 22.05)
    return f"""#!/bin/bash
#SBATCH --job-name=autotune
#SBATCH --nodes={request.nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time={request.minutes}
{options}# Calibrates one kind of node with autotune: submit it once for each kind.
set -euo pipefail

measure='
{between_quotes}
'
srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" --cpu-bind=none bash -c "$measure"
"""
