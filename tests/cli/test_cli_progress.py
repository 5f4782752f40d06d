"""Progress of a calibration."""

import io
import math

import pytest

from autotune.cli.progress import progress
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.measurement import Failure, FailureKind
from autotune.model.operation import Operation
from autotune.search.events import Confirming, Decided, Exploring, Tried
from autotune.search.progress_text import Board

SVD = Operation(name="svd", sizes=(("m", 500), ("n", 500)))
ONE = Configuration(blas_threads=1)
TIMES = {"elapsed": 45.0, "remaining": 255.0}
EXPLORING = Exploring(name="svd", dtype="float64", index=3, total=34, **TIMES)
TUNED = Entry(
    operation=SVD,
    status=Status.TUNED,
    reason="Faster.",
    choice=ONE,
    evidence=Evidence(speedup=2.0, interval=(1.25, 2.5)),
)
NOT_REACHED = Entry(operation=SVD, status=Status.DEFAULT_KEPT, reason="The budget ended.")


def tried(ratio, configuration=ONE, operation=SVD):
    return Tried(operation=operation, configuration=configuration, speedup=1 / ratio, **TIMES)


def test_the_start_of_an_operation_says_where_it_stands_and_the_time():
    assert Board().take(EXPLORING) == "[3/34] exploring svd  (0:45 spent, 4:15 left)"


def test_a_new_best_is_said_and_a_worse_trial_is_not():
    board, two = Board(), Configuration(blas_threads=2)
    trials = [tried(1.2), tried(0.999), tried(0.8), tried(0.9, two), tried(0.5, two)]
    assert [board.take(trial) for trial in trials] == [
        None,
        None,
        "  svd m=500 n=500: blas_threads=1 looks 1.25x as fast as the default",
        None,
        "  svd m=500 n=500: blas_threads=2 looks 2.0x as fast as the default",
    ]


def test_a_better_estimate_of_the_best_is_shown_live_and_is_no_news_for_a_log():
    board = Board()
    board.take(tried(0.8))
    assert board.take(tried(0.5)) is None
    assert "at 2.0x the default" in board.line(tried(0.5))


def test_the_default_is_never_called_the_best():
    assert Board().take(tried(0.99, DEFAULT)) is None


def test_another_size_has_a_best_of_its_own():
    board = Board()
    board.take(tried(0.5))
    assert board.take(tried(0.9, operation=Operation(name="svd"))) is not None


def test_no_line_is_kept_twice():
    """All sizes of an operation advance together, and an operation is explored again after the others."""
    board, small = Board(), Operation(name="svd", sizes=(("m", 5), ("n", 5)))
    crash = Failure(kind=FailureKind.CRASH, reason="Signal 11 ended the process.")
    events = [
        tried(0.5),
        tried(0.5, operation=small),
        Tried(operation=SVD, configuration=ONE, speedup=None, failure=crash, **TIMES),
    ]
    assert len(list(filter(None, map(board.take, [*events, *events, EXPLORING, *events])))) == 4


def test_a_failed_trial_is_said_with_its_reason():
    event = Tried(
        operation=SVD,
        configuration=ONE,
        speedup=None,
        failure=Failure(kind=FailureKind.CRASH, reason="Signal 11 ended the process."),
        **TIMES,
    )
    assert Board().take(event) == "  svd m=500 n=500: blas_threads=1 crash: Signal 11 ended the process."


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (TUNED, "  svd m=500 n=500: blas_threads=1, 2.00x (1.25 to 2.50)"),
        (NOT_REACHED, "  svd m=500 n=500: default kept: The budget ended."),
    ],
)
def test_a_decision_is_said_with_its_evidence_or_its_reason(entry, line):
    assert Board().take(Decided(entry=entry, **TIMES)) == line


def test_the_live_line_holds_the_place_the_time_the_best_and_what_is_done():
    board = Board()
    board.take(EXPLORING)
    board.take(tried(0.5))
    assert board.line(EXPLORING) == (
        "[3/34] exploring svd | 0:45 spent, 4:15 left | best so far blas_threads=1 at 2.0x the default"
        " | tried blas_threads=1"
    )


def test_a_round_of_confirmation_says_what_is_decided_undecided_and_left():
    board = Board()
    event = Confirming(decided=7, undecided=3, seconds_left=70.0, **TIMES)
    first = board.take(event)
    assert all(text in first for text in ("7 decided", "3 undecided", "1:10"))
    assert board.take(event) is None
    assert "3 undecided" in board.line(event)


@pytest.mark.parametrize(
    ("remaining", "left"), [(255.0, "1:10 to 4:15 more"), (60.0, "up to 1:00 more"), (math.inf, "1:10 or more")]
)
def test_the_time_that_confirmation_takes_is_bounded_by_the_budget(remaining, left):
    event = Confirming(decided=7, undecided=3, seconds_left=70.0, elapsed=45.0, remaining=remaining)
    assert f"3 undecided, {left}" in Board().take(event)


def test_without_a_budget_no_time_is_left():
    event = Exploring(name="svd", dtype="float64", index=1, total=1, elapsed=5.0, remaining=math.inf)
    assert Board().take(event).endswith("(0:05 spent)")


def test_a_new_operation_forgets_the_last_best():
    board = Board()
    board.take(tried(0.5))
    board.take(EXPLORING)
    assert board.line(EXPLORING) == "[3/34] exploring svd | 0:45 spent, 4:15 left"


def test_a_log_gets_one_plain_line_for_each_thing_worth_keeping(capsys):
    with progress() as listen:
        for event in (EXPLORING, tried(1.2), Decided(entry=TUNED, **TIMES)):
            listen(event)
    assert capsys.readouterr().err.splitlines() == [
        "[3/34] exploring svd  (0:45 spent, 4:15 left)",
        "  svd m=500 n=500: blas_threads=1, 2.00x (1.25 to 2.50)",
    ]


def test_a_terminal_keeps_decisions_and_replaces_the_rest(monkeypatch):
    file = io.StringIO()
    file.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", file)
    with progress() as listen:
        for event in (EXPLORING, tried(0.5), Decided(entry=TUNED, **TIMES)):
            listen(event)
    text = file.getvalue()
    assert text.count("2.00x (1.25 to 2.50)") == 1
    assert "looks 2.0x" not in text


@pytest.mark.parametrize("event", ["failed", "decided"])
def test_what_a_program_printed_cannot_act_on_the_terminal(event):
    """Reasons quote the last words of the user's function."""
    words = "boom \x1b[31m"
    failure = Failure(kind=FailureKind.CRASH, reason=words)
    said = Board().take(
        Tried(operation=SVD, configuration=ONE, speedup=None, failure=failure, **TIMES)
        if event == "failed"
        else Decided(entry=Entry(operation=SVD, status=Status.FAILED, reason=words), **TIMES)
    )
    assert said.endswith(r"boom \x1b[31m")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_full_disk_or_a_closed_terminal_does_not_end_the_calibration(monkeypatch, is_terminal):
    class Failing(io.StringIO):
        is_gone = False

        def isatty(self):
            return is_terminal

        def write(self, text):
            if self.is_gone:
                raise OSError(5, "Input/output error")
            return super().write(text)

    file = Failing()
    monkeypatch.setattr("sys.stderr", file)
    with progress() as report:
        file.is_gone = True
        report(Decided(entry=TUNED, **TIMES))
