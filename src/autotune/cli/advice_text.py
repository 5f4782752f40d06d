"""The text of `autotune advise`."""

from collections.abc import Iterator
from shlex import join

from autotune.cli.messages import RUN_START_SECONDS
from autotune.model.entry import are_distinct
from autotune.model.units import count_of
from autotune.profiles.folders import Layer, layer_of
from autotune.recording.advice import WORTH_MEASURING, Advice, AdvisedCall, Next
from autotune.recording.known_gains import Basis, GainSource, KnownGain
from autotune.recording.recording import GROUPS, Call, Recording
from autotune.recording.trouble import crowding
from autotune.runtime.text_table import TextColumn, TextTable, wrap

MOST_ROWS = 15
LEAST_WAITING = 0.05
"""Least part of a call's time with spinning BLAS threads for which the text says that the call runs plain."""
LEAST_SHARE = 0.005
"""Part of the run below which a call has no row."""
RANDOM = "random."
"""The names of calls that draw random numbers begin with it."""
OTHER_RANDOM = frozenset(
    {f"random.{name}" for name in ["shuffle", "permutation", "permuted", "choice", "multivariate_normal"]}
)
"""Methods of random generators that `autotune.random` does not offer (`parallel/random_streams.py`)."""
BLOCK_SECONDS = 0.0005
"""Approximate time to draw one block of `autotune.random`: a shorter call has nothing to share."""
LEAST_RANDOM_SHARE = 0.05
"""Part of the run from which random numbers are worth a change of the program."""

NO_CALLS = (
    "No call of NumPy or SciPy was recorded: no process of this command loaded NumPy, or none could be seen "
    "(python -I, -E and -S, a dropped environment, and interpreters without autotune hide them)."
)

LEAST_NAME, MOST_NAME = 20, 32
"""Width of the column of calls: that of the longest word, so that no name is broken."""
UNRECORDED = "No call of NumPy or SciPy could be recorded, for the reason that follows."

_ORIGINS = {Layer.SHIPPED: "shipped profile", Layer.CLUSTER: "pulled profile"}
"""Profiles that other machines have measured."""
_COLUMNS = (
    TextColumn("call", LEAST_NAME),
    TextColumn("size", 14),
    TextColumn("calls", 8, right=True),
    TextColumn("seconds", 7, right=True),
    TextColumn("run", 4, right=True),
    TextColumn("speed-up here"),
)


def lines(advice: Advice, width: int) -> Iterator[str]:
    """Format advice, folded to this many columns."""
    if has_failed_before_any_call(advice):
        run = f"{join(advice.recording.command)}: {_ending(advice.recording)}"
        yield from wrap(f"{run}, without a call of NumPy or SciPy: there is nothing to advise on.", width)
        return
    yield from wrap(_run(advice), width)
    if advice.calls:
        yield ""
        yield from _table(advice, width)
        yield ""
        yield from wrap(_gain(advice), width)
        drawn = sum(row.share for row in advice.calls if _is_drawn_in_blocks(row.call))
        if drawn >= LEAST_RANDOM_SHARE and (advice.recording.usable_cpus or 1) > 1:
            yield from wrap(
                f"Random numbers: {drawn:.0%} of the run. `autotune.random`, in a program that may change, draws them "
                "on several CPUs, from other streams than NumPy.",
                width,
            )
    else:
        yield ""
        yield from wrap(UNRECORDED if advice.next is Next.UNKNOWN else NO_CALLS, width)
    if len(advice.processes) > 1 or any(process.processes > 1 for process in advice.processes):
        yield ""
        yield from _processes(advice, width)
    if advice.trouble:
        yield ""
        for sentence in advice.trouble:
            first, *rest = wrap(sentence, width - 2) or [""]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    yield ""
    yield from wrap(_next(advice), width)


def _is_drawn_in_blocks(call: Call) -> bool:
    is_random = call.name.startswith(RANDOM) and call.name not in OTHER_RANDOM
    return is_random and call.seconds >= BLOCK_SECONDS * call.calls


