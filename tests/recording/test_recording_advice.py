"""Advice from made-up recordings: decisions, exact and instant."""

import json
from dataclasses import replace

import pytest
from support.profile_builders import make_entry, with_evidence
from support.recording_builders import QR, advised, call, loop_call, process, recording, resolution_of

from autotune.errors import UsageError
from autotune.intercept.operations import Layout
from autotune.model.entry import Status
from autotune.model.operation import Operation
from autotune.profiles.lookup import Level
from autotune.recording.advice import Next, advise_on
from autotune.recording.call_names import call_of
from autotune.recording.known_gains import Basis, GainSource, Limits, known_gain
from autotune.recording.ledger import InnerLoops, LedgerRow
from autotune.recording.program_gain import total_seconds
from autotune.recording.recording import ARRAYS, NOT_AFTER_BLAS, OTHERS, Loop, Recording, ThreadPool, join_calls
from autotune.recording.trouble import processes_at_once, trouble


def speedup_of(entry):
    return entry.evidence.speedup, *entry.evidence.interval


def calls_of(rows):
    return join_calls(map(call_of, rows))


ARITHMETIC, REDUCTION = 3, 15
"""Numbers of classes of loops of 8 bytes."""


def loops(elements, class_number=ARITHMETIC, *, layout=Layout.CONTIGUOUS, rounds=False, number=1):
    return InnerLoops(class_number=class_number, layout=layout, rounds=rounds, number=number, elements=elements)


def row(name, kind, types, *sizes, calls=10, seconds=1.0, elements=0, contiguous=True, loops=None, rows=None):
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
        loops=loops,
        rows=rows,
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
    forms = loops(90_000), None, loops(45_000, number=2), loops(5000, number=18)
    whole, none, longer, short = (call_of(row("add", "u", "dd", 16, elements=10 * 90_000, loops=own)) for own in forms)
    assert whole.operation == Operation(name="loop_add", sizes=(("n", 90_000),))
    assert longer.operation == Operation(name="loop_add", sizes=(("n", 45_000),))
    assert [call.is_in_short_loops for call in (whole, longer, none, short)] == [False, False, True, True]
    assert (none.operation, short.operation) == (None, None)
    assert len(join_calls([whole, none, longer, short])) == 4


@pytest.mark.parametrize(
    ("own", "covering"),
    [
        (loops(50_000, layout=Layout.BROADCAST), ("loop_scale", "float64", 50_000)),
        (loops(50_000, layout=Layout.STRIDED), ("loop_strided", "float64", 50_000)),
        (loops(50_000, 0), ("loop_add", "float32", 12_500)),  # of one byte
        (loops(50_000, 8), ("loop_exp", "float32", 50_000)),
        (loops(199_999, REDUCTION), ("loop_max", "float64", 200_000)),
    ],
)
def test_loops_are_looked_up_as_the_core_classes_them(own, covering):
    name, dtype, elements = covering
    met = call_of(row("add", "u", "xx", 15, elements=10 * 50_000, loops=own))
    assert met.operation == Operation(name=name, dtype=dtype, sizes=(("n", elements),))


@pytest.mark.parametrize(
    ("name", "kind", "types", "sizes", "requested"),
    [
        ("matmul", "g", "ff", (3, 4, 4, 5), Operation(name="matmul", dtype="float32", sizes=(("m", 3), ("k", 4), ("n", 5)))),
        ("solve1", "g", "DD", (6, 6, -1, 6), Operation(name="solve", dtype="complex128", sizes=(("n", 6),))),
        ("matmul", "g", "ll", (3, 4, 4, 5), None),
        ("matmul", "g", "fd", (3, 4, 4, 5), None),
        ("eigvals", "g", "d", (6, 6), None),
        ("eigvalsh_lo", "g", "d", (6, 6), None),
        ("svd", "s", "d", (7, 6), Operation(name="svd", sizes=(("m", 7), ("n", 6)))),
    ],
)  # fmt: skip
def test_linear_algebra_is_asked_for_as_apply_does(name, kind, types, sizes, requested):
    (met,) = calls_of([row(name, kind, types, *sizes)])
    assert met.operation == requested
    assert met.name in {"matmul", "solve", "eigvals", "eigvalsh", "svd"}  # as NumPy's users call it


