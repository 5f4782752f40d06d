"""The programs of bench_libraries run plain and with autotune; what is missing is said. Small sizes, no timing."""

import psutil
import pytest
from benchmarks.libraries import NEIGHBOURS, PROGRAMS, WORKS, needed, next_to_neighbours
from benchmarks.paired_runs import NotHere


@pytest.mark.real
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.endswith("per_call")])
def test_a_program_runs_plain_and_with_autotune(name):
    try:
        pair = PROGRAMS[name].make(True)
    except NotHere as reason:
        pytest.skip(str(reason))
    assert pair.plain is pair.tuned
    with pair.around_plain():
        assert pair.plain() is not None
    with pair.around_tuned():
        assert pair.tuned() is not None


def test_every_program_is_there_with_and_without_switching():
    switched = {name for name in PROGRAMS if not name.startswith("boosting")}
    assert switched == {f"{name}{suffix}" for name in WORKS for suffix in ("", "_per_call")}


def test_neighbours_are_busy_only_while_the_call_runs():
    def children():
        return {process.pid for process in psutil.Process().children()}

    before = children()
    with next_to_neighbours():
        neighbours = children() - before
        assert len(neighbours) >= NEIGHBOURS
    assert not neighbours & children()


def test_a_missing_library_is_a_sentence():
    with pytest.raises(NotHere, match="needs no_such_library, which is not installed"):
        needed("no_such_library.part")
