"""Advice from made-up recordings: decisions, exact and instant."""

import json
from dataclasses import replace

import pytest
from support.profile_builders import make_entry
from support.recording_builders import QR, advised, call, process, recording

from autotune.errors import UsageError
from autotune.model.entry import Status
from autotune.model.operation import Operation
from autotune.recording.advice import Next
from autotune.recording.known_gains import GainSource, known_gain, speedup_of
from autotune.recording.ledger import LedgerRow
from autotune.recording.naming import call_of
from autotune.recording.program_gain import total_seconds
from autotune.recording.recording import ARRAYS, OTHERS, Recording, ThreadPool, join_calls
from autotune.recording.trouble import processes_at_once, trouble


def calls_of(rows):
    return join_calls(map(call_of, rows))


def row(name, kind, types, *sizes, calls=10, seconds=1.0, elements=0, contiguous=True):
    return LedgerRow(
        name=name,
        kind=kind,
        contiguous=contiguous,
        types=types,
        sizes=(*sizes, *(-1,) * (4 - len(sizes))),
        calls=calls,
        timed=calls,
        seconds=seconds,
        elements=elements,
    )


def test_each_qr_of_scipy_is_one_call_with_the_seconds_of_its_two_halves():
    rows = [row("qr", "s", "d", 50, 40, seconds=1.0), row("qr_reduced", "s", "d", 50, 40, seconds=0.5)]
    (qr,) = calls_of(rows)
    assert (qr.name, qr.calls, qr.seconds, qr.size) == ("qr", 10, 1.5, "m=50 n=40")


def test_each_qr_of_numpy_is_one_call_with_the_seconds_of_its_two_halves():
    rows = [row("qr_r_raw", "g", "d", 50, 40, seconds=1.0), row("qr_reduced", "g", "dd", 50, 40, -1, 40, seconds=0.5)]
    (qr,) = calls_of(rows)
    assert (qr.name, qr.calls, qr.seconds) == ("qr", 10, 1.5)
    assert qr.operation == Operation(name="qr", sizes=(("m", 50), ("n", 40)))


def test_what_numpy_runs_in_short_loops_is_no_operation_of_its_whole_size():
    whole, short = (call_of(row("add", "u", "dd", 16, length, elements=10 * 90_000)) for length in (-1, 8))
    assert whole.operation == Operation(name="loop_add", sizes=(("n", 90_000),))
    assert (short.operation, short.is_in_short_loops, whole.is_in_short_loops) == (None, True, False)
    longer = call_of(row("add", "u", "dd", 16, 15, elements=10 * 90_000))
    assert longer.operation == Operation(name="loop_add", sizes=(("n", 49_152),))
    assert len(join_calls([whole, short, longer])) == 3


@pytest.mark.parametrize(
    ("name", "kind", "types", "sizes", "requested"),
    [
        ("matmul", "g", "ff", (3, 4, 4, 5), Operation(name="matmul", dtype="float32", sizes=(("m", 3), ("k", 4), ("n", 5)))),
        ("solve1", "g", "DD", (6, 6, -1, 6), Operation(name="solve", dtype="complex128", sizes=(("n", 6),))),
        ("matmul", "g", "ll", (3, 4, 4, 5), None),
        ("matmul", "g", "fd", (3, 4, 4, 5), None),
        ("eigvals", "g", "d", (6, 6), None),
        ("svd", "s", "d", (7, 6), Operation(name="svd", sizes=(("m", 7), ("n", 6)))),
    ],
)  # fmt: skip
def test_linear_algebra_is_asked_for_as_apply_does(name, kind, types, sizes, requested):
    assert calls_of([row(name, kind, types, *sizes)])[0].operation == requested


@pytest.mark.parametrize(("name", "loop"), [("exp", "loop_exp"), ("add", "loop_add")])
def test_loops_of_complex_numbers_are_asked_for_like_those_of_real_ones(name, loop):
    (met,) = calls_of([row(name, "u", "D", 9, elements=10_000)])
    assert met.operation == Operation(name=loop, dtype="complex128", sizes=(("n", 1000),))


def test_what_has_no_complex_form_is_asked_for_by_none():
    (met,) = calls_of([row("maximum.reduce", "r", "D", 9, elements=10_000)])
    assert met.operation is None


