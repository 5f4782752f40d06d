"""Work of a recording that is worth a calibration: operations, dtypes and sizes, and how much each counts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.intercept.array_loops import loop_names
from autotune.model.catalogue import CATALOGUE
from autotune.model.operation import Operation
from autotune.recording.program_gain import total_seconds
from autotune.recording.recording import Recording

LEAST_SHARE = 0.01
"""Part of the run below which an operation is not measured: it cannot change the whole."""
FEW_SIZES = 3
"""Sizes of an operation that are all measured; of more, those at the quantiles."""
MOST_OF_IT = 0.9
"""Part of an operation's time that they carry then."""
QUANTILES = (0.1, 0.5, 0.9)
"""Of the time that an operation takes, by the work of one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWork:
    """Work to calibrate."""

    operations: tuple[Operation, ...]
    """Those that take most of the time first."""
    weights: Mapping[str, float]
    """By name: its part of the time times the number of names, so that the mean is 1."""
    share: float
    """Part of the run in calls of these operations."""
    classes: Mapping[tuple[str, ...], tuple[str, ...]]
    """By the operations that all have to gain for a class of loops: functions of the program that these stand for."""
    left_out: tuple[str, ...]
    """Calls that take their part and cannot be measured: "svd complex128 n=500"."""


def recorded_work(recording: Recording) -> RecordedWork:
    """Choose what to calibrate for a recorded program."""
    total = total_seconds(recording)
    groups: dict[tuple[tuple[str, ...], str], list[tuple[Operation, float]]] = {}
    left_out: list[str] = []
    classes: dict[tuple[str, ...], dict[str, None]] = {}
    for call in recording.joined_calls():
        operation = call.operation
        if operation is None or call.needs_reductions or call.is_too_short:
            continue
        kind = CATALOGUE.get(operation.name)
        if kind is None or operation.dtype not in kind.dtypes:
            left_out += [f"{call.name} {call.dtype} {call.size}"] if call.seconds >= LEAST_SHARE * total else []
        else:
            names: tuple[str, ...] = (operation.name,)
            if call.loop is not None:  # it is cut where all of these gain (`profiles/loop_plan.py`)
                names = tuple(
                    name for name in loop_names(call.loop.kind, call.loop.layout) if _has(name, operation.dtype)
                )
            groups.setdefault((names, operation.dtype), []).append((operation, call.seconds))
            if call.loop is not None and call.seconds >= LEAST_SHARE * total:
                classes.setdefault(names, {})[call.name] = None
    chosen: list[Operation] = []
    seconds: dict[str, float] = {}
    share = 0.0
    for (names, _), called in sorted(groups.items(), key=lambda group: -_seconds(group[1])):
        if _seconds(called) < LEAST_SHARE * total:
            continue
        share += _seconds(called) / total
        chosen += [replace(operation, name=name) for operation in carrying_sizes(called) for name in names]
        for name in names:
            seconds[name] = seconds.get(name, 0.0) + _seconds(called)
    mean = sum(seconds.values()) / max(1, len(seconds))
    return RecordedWork(
        operations=tuple(dict.fromkeys(chosen)),
        weights={name: value / mean for name, value in seconds.items()},
        share=share,
        classes={members: tuple(names) for members, names in classes.items()},
        left_out=tuple(left_out),
    )


def _has(name: str, dtype: str) -> bool:
    return dtype in CATALOGUE[name].dtypes


def carrying_sizes(called: Sequence[tuple[Operation, float]]) -> list[Operation]:
    """Return the sizes at the quantiles that carry an operation's time, or all of a few."""
    kind = CATALOGUE[called[0][0].name]
    total = _seconds(called)
    seconds: dict[Operation, float] = {}
    for operation, spent in called:
        seconds[operation] = seconds.get(operation, 0.0) + spent
    carrying = [size for size, spent in seconds.items() if spent >= total / 50]
    if len(carrying) <= FEW_SIZES and sum(seconds[size] for size in carrying) >= MOST_OF_IT * total:
        return sorted(carrying, key=lambda size: -seconds[size])
    ordered = sorted(seconds, key=kind.work_of)
    sizes = []
    for quantile in QUANTILES:
        passed = 0.0
        for operation in ordered:
            passed += seconds[operation]
            if passed >= quantile * total:
                sizes.append(operation)
                break
    return list(dict.fromkeys(sizes))


def _seconds(called: Iterable[tuple[Operation, float]]) -> float:
    return sum(spent for _, spent in called)
