"""The job of one trial."""

from autotune.bench.trial_job import TrialJob
from autotune.model.configuration import Configuration


def test_an_arm_is_held_to_the_usable_cpus():
    assert TrialJob(tasks=(), rounds=1, usable_cpus=4).thread_limit(Configuration(blas_threads=64)) == 4


def test_the_corner_with_all_blas_threads_in_all_workers_is_measured_as_it_stands():
    assert TrialJob(tasks=(), rounds=1, usable_cpus=4).thread_limit(Configuration(blas_threads=4, workers=4)) == 16