def test_a_ufunc_is_asked_for_as_the_loop_of_its_class_at_its_mean_size():
    (add,) = calls_of([row("add", "u", "dd", 9, elements=10_000)])
    assert (add.group, add.size) == (ARRAYS, "n~1e+03")
    assert add.operation == Operation(name="loop_add", sizes=(("n", 1000),))


def test_a_sum_gains_with_reductions_only():
    (total,) = calls_of([row("add.reduce", "r", "d", 9, elements=10_000)])
    assert (total.name, total.needs_reductions) == ("sum", True)


def test_a_measured_call_has_the_speedup_of_its_entry_and_the_whole_run_follows_by_amdahl():
    entry = make_entry("qr", choice={"blas_threads": 1}, m=50, n=50)
    speedup, low, high = speedup_of(entry)
    advice = advised(recording(process(call(seconds=5.0, operation=QR))), entry)
    assert advice.calls[0].gain.speedup == speedup
    assert advice.gain.speedup == pytest.approx(1 / (0.5 + 0.5 / speedup))
    assert advice.gain.low == pytest.approx(1 / (0.5 + 0.5 / low))
    assert advice.gain.high == pytest.approx(1 / (0.5 + 0.5 / high))
    assert advice.next is Next.RUN


def test_where_the_default_was_kept_there_is_nothing_to_gain_which_is_an_answer():
    advice = advised(recording(process(call(seconds=5.0, operation=QR))), make_entry("qr", m=50, n=50))
    assert (advice.gain.speedup, advice.next) == (1.0, Next.NOTHING)


def test_what_was_not_measured_is_to_be_calibrated():
    advice = advised(recording(process(call(seconds=5.0, operation=QR))))
    assert advice.calls[0].gain.source is GainSource.NOT_MEASURED
    assert (advice.gain.open_share, advice.next) == (0.5, Next.CALIBRATE)


def test_other_sizes_give_a_range_and_no_claim():
    entry = make_entry("qr", choice={"blas_threads": 1}, m=900, n=900)
    advice = advised(recording(process(call(seconds=5.0, operation=QR))), entry)
    gain = advice.calls[0].gain
    assert (gain.source, gain.speedup, gain.low) == (GainSource.SIMILAR, None, speedup_of(entry)[0])
    assert advice.gain.speedup == 1.0


@pytest.mark.parametrize(
    ("status", "source"), [(Status.NOISY, GainSource.NOISY), (Status.UNDECIDED, GainSource.UNDECIDED)]
)
def test_what_was_measured_without_a_result_is_told_from_what_was_not_measured(status, source):
    entry = make_entry("qr", status=status, m=50, n=50)
    assert known_gain(call(operation=QR), {QR: entry}.get, lambda *_: [QR]).source is source
    gain = advised(recording(process(call(seconds=5.0, operation=QR))), entry).gain
    assert (gain.open_share, gain.undecided_share) == (0.5, 0.5)


def test_a_loop_longer_than_the_largest_measured_has_the_largest_ones_speedup():
    entry = make_entry("loop_add", choice={"workers": 2}, n=1000)
    size = replace(entry.operation, sizes=(("n", 5000),))
    gain = known_gain(call("add", operation=size), {entry.operation: entry}.get, lambda *_: [entry.operation])
    assert gain.source is GainSource.MEASURED


def test_calls_too_short_for_a_switch_are_not_to_be_measured():
    short = call(
        "add", group=ARRAYS, seconds=5.0, calls=2_000_000, operation=Operation(name="loop_add", sizes=(("n", 5),))
    )
    advice = advised(recording(process(short)))
    assert advice.calls[0].gain.source is GainSource.TOO_SHORT
    assert (advice.gain.open_share, advice.next) == (0.0, Next.NOTHING)


def test_a_call_that_no_knob_reaches_says_so():
    assert known_gain(call("sort"), lambda _: None, lambda *_: []).source is GainSource.NOT_TUNED


def test_gain_of_sums_counts_for_no_run_without_reductions():
    entry = make_entry("loop_sum", choice={"workers": 2}, n=1000)
    total = call("sum", seconds=5.0, operation=entry.operation, needs_reductions=True)
    assert advised(recording(process(total)), entry).gain.speedup == 1.0


