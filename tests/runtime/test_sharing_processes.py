"""At least one process shares the CPUs."""

import pytest

import autotune
from autotune.controls import blas
from autotune.errors import UsageError

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.mark.parametrize("processes", [0, -1])
def test_no_processes_are_refused_where_the_caller_insists(processes):
    with pytest.raises(UsageError, match=f"at least one process, this one: processes={processes}"):
        autotune.apply(processes=processes, strict=True)


def test_elsewhere_numpy_stays_as_it_is_and_the_reason_is_told():
    before = blas.current()
    applied = autotune.apply(processes=0)
    assert (applied.blas_threads, blas.current()) == (None, before)
    assert applied.why == "The CPUs are shared by at least one process, this one: processes=0."
    assert applied.why in " ".join(str(autotune.explain()).split())