def test_loops_of_complex_numbers_go_by_entries_of_float64_where_they_have_none():
    sizes = [make_entry(name, choice={"workers": 2}, n=n) for name in ("loop_add", "loop_sqrt") for n in (1000, 9000)]
    met = call_of(row("add", "u", "DD", 12, elements=10 * 5000, loops=loops(5000, 5)))
    assert met.operation.dtype == "complex128"
    assert known_gain(met, resolution_of(*sizes), Limits()).source is GainSource.MEASURED
    own = make_entry("loop_add", dtype="complex128", n=5000)
    assert known_gain(met, resolution_of(*sizes, own), Limits()).source is GainSource.DEFAULT_KEPT


def test_a_sum_of_numbers_that_are_rounded_gains_with_reductions_only():
    rounded = row("add.reduce", "r", "d", 17, elements=2_000_000, loops=loops(200_000, REDUCTION, rounds=True))
    exact = row("add.reduce", "r", "l", 17, elements=2_000_000, loops=loops(200_000, REDUCTION))
    along = row("add.reduce", "r", "d", 17, elements=2_000_000, loops=loops(100_000, ARITHMETIC, number=2))
    calls = [call_of(each) for each in (rounded, exact, along)]
    assert [(call.name, call.needs_reductions) for call in calls] == [("sum", True), ("sum", False), ("sum", False)]
    assert [call.operation.name for call in calls] == ["loop_max", "loop_max", "loop_add"]


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


def test_a_default_that_was_kept_for_little_may_gain_as_much_as_its_entry_says():
    kept = with_evidence(make_entry("qr", m=50, n=50), speedup_limit=1.06)
    advice = advised(recording(process(call(seconds=5.0, operation=QR))), kept)
    assert (advice.calls[0].gain.source, advice.calls[0].gain.high) == (GainSource.DEFAULT_KEPT, 1.06)
    assert (advice.gain.low, advice.gain.high) == (1.0, 1.0)  # it runs as plain NumPy until more is known


def test_a_default_that_was_kept_although_another_choice_may_gain_much_decides_nothing():
    kept = with_evidence(make_entry("qr", m=50, n=50), speedup_limit=1.9)
    advice = advised(recording(process(call(seconds=5.0, operation=QR))), kept)
    assert advice.calls[0].gain.source is GainSource.UNDECIDED
    assert (advice.gain.decided_share, advice.gain.undecided_share, advice.next) == (0.0, 0.5, Next.CALIBRATE)


def test_a_default_that_was_kept_for_want_of_time_says_nothing_of_other_sizes():
    kept = with_evidence(make_entry("qr", m=900, n=900), speedup_limit=1.06)
    firm = make_entry("qr", m=900, n=900)
    sources = [known_gain(call(operation=QR), resolution_of(entry), Limits()).source for entry in (kept, firm)]
    assert sources == [GainSource.NOT_MEASURED, GainSource.SIMILAR]


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
    assert known_gain(call(operation=QR), resolution_of(entry), Limits()).source is source
    gain = advised(recording(process(call(seconds=5.0, operation=QR))), entry).gain
    assert (gain.open_share, gain.undecided_share) == (0.5, 0.5)


def class_entries(*sizes, names=("loop_add", "loop_sqrt"), choice={"workers": 2}):  # noqa: B006 - not changed
    return [make_entry(name, choice=choice, n=n) for name in names for n in sizes]


@pytest.mark.parametrize(
    ("elements", "source", "basis"),
    [
        (999, GainSource.SIMILAR, Basis.SIZE),
        (1000, GainSource.MEASURED, Basis.SIZE),
        (5000, GainSource.MEASURED, Basis.BETWEEN),
        (20_000, GainSource.MEASURED, Basis.ABOVE),
    ],
)
def test_a_loop_has_the_speedup_of_the_plan_that_the_core_is_given(elements, source, basis):
    gain = known_gain(loop_call(elements), resolution_of(*class_entries(1000, 9000)), Limits())
    assert (gain.source, gain.basis) == (source, basis)
    if source is GainSource.MEASURED:
        assert gain.low <= gain.speedup <= gain.high
        assert (gain.operation, gain.choice.partition(",")[0]) == ("loop_add", "workers=2")