def test_a_process_that_waits_for_recorded_children_counts_with_its_cpu_time():
    parent = process(call(seconds=0.5), pid=10, cpu_seconds=1.0)
    children = [process(call(seconds=8.0), pid=pid, parent=10, start=1, end=9) for pid in (11, 12)]
    assert total_seconds(recording(parent, *children)) == pytest.approx(1 + 8 + 8)
    shares = advised(recording(parent, *children)).processes
    assert sum(share.share for share in shares) == pytest.approx(1.0)


def test_children_with_command_lines_of_their_own_are_shown_and_need_children():
    entry = make_entry("qr", choice={"blas_threads": 1}, m=50, n=50)
    parent = process(call(seconds=0.5, operation=QR), pid=10, cpu_seconds=1.0)
    child = process(call(seconds=8.0, operation=QR), pid=11, parent=10, words=("python", "child.py"))
    advice = advised(recording(parent, child), entry)
    assert [process.words for process in advice.processes] == ["python x.py", "python child.py"]
    assert advice.next is Next.RUN_CHILDREN


def test_processes_of_multiprocessing_are_one_row_whatever_their_pipes_are_called():
    spawned = [
        process(
            pid=pid, words=("python", "-c", f"spawn_main(tracker_fd={pid}, pipe_handle=3)", "--multiprocessing-fork")
        )
        for pid in (10, 11)
    ]
    (share,) = advised(recording(*spawned)).processes
    assert (share.words, share.processes) == ("python --multiprocessing-fork", 2)


def test_more_blas_threads_than_cpus_are_something_to_gain_though_each_call_is_fastest_as_it_is():
    kept = make_entry("qr", m=50, n=50)
    pair = [process(call(operation=QR), pid=pid, parent=5) for pid in (10, 11)]
    assert advised(recording(*pair), kept).next is Next.RUN_CHILDREN
    nested = process(call(operation=QR), threads=4, most_at_once=4)
    assert advised(recording(nested), kept).next is Next.RUN
    little = process(call(operation=QR, seconds=0.1), threads=4, most_at_once=4)
    assert advised(recording(little), kept).next is Next.NOTHING


def test_a_recording_of_nothing_says_that_there_is_nothing_to_gain():
    assert advised(recording()).next is Next.NOTHING


# --- trouble ------------------------------------------------------------------------------------


def about(word, *processes, **fields):
    return [sentence for sentence in trouble(recording(*processes, **fields)) if word in sentence]


def test_processes_at_once_are_those_whose_times_overlap():
    spans = [(0, 2), (1, 3), (2, 4)]
    assert processes_at_once([process(pid=n, start=a, end=b) for n, (a, b) in enumerate(spans, 20)]) == 2


def test_processes_times_threads_above_the_cpus_is_trouble():
    pair = [process(call(), pid=pid, parent=5) for pid in (10, 11)]
    assert "4 threads on 2 usable CPUs" in about("BLAS threads", *pair)[0]
    alone = process(call(), pools=(ThreadPool(library="openblas", kind="blas", threads=1),))
    assert not about("BLAS threads", replace(alone, pid=10), replace(alone, pid=11))


def test_threads_that_call_blas_at_once_are_nested_pools():
    assert about("nested", process(call(), threads=4, most_at_once=4))
    assert not about("nested", process(call(), threads=4, most_at_once=1))


def test_more_blas_threads_than_cpus_is_trouble():
    assert about("surplus", process(call()), usable_cpus=1, limit="quota")


def test_a_quota_that_paused_the_program_is_trouble():
    assert about("quota", process(call()), throttled_seconds=3.0)
    assert not about("quota", process(call()), throttled_seconds=0.1)


def test_openmp_pinning_is_trouble_where_openmp_is_loaded():
    pools = (ThreadPool(library="openmp", kind="openmp", threads=2),)
    assert about("pin", process(environment={"OMP_PROC_BIND": "true"}, pools=pools))
    assert not about("pin", process(environment={"OMP_PROC_BIND": "true"}))


