"""History of a calibration's sessions."""

import pytest
from support.fake_bench import pairs

from autotune.model.configuration import Configuration
from autotune.model.measurement import Failure, FailureKind, Measurement, Session
from autotune.model.operation import Operation
from autotune.search.trial_history import list_configurations, list_trials

LOG = Operation(name="log", sizes=(("n", 10),))
TWO, FOUR = Configuration(workers=2), Configuration(workers=4)


def session(*measured, wall=1.0):
    measurements = [Measurement(operation=LOG, configuration=Configuration(), seconds=(1.0, 1.0))]
    for configuration, seconds in measured:
        if isinstance(seconds, Failure):
            measurements.append(Measurement(operation=LOG, configuration=configuration, failure=seconds))
        else:
            measurements.append(
                Measurement(
                    operation=LOG,
                    configuration=configuration,
                    pairs=pairs([1.0, 1.0], [seconds, seconds]),
                    seconds=(seconds, seconds),
                )
            )
    return Session(measurements=tuple(measurements), wall_seconds=wall)


def test_every_configuration_but_the_default_is_a_trial_with_its_time_of_search():
    trials = list(list_trials([session((TWO, 0.5)), session((FOUR, 0.25), wall=2.0)], 8))
    assert [(trial.configuration, trial.process, trial.elapsed, trial.speedup) for trial in trials] == [
        (TWO, 1, 1.0, pytest.approx(2.0)),
        (FOUR, 2, 3.0, pytest.approx(4.0)),
    ]


def test_the_leader_is_what_all_measurements_until_then_say():
    trials = list(list_trials([session((TWO, 0.25)), session((TWO, 1.0))], 8))
    assert [trial.best for trial in trials] == [pytest.approx(4.0), pytest.approx(2.0)]


def test_where_nothing_is_faster_the_default_leads():
    assert [trial.best for trial in list_trials([session((TWO, 2.0))], 8)] == [1.0]


def test_what_does_not_fit_the_allocation_never_leads():
    assert [trial.best for trial in list_trials([session((FOUR, 0.25))], 2)] == [1.0]


def test_a_failed_trial_says_why_and_has_no_time():
    crash = Failure(kind=FailureKind.CRASH, reason="It crashed.")
    (trial,) = list_trials([session((TWO, crash))], 8)
    assert (trial.speedup, trial.failure) == (None, "crash: It crashed.")


def test_points_hold_all_processes_together():
    (point,) = list_configurations([session((TWO, 0.25)), session((TWO, 1.0))], 8)
    assert (point.speedup, point.processes) == (pytest.approx(2.0), 2)