def has_failed_before_any_call(advice: Advice) -> bool:
    """Decide whether a command failed without a call, and without a reason why there may be some that were not seen."""
    is_seen = advice.next is not Next.UNKNOWN and not advice.recording.without_autotune
    return bool(advice.recording.status) and not advice.calls and is_seen


def _run(advice: Advice) -> str:
    recording = advice.recording
    return (
        f"{join(recording.command)}: {recording.wall_seconds:.2f} s, {recording.cpu_seconds:.2f} CPU seconds on "
        f"{count_of(recording.usable_cpus, 'usable CPU')}; {_ending(recording)}. Inside NumPy and SciPy: "
        f"{advice.call_share:.0%}."
    )


def _ending(recording: Recording) -> str:
    status = recording.status
    if status is None:
        return "still running"
    return f"ended by signal {-status}" if status < 0 else f"exit status {status}"


def _table(advice: Advice, width: int) -> Iterator[str]:
    shown = [row for row in advice.calls if row.share >= LEAST_SHARE][:MOST_ROWS] or list(advice.calls[:3])
    longest = max(len(row.call.name) for row in shown)
    names = _COLUMNS[0].replace(width=min(MOST_NAME, max(LEAST_NAME, longest)))
    table = TextTable((names, *_COLUMNS[1:]), width)
    yield from table.heading()
    for row in shown:
        call = row.call
        name = f"{call.name} {call.dtype}".rstrip()
        cells = (name, call.size, _count(call.calls), _seconds(call.seconds), f"{row.share:.0%}", _gain_cell(row))
        yield from table.row(cells)
    for group in GROUPS:
        rest = [row for row in advice.calls if row not in shown and row.call.group == group]
        if rest:
            seconds = sum(row.call.seconds for row in rest)
            calls = sum(row.call.calls for row in rest)
            share = sum(row.share for row in rest)
            yield from table.row(
                (f"{len(rest)} more: {group}", "", _count(calls), _seconds(seconds), f"{share:.0%}", "")
            )
    outside = 1 - advice.call_share
    yield from table.row(("the rest", "", "", "", f"{outside:.0%}", ""))


def _count(calls: int) -> str:
    """Format a count so that it fits a column of eight."""
    return f"{calls:,}" if calls < 1_000_000 else f"{calls:.3g}"


def _seconds(seconds: float) -> str:
    """Format seconds so that they fit a column of seven."""
    if seconds < 0.001:
        return "<0.001"
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}"


def _gain_cell(row: AdvisedCall) -> str:
    gain = row.gain
    match gain.source:
        case GainSource.MEASURED:
            speedup = "tuned" if gain.speedup is None else _speedup(gain, gain.speedup)
            option = ["--reductions"] if row.call.needs_reductions else []
            return "; ".join((f"{speedup}, {gain.choice}", *_grounds(gain), *option))
        case GainSource.DEFAULT_KEPT:
            little = f"little to gain, at most {gain.high:.2f}" if gain.high and gain.high > 1 else ""
            return "; ".join((f"1: {little or 'plain NumPy is fastest'}", *_grounds(gain)))
        case GainSource.SIMILAR:
            if gain.low == gain.high == 1:
                return "not measured at this size"
            return f"not measured; {gain.low:.2f} to {gain.high:.2f} at other sizes"
        case _:
            return str(gain.source)


def _speedup(gain: KnownGain, full: float) -> str:
    """Return the speed-up that is expected here, and that at full capacity where it differs; else its interval."""
    expected = gain.expected_speedup
    if expected is not None and are_distinct(expected, full):
        return f"{expected:.2f} ({full:.2f} at full capacity)"
    return f"{full:.2f}" if gain.low is None or gain.high is None else f"{full:.2f} ({gain.low:.2f}-{gain.high:.2f})"


def _grounds(gain: KnownGain) -> Iterator[str]:
    """Yield in a few words the origin of figures that are not of this size or this machine."""
    if gain.basis is not Basis.SIZE:
        yield str(gain.basis)
    if gain.waiting >= LEAST_WAITING:
        yield f"{gain.waiting:.0%} of it waits for BLAS threads"
    if gain.is_from_elsewhere:
        yield _ORIGINS.get(layer_of(gain.profile), gain.level)