def test_loops_run_plain_unless_each_of_the_operations_for_their_class_gained():
    strided = loop_call(1000, layout=Layout.STRIDED)
    profiles = resolution_of(*class_entries(1000))
    assert known_gain(strided, profiles, Limits()).source is GainSource.NOT_MEASURED
    names = ("loop_strided", "loop_add", "loop_sqrt")
    assert known_gain(strided, resolution_of(*class_entries(1000, names=names)), Limits()).speedup is not None
    kept = [*class_entries(1000, names=names[:2]), make_entry("loop_sqrt", n=1000)]
    gain = known_gain(strided, resolution_of(*kept), Limits())
    assert (gain.source, gain.operation) == (GainSource.DEFAULT_KEPT, "loop_sqrt")


def test_a_call_in_rows_is_shared_as_rows_or_by_its_inner_loops():
    names = ("loop_rows", "loop_add", "loop_sqrt")
    met = call_of(
        row("add", "u", "dd", 16, elements=10 * 90_000, loops=loops(30_000, number=3), rows=loops(90_000, layout=3))
    )
    assert (met.operation.name, met.operation.size, met.is_in_short_loops) == ("loop_rows", {"n": 90_000}, False)
    shared = known_gain(met, resolution_of(*class_entries(50_000, names=names)), Limits())
    assert (shared.source, shared.operation, shared.basis) == (GainSource.MEASURED, "loop_rows", Basis.ABOVE)
    by_loops = known_gain(met, resolution_of(*class_entries(20_000)), Limits())
    assert (by_loops.source, by_loops.operation) == (GainSource.MEASURED, "loop_add")
    assert known_gain(met, resolution_of(*class_entries(50_000)), Limits()).source is GainSource.NOT_MEASURED


def test_loops_while_idle_blas_threads_spin_run_plain():
    met, profiles = loop_call(1000, seconds=5.0, after_blas=(0.2, 0.4, 0.6)), resolution_of(*class_entries(1000))
    limits = [Limits(spin_exponent=exponent) for exponent in (12, 20, 21, 28, 30)]
    waiting = [known_gain(met, profiles, limit).waiting for limit in limits]
    assert waiting == [0.2, 0.2, 0.4, 0.6, 0.6]
    gains = [advise_on(recording(process(met)), profiles, limit).gain for limit in limits]
    saved = [1 - 1 / gain.speedup for gain in gains]
    assert saved == pytest.approx([(1 - part) / 0.8 * saved[0] for part in waiting])
    twice = join_calls([met, replace(met, after_blas=NOT_AFTER_BLAS)])
    assert twice[0].after_blas == pytest.approx((0.1, 0.2, 0.3))


@pytest.mark.parametrize(("dtype", "elements", "waiting"), [("float64", 999, 1.0), ("float64", 1000, 0.0),
                                                            ("float32", 1999, 1.0), ("float32", 2000, 0.0)])  # fmt: skip
def test_loops_that_gain_while_idle_blas_threads_spin_do_not_wait(dtype, elements, waiting):
    limits = Limits(spin_exponent=20, loops_after_blas={"arithmetic": 1000})
    loop = Loop(kind="arithmetic", dtype=dtype, layout=Layout.CONTIGUOUS, elements=elements)
    assert limits.waiting_share((1.0, 1.0, 1.0), loop) == waiting
    assert limits.waiting_share((1.0, 1.0, 1.0), replace(loop, kind="functions")) == 1.0


def test_a_program_gains_what_is_expected_over_all_states_of_the_machine():
    full = make_entry("qr", choice={"blas_threads": 1}, speedup=2.0, m=50, n=50)
    expected = replace(full, evidence=replace(full.evidence, expected_speedup=1.5))
    met = call(operation=QR, seconds=10.0)
    advice = advise_on(recording(process(met), wall_seconds=10.0), resolution_of(expected))
    assert advice.calls[0].gain.speedup == 2.0
    assert advice.gain.speedup == pytest.approx(1.5)
    assert (advice.gain.low, advice.gain.high) == pytest.approx((1.5 / 1.1, 1.5 / 0.9))


