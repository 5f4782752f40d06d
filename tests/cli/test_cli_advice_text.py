"""The text of `autotune advise`, from made-up recordings: instant."""

from dataclasses import replace

import pytest
from support.native import needs_core
from support.profile_builders import alone, make_entry, of_this_machine, with_evidence
from support.recording_builders import QR, advised, call, loop_call, process, recording

from autotune.cli.advice_text import MOST_ROWS, lines
from autotune.cli.advise import advise_here
from autotune.controls import thread_variables, wait_policy
from autotune.intercept.operations import Layout
from autotune.model.allocation import Limit
from autotune.model.entry import Status
from autotune.profiles import folders, profile_files
from autotune.recording.known_gains import GainSource
from autotune.recording.recording import ARRAYS, OTHERS, Loop

TUNED = make_entry("qr", choice={"blas_threads": 1}, m=50, n=50)
ELSEWHERE = make_entry("qr", choice={"blas_threads": 1}, m=900, n=900)
KEPT = make_entry("qr", m=50, n=50)
NOISY = make_entry("qr", status=Status.NOISY, m=50, n=50)
KEPT_ELSEWHERE = make_entry("qr", m=900, n=900)
LONG = process(call(seconds=5.0, operation=QR))


def text(recorded, *entries, width=100):
    """Return the advice as lines without their indentation."""
    return [line.strip() for line in lines(advised(recorded, *entries), width)]


@pytest.mark.parametrize(
    ("name", "seconds", "calls", "is_told"),
    [
        ("standard_normal", 5.0, 10, True),
        ("standard_normal", 0.1, 10, False),
        ("standard_normal", 5.0, 1_000_000, False),
        ("permutation", 5.0, 10, False),
    ],
)
def test_many_random_numbers_are_told_what_draws_them_on_several_cpus(name, seconds, calls, is_told):
    drawn = process(call(f"random.{name}", group=OTHERS, seconds=seconds, calls=calls, size="n~4e+06"))
    assert any("`autotune.random`" in line for line in text(recording(drawn))) is is_told


def line_with(word, printed):
    (line,) = [line for line in printed if word in line]
    return line


@pytest.mark.parametrize(
    ("status", "ending"), [(0, "exit status 0"), (7, "exit status 7"), (-9, "signal 9"), (None, "still running")]
)
def test_the_first_line_has_the_command_its_times_and_its_end(status, ending):
    printed = text(recording(LONG, status=status, command=("python", "my script.py")), width=500)
    assert printed[0].startswith("python 'my script.py': 10.00 s, 10.00 CPU seconds on 2 usable CPUs")
    assert ending in printed[0]
    assert "Inside NumPy and SciPy: 50%" in printed[0]


@pytest.mark.parametrize(
    ("entry", "met"),
    [
        (TUNED, f"{TUNED.evidence.speedup:.2f} ("),
        (KEPT, "plain NumPy is fastest"),
        (with_evidence(KEPT, speedup_limit=1.06), "little to gain, at most 1.06"),
        (with_evidence(KEPT, speedup_limit=1.9), "measured, undecided so far"),
        (ELSEWHERE, f"not measured; {ELSEWHERE.evidence.speedup:.2f} to "),
        (KEPT_ELSEWHERE, "not measured at this size"),
        (NOISY, "measured, too noisy so far"),
        (None, "not measured"),
    ],
)
def test_a_row_says_what_is_known_of_its_call(entry, met):
    row = line_with("qr float64", text(recording(LONG), *([entry] if entry else []), width=120))
    assert row.split()[:6] == ["qr", "float64", "n=50", "10", "5", "50%"]
    assert met in row


def test_the_name_of_a_call_is_not_broken():
    met = call("random.standard_normal", group=OTHERS, seconds=5.0)
    assert line_with("random.standard_normal", text(recording(process(met)), width=80))


def test_a_row_that_no_knob_reaches_says_so():
    assert "not tuned" in line_with("sort", text(recording(process(call("sort", group=OTHERS)))))


