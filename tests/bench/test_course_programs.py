"""The scripts' programs do the same work plain and with autotune. Small sizes, no timing."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def programs():
    sys.path.insert(0, str(SCRIPTS))
    try:
        return [
            pytest.param(program, id=name)
            for script in ("bench_course", "bench_figures")
            for name, program in import_module(script).PROGRAMS.items()
        ]
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.mark.real
@pytest.mark.parametrize("program", programs())
def test_a_program_has_the_same_result_plain_and_with_autotune(program):
    pair = program.make(True)
    plain, tuned = pair.plain(), pair.tuned()
    if plain is not None and tuned is not None:
        np.testing.assert_allclose(np.asarray(tuned), np.asarray(plain), rtol=1e-10)