def _gain(advice: Advice) -> str:
    gain = advice.gain
    if not gain.decided_share and gain.undecided_share:
        claim = "Nothing that this run calls has been decided on this machine."
    elif not gain.decided_share:
        claim = "Nothing that this run calls has been measured on this machine."
    elif gain.low == gain.high == 1:
        claim = "Where this run's calls have been measured, plain NumPy is fastest."
    else:
        claim = (
            f"With all measured choices the run would be {gain.speedup:.2f} times as fast ({gain.low:.2f} to "
            f"{gain.high:.2f})."
        )
    if gain.inferred_share >= LEAST_SHARE:
        claim += f" For {gain.inferred_share:.0%} of it the figures are those of other sizes or other machines."
    undecided = gain.undecided_share
    unmeasured = max(0.0, gain.open_share - undecided)
    said = f"{claim} Calls that can be tuned and are not measured: {unmeasured:.0%} of the run."
    said += " Calibrating tells what they gain." if unmeasured >= WORTH_MEASURING else ""
    if not undecided:
        return said
    said += f" Measured, but undecided or too noisy so far: {undecided:.0%}."
    is_next = advice.next is Next.CALIBRATE or not advice.recording.is_complete
    return said if is_next else f"{said} `{_calibrate_longer(advice)}` goes on with them."


def _processes(advice: Advice, width: int) -> Iterator[str]:
    columns = (TextColumn("process"), TextColumn("run", 5, right=True), TextColumn("NumPy, SciPy", 12, right=True))
    table = TextTable(columns, width)
    yield from table.heading()
    for process in advice.processes:
        name = f"{process.words} ({process.processes} processes)" if process.processes > 1 else process.words
        yield from table.row((name, f"{process.share:.0%}", f"{process.call_share:.0%}"))


def _calibrate_longer(advice: Advice) -> str:
    return f"autotune calibrate --budget 10m -- {join(advice.recording.command)}"


def _next(advice: Advice) -> str:
    command = join(advice.recording.command)
    if advice.next is Next.UNKNOWN:
        return f"Whether there is anything to gain is not known. Once that is mended: autotune advise -- {command}"
    if not advice.calls:
        return (
            "Nothing to gain here was seen. A command that computes in threads of its own, or in a BLAS without "
            f"NumPy, is measured as a whole: autotune tune -- {command}"
        )
    match advice.next:
        case Next.CALIBRATE if not advice.recording.is_complete:
            return (
                "Next: autotune calibrate --recording FILE, which measures what --record FILE has kept of this run "
                "without waiting for the command to end."
            )
        case Next.CALIBRATE if advice.recording.status:
            return f"Next, as soon as the command succeeds: autotune calibrate -- {command}"
        case Next.CALIBRATE if 2 * advice.gain.undecided_share > advice.gain.open_share:
            return f"Next, on a quieter machine or with more time: {_calibrate_longer(advice)}"
        case Next.CALIBRATE:
            return f"Next: autotune calibrate -- {command}"
        case Next.RUN | Next.RUN_CHILDREN:
            crowd = crowding(advice.recording)
            share = f"AUTOTUNE_PROCESSES={crowd.processes} " if crowd is not None and crowd.processes > 1 else ""
            said = f"Next: {share}autotune {advice.next} -- {command}"
            saved = advice.recording.wall_seconds * (1 - 1 / advice.gain.speedup)
            is_short = crowd is None and saved < RUN_START_SECONDS
            return said + (
                f" Its start, some {RUN_START_SECONDS} s, takes more than a run like this saves." if is_short else ""
            )
        case _:
            here = "here" if advice.recording.is_complete else "in the recorded time"
            here = "in this run, which failed" if advice.recording.status else here
            if any(process.is_unrecorded for process in advice.recording.processes):
                here = "in what could be recorded"
            return f"Nothing to gain {here}: what autotune tunes takes little of this run, or is fastest as it is."
