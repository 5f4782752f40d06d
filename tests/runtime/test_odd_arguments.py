"""Arguments that cannot mean anything: what is said, and that nothing else happens."""

import logging

import numpy as np
import pytest
from support.profile_builders import make_entry, of_this_machine

import autotune
from autotune.errors import UnknownOperation
from autotune.profiles import folders, profile_files
from autotune.runtime.process_state import state

LIST = [0.0, 0.0, 0.0]
X = np.ones(3)
BIG = np.ones((3, 200_000))


@pytest.fixture(autouse=True)
def nothing_said(fresh):
    state.reported.clear()


def halved(block):
    return block / 2


def rooted(x, *, scratch):
    return np.sqrt(x, out=scratch.out)


@pytest.mark.parametrize(
    "call",
    [
        lambda: autotune.map_blocks(halved, X, out=LIST),
        lambda: autotune.map_blocks(np.sqrt, X, out=[X]),
        lambda: autotune.map_blocks(rooted, X, scratch=True, out=[np.empty(3)]),
        lambda: autotune.reduce_blocks(np.add, BIG, axis=1, out=LIST),
        lambda: autotune.process_map(halved, X, out=LIST),
        lambda: autotune.random(3, out=LIST),
        lambda: autotune.fill(LIST, 1.0),
        lambda: autotune.fill(None, 1.0),
        lambda: autotune.fill(memoryview(bytearray(8)), 1.0),
    ],
)
def test_what_cannot_be_written_to_is_a_type_error(call):
    with pytest.raises(TypeError, match="array"):
        call()
    assert LIST == [0.0, 0.0, 0.0]


def test_lists_are_taken_for_arrays_where_they_are_read():
    assert autotune.map_blocks(np.sqrt, [1.0, 4.0]).tolist() == [1, 2]
    assert autotune.map_blocks(rooted, [1.0, 4.0], scratch=True).tolist() == [1, 2]
    assert autotune.reduce_blocks(np.add, [[1, 2], [3, 4]], axis=0).tolist() == [4, 6]
    assert autotune.process_map(halved, [2.0, 4.0]).tolist() == [1, 2]
    assert autotune.process_map(halved, 2.0) == 1.0


@pytest.mark.parametrize("name", ["SVD", "my op", "", "../etc", 3, None])
def test_what_cannot_be_a_name_is_an_unknown_operation(name):
    for ask in (autotune.config, autotune.tuned, autotune.executor):
        with pytest.raises(UnknownOperation):
            ask(name, n=3)


def test_a_name_that_nothing_knows_is_said_once_with_the_nearest(caplog):
    with caplog.at_level(logging.WARNING, "autotune"):
        for n in (3, 4, 4):
            assert autotune.config("choleski", n=n) is None
            with autotune.tuned("choleski", n=n):
                pass
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(
        "No operation is named 'choleski', and no profile here knows a function of that name: plain NumPy runs."
    )
    assert "Did you mean cholesky" in message


def test_names_of_the_catalogue_and_of_profiles_are_not_said(caplog):
    profile_files.write(of_this_machine(make_entry("mine", n=10)), folders.user_profiles() / "mine.yaml")
    with caplog.at_level(logging.WARNING, "autotune"):
        for name in ("svd", "mean", "mine"):
            assert autotune.config(name, n=3) is None
    assert caplog.records == []


@pytest.mark.parametrize("before", [lambda: None, autotune.apply, lambda: autotune.config("svd", n=3)])
@pytest.mark.parametrize("profile", [3, "a\0b"])
def test_a_profile_that_cannot_be_a_path_is_said_by_the_outcome(before, profile):
    before()
    applied = autotune.apply(profile=profile)
    assert "Error: " in applied.why
    assert applied.why in str(applied)
    assert applied.why in repr(applied)