@pytest.mark.parametrize(
    ("entries", "met"),
    [
        ([TUNED], "times as fast ("),
        ([KEPT], "plain NumPy is fastest. "),
        ([], "Nothing that this run calls has been measured"),
    ],
)
def test_the_gain_of_the_whole_run_is_claimed_only_where_something_was_measured(entries, met):
    printed = text(recording(LONG), *entries, width=200)
    assert met in line_with("Calls that can be tuned and are not measured", printed)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(12345.6, "12,346"), (123.4, "123"), (0.05, "0.05"), (0.0001, "<0.001")]
)
def test_seconds_fit_their_column(seconds, shown):
    met = call("sort", group=OTHERS, seconds=seconds)
    printed = text(recording(process(met), wall_seconds=seconds), width=80)
    assert line_with("sort float64", printed).split()[3:5] == ["10", shown]


@pytest.mark.parametrize(("calls", "shown"), [(999_999, "999,999"), (4_346_153, "4.35e+06")])
def test_counts_of_calls_fit_their_column(calls, shown):
    met = call("sort", group=OTHERS, calls=calls, seconds=10.0)
    assert line_with("sort float64", text(recording(process(met)), width=80)).split()[3] == shown


def test_rows_of_little_time_are_one_line_a_group():
    many = [call("add", group=ARRAYS, size=f"n~{size}", seconds=0.01) for size in range(2, 9)]
    printed = text(recording(process(call(seconds=5.0, operation=QR), *many)))
    assert "0.07" in line_with("7 more: whole-array", printed)
    assert not [line for line in printed if line.startswith("add")]


def test_no_more_rows_are_shown_than_fit_a_screen():
    many = [call("qr", size=f"n={size}", seconds=0.4) for size in range(MOST_ROWS + 5)]
    printed = text(recording(process(*many)))
    assert len([line for line in printed if line.startswith("qr")]) == MOST_ROWS
    assert [line for line in printed if line.startswith("5 more: linear")]


def test_processes_are_shown_with_their_shares_where_there_are_several():
    children = [replace(LONG, pid=pid, parent=1, words=("python", "child.py")) for pid in (11, 12)]
    printed = text(recording(process(call()), *children))
    assert "(2 processes)" in line_with("child.py", printed)
    assert not [line for line in text(recording(LONG)) if line.startswith("process")]


def test_trouble_stands_in_a_list():
    assert line_with("surplus", text(recording(LONG, usable_cpus=1), width=300)).startswith("- BLAS uses 2")


@pytest.mark.parametrize(
    ("fields", "entries", "met"),
    [
        ({}, [], "Next: autotune calibrate -- python x.py"),
        ({"status": 3}, [], "Next, as soon as the command succeeds: autotune calibrate"),
        ({"is_complete": False, "status": None}, [], "Next: autotune calibrate --recording FILE"),
        ({}, [NOISY], "Next, on a quieter machine or with more time: autotune calibrate --budget "),
        ({}, [TUNED], "Next: autotune run -- python x.py"),
        ({}, [KEPT], "Nothing to gain here"),
        ({"is_complete": False, "status": None}, [KEPT], "Nothing to gain in the recorded time"),
    ],
)
def test_the_last_line_is_the_next_command_or_that_there_is_nothing_to_gain(fields, entries, met):
    assert text(recording(LONG, **fields), *entries, width=200)[-1].startswith(met)


def test_a_command_whose_children_gain_is_told_of_the_option_for_them():
    pair = [process(call(seconds=4.0, operation=QR), pid=pid, parent=5) for pid in (10, 11)]
    last = text(recording(*pair), KEPT)[-1]
    assert last == "Next: AUTOTUNE_PROCESSES=2 autotune run --children -- python x.py"


def test_a_run_that_saves_less_than_the_start_of_run_takes_is_told():
    short = recording(
        replace(LONG, end=0.2, calls=(call(seconds=0.1, operation=QR),), cpu_seconds=0.2), wall_seconds=0.2
    )
    assert text(short, TUNED, width=200)[-1].endswith("takes more than a run like this saves.")
    assert text(recording(LONG), TUNED, width=200)[-1] == "Next: autotune run -- python x.py"


def test_a_command_without_a_recorded_call_is_measured_as_a_whole():
    printed = " ".join(text(recording()))
    assert "No call of NumPy or SciPy was recorded" in printed
    assert printed.endswith("autotune tune -- python x.py")


@pytest.mark.parametrize(("status", "ending"), [(2, "exit status 2"), (-11, "ended by signal 11")])
def test_of_a_command_that_failed_without_a_call_nothing_but_its_end_is_said(status, ending):
    said = text(recording(status=status), width=200)
    assert said == [f"python x.py: {ending}, without a call of NumPy or SciPy: there is nothing to advise on."]


