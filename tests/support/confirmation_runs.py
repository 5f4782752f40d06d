"""Trials and machines made by hand for the tests of what is proved."""

from autotune.model.configuration import Configuration
from autotune.model.measurement import Failure, FailureKind
from autotune.model.operation import Operation
from autotune.search.sequential_test import Trial
from support.fake_bench import FakeBench

CRASH = Failure(kind=FailureKind.CRASH, reason="It crashed with SIGSEGV.")
SMALL, LARGE = (Operation(name="svd", sizes=(("m", n), ("n", n))) for n in (100, 400))
ONE = Configuration(blas_threads=1)


def trial(ratio, *, slow=0, factor=1.0, rounds=8):
    """A process in which the choice took `ratio` of the default's time, and `factor` times that in `slow` rounds."""
    times = [0.01 * ratio] * (rounds - slow) + [0.01 * ratio * factor] * slow
    return Trial(choice=tuple(times), default=(0.01,) * rounds)


def bench(ratio, **more):
    """A machine on which every configuration but the default takes `ratio` of a default of 10 ms."""
    return FakeBench(lambda _, configuration, __: 0.01 if configuration.is_default else 0.01 * ratio, **more)
