"""The scripts' programs do the same work plain and with autotune. Small sizes, no timing."""

from importlib import import_module

import numpy as np
import pytest


def programs():
    return [
        pytest.param(program, id=name)
        for benchmark in ("course", "claims")
        for name, program in import_module(f"benchmarks.{benchmark}").PROGRAMS.items()
    ]


@pytest.mark.real
@pytest.mark.parametrize("program", programs())
def test_a_program_has_the_same_result_plain_and_with_autotune(program):
    pair = program.make(True)
    plain, tuned = pair.plain(), pair.tuned()
    if plain is not None and tuned is not None:
        np.testing.assert_allclose(np.asarray(tuned), np.asarray(plain), rtol=1e-10)
