"""Calibrations on machines of many CPUs that are not there: faked end to end, and simulated in virtual time."""

from dataclasses import dataclass

import pytest
from support import sleeping_work
from support.calibration_runs import run_calibration
from support.faked_machines import calibrate_curve
from support.simulated_machines import SimulatedBench, Weather

from autotune.bench.user_workload import UserWorkload
from autotune.model.configuration import Configuration, Knob
from autotune.model.entry import Status
from autotune.search.environment import Environment
from autotune.search.request import Request

CPUS = 96
WORK = UserWorkload(
    name="sleeping", source="sleeping.py:sleeping", optional=("workers",), knobs=(Knob.WORKERS,), pools=()
)


@dataclass(frozen=True)
class Step:
    """A machine on which the work takes the time of one worker beyond 64 of them."""

    cpus: int = CPUS

    def seconds(self, kind, operation, configuration):
        """Return the seconds of one unit of work."""
        return sleeping_work.seconds("step", configuration.workers or 1, self.cpus)


@pytest.mark.parametrize("seed", [4, 6])
def test_what_is_found_after_the_first_proof_is_proved_in_the_time_that_is_left(seed):
    """Half of the time goes to a count that is 3 % slower than the best, which is found last."""
    bench = SimulatedBench(Step(), WORK.kind, Weather(jitter=0.012, layouts=0.004), seed=seed, case_seconds=0.3)
    request = Request(operations=(WORK.name,), budget_seconds=22.0, seed=seed, workload=WORK)
    entries, _, _ = run_calibration(bench, request, Environment(usable_cpus=CPUS, default_threads=CPUS))
    times = {workers: sleeping_work.seconds("step", workers, CPUS) for workers in range(1, CPUS + 1)}
    assert times[entries[-1].choice.workers] <= 1.02 * min(times.values())


@pytest.mark.real
def test_a_curve_of_workers_is_climbed_on_96_cpus_and_nothing_else_is_set(tmp_path):
    """In two thirds of the time that `benchmarks.faked_machines` has, which is stricter, on 16 and 256 CPUs too."""
    row = calibrate_curve(tmp_path, "scaling", cpus=96, seconds=20.0)
    assert row.choice == Configuration(workers=row.choice.workers)
    assert row.status in {Status.TUNED, Status.UNDECIDED}  # a busy machine's time may end before the proof
    assert row.regret < 0.1 or row.status is Status.UNDECIDED
