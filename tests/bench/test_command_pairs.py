"""Pairs of whole-command runs."""

import os
import sys
from types import SimpleNamespace

import pytest

from autotune.bench.command_pairs import CommandRun, PairedRuns, run_pairs
from autotune.errors import BadWorkload


def run_of(seconds=1.0, status=0, output=b"x"):
    return CommandRun(seconds=seconds, status=status, output=output)


def paired(plain, variant, first=b"x"):
    return PairedRuns(first=run_of(output=first), plain=tuple(plain), variant=tuple(variant))


def test_the_speedup_is_plain_seconds_over_the_variants():
    runs = paired([run_of(2.0), run_of(4.0), run_of(2.2)], [run_of(1.0), run_of(2.0), run_of(1.1)])
    assert runs.speedup == pytest.approx(2.0)
    assert runs.interval == pytest.approx((2.0, 2.0))


def test_two_pairs_have_no_interval():
    assert paired([run_of()] * 2, [run_of()] * 2).interval is None


def test_another_status_is_noticed():
    assert paired([run_of()], [run_of()]).same_status
    assert not paired([run_of()], [run_of(status=1)]).same_status


def test_another_output_is_noticed():
    assert paired([run_of()], [run_of()]).same_output is True
    assert paired([run_of()], [run_of(output=b"y")]).same_output is False


def test_output_that_differs_between_plain_runs_tells_nothing():
    assert paired([run_of(), run_of(output=b"y")], [run_of()] * 2).same_output is None
    assert paired([run_of()], [run_of()], first=b"y").same_output is None


def words(code):
    return [sys.executable, "-S", "-c", code]


def pairs_of(plain, variant, **options):
    settings = {"pairs": 2, "seconds": 60.0, "seed": 0, "environ": os.environ, "variant_environ": os.environ}
    return run_pairs(plain, variant, **{**settings, **options})


@pytest.mark.real
def test_both_commands_run_with_their_own_environments():
    code = "import os; print(os.environ['SIDE'])"
    runs = pairs_of(
        words(code),
        words(code),
        environ={**os.environ, "SIDE": "plain"},
        variant_environ={**os.environ, "SIDE": "variant"},
    )
    assert {run.output.strip() for run in runs.plain} == {b"plain"}
    assert {run.output.strip() for run in runs.variant} == {b"variant"}
    assert len(runs.plain) == len(runs.variant) == 2
    assert runs.same_output is False


@pytest.mark.real
def test_statuses_and_signals_are_kept():
    runs = pairs_of(words("raise SystemExit(3)"), words("import os; os.kill(os.getpid(), 9)"), pairs=1)
    assert [run.status for run in (*runs.plain, *runs.variant)] == [3, -9]


@pytest.mark.real
def test_a_command_that_does_not_end_in_the_time_is_refused():
    with pytest.raises(BadWorkload, match="--budget"):
        pairs_of(words("import time; time.sleep(60)"), words("pass"), seconds=0.5)


@pytest.mark.real
def test_the_time_allowed_ends_the_pairs():
    runs = pairs_of(words("import time; time.sleep(0.3)"), words("pass"), pairs=50, seconds=2.0)
    assert 1 <= len(runs.plain) < 10


@pytest.mark.parametrize(("first", "fitting"), [(1.0, 5), (10.0, 2), (50.0, 1), (0.0, 5)])
def test_before_the_pairs_it_is_foreseen_how_many_fit_if_runs_scatter(monkeypatch, first, fitting):
    ending = SimpleNamespace(seconds=first, status=0)
    monkeypatch.setattr("autotune.bench.command_pairs.run_to_end", lambda *_: (ending, b""))
    foreseen = []
    pairs_of(["x"], ["y"], pairs=5, foresee=lambda *values: foreseen.append(values))
    assert foreseen == [(first, fitting)]


def test_a_command_that_is_missing_is_refused():
    with pytest.raises(BadWorkload, match="There is no command"):
        pairs_of(["/nowhere/at/all"], words("pass"))


@pytest.mark.real
def test_a_month_may_be_allowed():
    """It is more than the system waits at once."""
    assert pairs_of(words("pass"), words("pass"), pairs=1, seconds=30 * 86400.0).same_status