def test_a_size_between_measured_ones_has_what_the_runtime_chooses_there():
    entries = [make_entry("qr", choice={"blas_threads": 1}, m=n, n=n) for n in (20, 200)]
    gain = known_gain(call(operation=QR), resolution_of(*entries), Limits())
    speedup, low, high = speedup_of(entries[0])
    assert (gain.source, gain.basis, gain.choice) == (GainSource.MEASURED, Basis.BETWEEN, "blas_threads=1")
    assert (gain.low, gain.speedup, gain.high) == (low, pytest.approx(speedup), high)


def test_figures_of_other_machines_and_sizes_are_counted_apart():
    entry = make_entry("qr", choice={"blas_threads": 1}, m=50, n=50)
    recorded = recording(process(call(seconds=5.0, operation=QR)))
    gain = known_gain(call(operation=QR), resolution_of(entry, level=Level.CLASS), Limits())
    assert (gain.source, gain.level, gain.is_inferred) == (GainSource.MEASURED, "same-class", True)
    elsewhere = advise_on(recorded, resolution_of(entry, level=Level.CLASS), Limits())
    assert [advised(recorded, entry).gain.inferred_share, elsewhere.gain.inferred_share] == [0.0, 0.5]


@pytest.mark.parametrize(
    ("met", "limits"),
    [
        (call(operation=QR), Limits(calls="The core is off.", loops="The core is off.")),
        (call(operation=QR), Limits(blas_threads=1)),
        (loop_call(1000), Limits(calls="The core is off.", loops="The core is off.")),
        (loop_call(1000), Limits(loops="One thread is left.")),
    ],
)
def test_what_settings_keep_from_being_applied_is_no_gain(met, limits):
    profiles = resolution_of(make_entry("qr", choice={"blas_threads": 1}, m=50, n=50), *class_entries(1000))
    assert known_gain(met, profiles, Limits()).source is GainSource.MEASURED
    assert known_gain(met, profiles, limits).source is GainSource.HELD
    assert advise_on(recording(process(met)), profiles, limits).gain.speedup == 1.0
    if limits.loops is not None:
        assert any(
            limits.loops in sentence for sentence in advise_on(recording(process(met)), profiles, limits).trouble
        )


def test_calls_too_short_for_a_switch_are_not_to_be_measured():
    short = call("add", group=ARRAYS, seconds=5.0, calls=2_000_000, elements=5.0)
    advice = advised(recording(process(short)))
    assert advice.calls[0].gain.source is GainSource.TOO_SHORT
    assert (advice.gain.open_share, advice.next) == (0.0, Next.NOTHING)


def test_a_call_that_no_knob_reaches_says_so():
    assert known_gain(call("sort"), resolution_of(), Limits()).source is GainSource.NOT_TUNED
    short = call("add", group=ARRAYS, elements=90_000.0, is_in_short_loops=True)
    assert known_gain(short, resolution_of(), Limits()).source is GainSource.SHORT_LOOPS


def test_gain_of_sums_counts_for_no_run_without_reductions():
    entries = class_entries(1000, names=("loop_max", "loop_sum"))
    total = loop_call(1000, kind="reductions", seconds=5.0, needs_reductions=True)
    assert advised(recording(process(total)), *entries).calls[0].gain.source is GainSource.MEASURED
    assert advised(recording(process(total)), *entries).gain.speedup == 1.0


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


def test_other_pools_are_told_with_the_counts_that_tune_can_set():
    assert about("thread count for numba", process(others=("jax", "numba")))
    (only,) = about("Other thread pools", process(others=("jax",)))
    assert "tune" not in only


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
        ("map_blocks", call("add", group=ARRAYS, elements=90_000.0, is_in_short_loops=True)),
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
        {"schema": "autotune.recording/4"},
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
    ("processes.calls.inner", {"kind": "arithmetic", "dtype": "float64", "layout": 1, "elements": 0}),
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
