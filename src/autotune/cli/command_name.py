"""The name under which a profile keeps a whole command, and what `tune` chose for it."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from autotune.controls import wait_policy
from autotune.errors import UsageError
from autotune.model.policy import COMMANDS
from autotune.model.record import Record
from autotune.profiles.resolve import Resolution, resolve, resolve_before_numpy
from autotune.runtime.process_settings import is_disabled

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.profiles.lookup import LookupResult

NAME = re.compile(r"[a-z_][a-z0-9_]{0,49}", re.ASCII)


class TunedCommand(Record, kw_only=True):
    """A command with what `tune` chose for it."""

    name: str
    """Of its entry."""
    words: tuple[str, ...]
    """With the places for workers and chunk filled in."""
    variables: dict[str, str]
    """Thread variables that were measured with it."""
    choice: "Configuration"
    speedup: float | None
    """Time of the command as it stands divided by that of the choice."""
    cpu_ratio: float | None
    """CPU seconds of the choice divided by those of the command as it stands; None unless they were the objective."""


def command_name(name: str | None, words: Sequence[str]) -> str:
    """Return the name of a command's entry. Raises UsageError for a name that a profile cannot hold.

    Without a name it is made from the first Python file or module, else from the program: `python -m http.server` is
    http_server.
    """
    if name is None:
        modules = [after for before, after in pairwise(words) if before == "-m"]
        scripts = [_stem(word) for word in words[1:] if word.endswith(".py")]
        text = [*scripts, *modules, _stem(words[0])][0].lower()
        name = re.sub(r"[^a-z0-9]+", "_", text)[:49].strip("_") or "command"
        name = name if NAME.fullmatch(name) else f"_{name}"
    if NAME.fullmatch(name) is None:
        raise UsageError(f"--name {name!r} cannot stand in a profile: use at most 50 small letters, digits and _.")
    return COMMANDS + name


def tuned_command(
    words: tuple[str, ...], *, name: str | None = None, resolution: Resolution | None = None
) -> TunedCommand | str | None:
    """Return a command as `tune` measured it; a sentence why that is not used; None if it was not tuned here."""
    wanted = command_name(name, words)
    if is_disabled():
        return None
    resolution = resolution or resolve_before_numpy() or resolve()
    entry = None
    if resolution.names_operation(wanted, "float64"):  # few runs are of a tuned command, and load types of entries
        from autotune.model.operation import Operation

        entry = resolution.find(Operation(name=wanted))
    if entry is None:
        make = f"`autotune tune --name {wanted.removeprefix(COMMANDS)} -- CMD` makes it."
        return None if name is None else f"No profile here holds {wanted}; {make}"
    return _command_of(words, entry, resolution.usable_cpus)


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - pathlib costs `run` 4 ms


def _command_of(words: tuple[str, ...], tuned: "LookupResult", usable_cpus: int) -> TunedCommand | str:
    entry = tuned.entry
    name = entry.operation.name
    if entry.status != "tuned":
        return f"{name} was tuned, and nothing was proved faster than the command as it stands."
    from autotune.bench.command_bench import Command
    from autotune.model.configuration import clamp

    choice = clamp(entry.choice, usable_cpus)
    if choice != entry.choice:
        return f"{name} is not used: it was tuned for more CPUs ({entry.choice}) than the {usable_cpus} usable here."
    places = {knob: any(f"{{{knob}}}" in word for word in words) for knob in ("workers", "chunk")}
    missing = [f"{{{knob}}}" for knob, is_placed in places.items() if getattr(choice, knob) and not is_placed]
    if missing:
        return f"{name} is not used: it was tuned with {missing[0]} in its arguments, which this command does not have."
    command = Command(
        words=words,
        workers=choice.workers if places["workers"] else None,
        chunk=choice.chunk if places["chunk"] else None,
        runtimes=wait_policy.adjustable_runtimes(os.environ),
    )
    variables = command.variables(choice)
    kept = [variable for variable, value in variables.items() if os.environ.get(variable, value) != value]
    if kept:
        return f"{name} is not used: it was tuned with another value of {', '.join(kept)} than you have set."
    return TunedCommand(
        name=name,
        words=tuple(command.arguments(choice)),
        variables=variables,
        choice=choice,
        speedup=entry.evidence.speedup,
        cpu_ratio=entry.evidence.cpu_ratio,
    )