@pytest.mark.parametrize(
    ("word", "met"),
    [
        ("BLAS has none", call("matmul", dtype="int64")),
        ("two dtypes", call("add", group=ARRAYS, dtype="float32+float64")),
        ("allocator", call("free", group=OTHERS)),
        ("map_blocks", call("add", group=ARRAYS, elements=90_000.0, loop_elements=300.0)),
        ("larger arrays at once", call("add", group=ARRAYS, elements=10.0, seconds=2.0)),
    ],
)
def test_costs_of_operands_are_said_if_they_take_part_of_the_run(word, met):
    assert about(word, process(met))
    assert not about(word, process(replace(met, seconds=0.001)))


def test_threads_that_take_turns_are_said_to_wait_for_the_gil():
    several = process(call(seconds=8.0), threads=4, most_at_once=3, cpu_seconds=10.5)
    assert about("GIL", several)
    assert not about("GIL", replace(several, cpu_seconds=19.0))
    in_turns = replace(several, most_at_once=1, turns=1000)
    assert about("GIL", in_turns)
    assert not about("GIL", replace(in_turns, turns=3))


# --- recordings that are kept -------------------------------------------------------------------


def test_a_function_of_numpy_and_of_scipy_is_one_row_of_the_advice():
    """SciPy's calls are recorded without their layout, which the table does not show."""
    recorded = recording(process(call(operation=QR, contiguous=True), call(operation=QR, contiguous=None)))
    (only,) = advised(recorded).calls
    assert (only.call.calls, only.call.seconds) == (20, 2.0)


def test_without_any_recorded_call_a_reason_for_it_leaves_the_gain_unknown():
    blind = process(unseen=("The recording could not be written.",), start=0.0, end=0.0)
    assert advised(recording(blind)).next is Next.UNKNOWN
    assert advised(recording()).next is Next.NOTHING
    assert advised(recording(process(unseen=()))).next is Next.NOTHING


def test_a_recording_survives_a_file():
    kept = recording(process(call(operation=QR), call("add", group=ARRAYS)), without_autotune=("/usr/bin/python3",))
    assert Recording.from_dict(json.loads(json.dumps(kept.as_dict()))) == kept


@pytest.mark.parametrize(
    "spoilt",
    [
        [],
        {},
        {"schema": "autotune.recording/2"},
        {**recording(process(call())).as_dict(), "processes": [{"pid": 1}]},
        {**recording(process(call())).as_dict(), "processes": 3},
        {**recording(process(call())).as_dict(), "new": 3},
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_a_sentence(spoilt):
    with pytest.raises(UsageError, match="recording"):
        Recording.from_dict(spoilt)


MUTATIONS = (
    ("wall_seconds", "1"),
    ("status", {}),
    ("command", [1]),
    ("processes.end", []),
    ("processes.words", ["a", None]),
    ("processes.pools", [{"library": "openblas", "kind": "blas", "threads": [2]}]),
    ("processes.environment", {"OMP_NUM_THREADS": 1}),
    ("processes.calls.name", {}),
    ("processes.calls.seconds", 10**400),
    ("processes.calls.elements", float("nan")),
    ("processes.calls.operation", {"name": {}, "dtype": "float64", "sizes": {}}),
    ("processes.calls.operation", {"name": "qr", "dtype": "float64", "sizes": {"m": float("inf"), "n": 5}}),
    ("processes.calls.operation", {"name": "qr", "dtype": "float64", "sizes": {"m": -5, "n": 5}}),
)


def mutated(name, value):
    document = json.loads(json.dumps(recording(process(call(operation=QR))).as_dict()))
    *path, last = name.split(".")
    part = document
    for step in path:
        part = part[step][0]
    part[last] = value
    return document


@pytest.mark.parametrize(("name", "value"), MUTATIONS)
def test_a_recording_with_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(UsageError):
        Recording.from_dict(mutated(name, value))


@pytest.mark.parametrize("sizes", [{"m": 5}, {"q": 5, "n": 5}, {"m": 5, "n": 5, "q": 5}])
def test_an_operation_with_sizes_that_the_catalogue_does_not_know_is_none(sizes):
    read = Recording.from_dict(mutated("processes.calls.operation", {"name": "qr", "dtype": "float64", "sizes": sizes}))
    assert read.processes[0].calls[0].operation is None
