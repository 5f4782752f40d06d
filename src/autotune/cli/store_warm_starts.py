"""Warm starts from the store: choices of other machines, and the time that they saved."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from autotune.cli import messages
from autotune.cli.terminal import note
from autotune.errors import EnvironmentProblem
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile
from autotune.search.events import Confirming, Event, Listener, Tried


def relatives(url: str | None, key: Key) -> list[Profile]:
    """Read this machine's relatives from the store; none, with one note, if it cannot be reached or none is named.

    Raises BadSettings for a store or a configuration file that makes no sense.
    """
    from autotune.share.store_settings import open_named_store

    try:
        opened = open_named_store(url)
        if opened is None:
            return []
        from autotune.share.mirror import read_relatives

        return read_relatives(*opened, key)
    except EnvironmentProblem as problem:
        note(messages.store_away(problem))
        return []


class Log:
    """A listener that records when each configuration was tried and how long all take, and forwards events."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.tried: list[Tried] = []
        self.seconds_needed: float | None = None
        """For all of the calibration, as the last round of confirmation expected; None before one."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Tried):
            self.tried.append(event)
        elif isinstance(event, Confirming):
            self.seconds_needed = event.elapsed + event.seconds_left
        self._listener(event)


def note_warm_start(profile: Profile, stored: Sequence[Profile], tried: Sequence[Tried]) -> None:
    """Print the choices from relatives and the time saved; nothing if relatives had proved nothing."""
    from autotune.search.warm_starts import suggestions, warm_starts

    taught = warm_starts(stored)
    if not taught:
        return
    cpus = profile.key.usable_cpus
    chosen = {entry.operation: entry.choice for entry in profile.entries if not entry.choice.is_default}
    brought = {
        operation: choice for operation, choice in chosen.items() if choice in suggestions(taught, operation, cpus)
    }
    seconds = saved_seconds(tried, brought)
    note(messages.warm_start(len(taught), brought=len(brought), chosen=len(chosen), seconds=seconds))


def saved_seconds(tried: Sequence[Tried], brought: Mapping[Operation, Configuration]) -> float:
    """Return the seconds of search saved by what was tried first, a low estimate.

    Without a hint a search may meet its choice at any of its trials, so halfway on the average. Sizes of one
    operation share the time of their search. A search that a hint ended early counts as long as it took, since
    its length without them is unknown: what that saved comes on top.
    """
    total = 0.0
    for _, events in groupby(tried, key=lambda event: (event.operation.name, event.operation.dtype)):
        search = list(events)
        sizes: dict[Operation, dict[Configuration, float]] = {}
        for event in search:
            sizes.setdefault(event.operation, {}).setdefault(event.configuration, event.elapsed)
        parts = [_part(trials, brought.get(operation)) for operation, trials in sizes.items()]
        total += (search[-1].elapsed - search[0].elapsed) * sum(parts) / len(parts)
    return total


def _part(trials: Mapping[Configuration, float], choice: Configuration | None) -> float:
    """Return the part of a size's trials that came after its choice instead of before it.

    `trials` says when each configuration was first measured. A small space is measured whole in one step, no matter who
    knows what: none of it was saved.
    """
    if choice is None or choice not in trials or len(set(trials.values())) == 1:
        return 0.0
    return max(0.0, (len(trials) - 1) / 2 - list(trials).index(choice)) / len(trials)