@pytest.mark.parametrize(
    "fields", [{"without_autotune": ("/usr/bin/python3",)}, {"status": 0}, {"status": None, "is_complete": False}]
)
def test_a_reason_why_calls_were_not_seen_is_told_of_a_command_that_failed_too(fields):
    assert len(text(recording(**{"status": 2, **fields}))) > 3


def test_no_gain_of_a_run_that_failed_is_said_to_be_none_here():
    assert text(recording(LONG, status=3), KEPT, width=200)[-1].startswith("Nothing to gain in this run, which failed")


def test_a_row_leads_with_the_speed_up_over_all_states_of_the_machine():
    states = with_evidence(TUNED, expected_speedup=1.25, full_capacity_share=0.1)
    assert "1.25 (2.00 at full capacity), blas_threads=1" in line_with(
        "qr float64", text(recording(LONG), states, width=140)
    )


@pytest.mark.parametrize("other", [Status.DEFAULT_KEPT, Status.UNDECIDED])
@pytest.mark.parametrize("elements", [100_000, 300_000])
def test_loops_of_which_an_operation_is_undecided_are_undecided_with_the_command_that_goes_on(other, elements):
    entries = [
        make_entry(name, status=status, n=100_000)
        for name, status in (("loop_add", Status.UNDECIDED), ("loop_sqrt", other))
    ]
    met = process(loop_call(elements, seconds=0.4), call("sort", group=OTHERS, seconds=9.0))
    printed = text(recording(met), *entries, width=200)
    assert "measured, undecided so far" in line_with("add float64", printed)
    assert "`autotune calibrate --budget 10m -- python x.py` goes on with them." in " ".join(printed)


def test_advice_fits_the_width_of_the_terminal():
    printed = list(lines(advised(recording(LONG, replace(LONG, pid=12)), ELSEWHERE), 80))
    assert max(map(len, printed)) <= 80


def test_sizes_around_a_call_do_not_speak_for_it_where_another_machine_or_no_result_is_behind_them(
    tmp_path, monkeypatch
):
    alone(monkeypatch, tmp_path)
    around = [make_entry("qr", m=n, n=n) for n in (20, 200)]
    profile_files.write(of_this_machine(*around), tmp_path / "shipped" / "class.yaml")
    assert advise_here(recording(LONG), None).calls[0].gain.source is GainSource.SIMILAR
    profile_files.write(of_this_machine(NOISY), folders.user_profiles() / "mine.yaml")
    assert advise_here(recording(LONG), None).calls[0].gain.source is GainSource.NOISY


@needs_core
@pytest.mark.parametrize(
    ("measured", "own", "waiting"),
    [(None, None, 0.6), (20, None, 0.1), (20, "28", 0.6), (20, "30", 0.6), (None, "20", 0.1), (None, "none", 0.6)],
)
def test_loops_wait_for_blas_threads_as_long_as_the_users_variable_has_them_spin(
    tmp_path, monkeypatch, measured, own, waiting
):
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("autotune.profiles.resolve.usable_cpus", lambda *_: (2, Limit.NONE))
    for variable in (*thread_variables.THREADS, wait_policy.VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    if own is not None:
        monkeypatch.setenv(wait_policy.VARIABLE, own)
    choice = {"workers": 2, "chunk": 10_000}
    entries = [make_entry(name, choice=choice, n=n) for name in ("loop_add", "loop_sqrt") for n in (50_000, 500_000)]
    profile_files.write(replace(of_this_machine(*entries), blas_wait=measured), folders.user_profiles() / "mine.yaml")
    loop = Loop(kind="arithmetic", dtype="float64", layout=Layout.CONTIGUOUS, elements=100_000)
    met = call("add", group=ARRAYS, loop=loop, elements=100_000, after_blas=(0.1, 0.2, 0.6), seconds=5.0)
    gain = advise_here(recording(process(met)), None).calls[0].gain
    assert (gain.source, gain.waiting) == (GainSource.MEASURED, waiting)


def test_a_blank_reason_of_a_kept_recording_is_no_error():
    assert "-" in text(recording(replace(LONG, unseen=("\n",))))
