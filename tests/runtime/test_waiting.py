"""Idle BLAS threads wait as the profile says, where that can be had, and explain() says what came of it."""

import json
import os
import sys
from dataclasses import replace

import pytest
from support.native import needs_core
from support.profile_builders import make_entry, of_this_machine
from support.programs import printed

import autotune
from autotune.controls import wait_policy
from autotune.controls.wait_policy import VARIABLE
from autotune.host.numeric_libraries import libraries
from autotune.profiles import folders, profile_files
from autotune.profiles.compiled_copy import Wait
from autotune.profiles.resolve import resolve, resolve_before_numpy

TWO = {"workers": 2, "chunk": 1000}


class FakePolicy:
    """The libraries of a process, which take an exponent or do not."""

    def __init__(self, refusal=None):
        self.refusal = refusal
        self.exponent = None

    def set_late(self, exponent):
        self.exponent = self.exponent if self.refusal else exponent
        return self.refusal


@pytest.fixture
def write(fresh, monkeypatch):
    """Write the profile of this machine with a wait policy; the process's own is a fake."""
    monkeypatch.delenv(VARIABLE, raising=False)

    def write(exponent, *entries, loops=None, refusal=None):
        made = replace(of_this_machine(*entries), blas_wait=exponent, loops_after_blas=loops or {})
        profile_files.write(made, folders.user_profiles() / "mine.yaml")
        policy = FakePolicy(refusal)
        monkeypatch.setattr(wait_policy, "process", policy)
        return policy

    return write


def test_the_profiles_exponent_is_set_and_said(write):
    policy = write(20)
    with autotune.apply():
        assert policy.exponent == 20
        assert "2^20 cycles" in autotune.explain().waiting
        assert "2^20 cycles" in str(autotune.explain())


def test_an_exponent_that_came_too_late_is_said_with_the_reason_and_what_to_do(write):
    policy = write(20, refusal="other threads run.")
    with autotune.apply():
        assert policy.exponent is None
        sentence = autotune.explain().waiting
    assert all(part in sentence for part in ("too late", "other threads run.", "autotune run", "before NumPy"))


def test_where_the_default_was_kept_nothing_is_set(write):
    policy = write(28)
    with autotune.apply():
        assert policy.exponent is None
        assert "library lets them" in autotune.explain().waiting


def test_without_a_measurement_nothing_is_set_or_said(write):
    policy = write(None, make_entry("inv", n=100))
    with autotune.apply():
        assert (policy.exponent, autotune.explain().waiting) == (None, "")


def test_what_the_user_set_wins(write, monkeypatch):
    policy = write(20)
    monkeypatch.setenv(VARIABLE, "24")
    with autotune.apply():
        assert policy.exponent is None
        assert "2^24" in autotune.explain().waiting
        assert "user" in autotune.explain().waiting


def test_children_get_it_only_if_they_are_meant(write):
    write(20)
    with autotune.apply():
        assert VARIABLE not in os.environ
    with autotune.apply(children=True):
        assert os.environ[VARIABLE] == "20"
        assert VARIABLE in os.environ["AUTOTUNE_EXPORTED"]
    assert VARIABLE not in os.environ


def test_a_profile_for_other_cpus_says_nothing(write):
    write(20)
    path = folders.user_profiles() / "mine.yaml"
    made = profile_files.read(path)
    profile_files.write(replace(made, key=replace(made.key, usable_cpus=made.key.usable_cpus + 1)), path)
    assert resolve().wait == Wait(None, {})


def test_the_answer_is_kept_for_a_process_without_numpy_as_long_as_profiles_are_the_same(write):
    write(20)
    assert resolve_before_numpy() is None
    resolve()
    assert resolve_before_numpy().wait.exponent == 20
    assert resolve_before_numpy("another.yaml") is None
    write(22)
    assert resolve_before_numpy() is None


@needs_core
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one CPU no loop is cut")
def test_loops_wait_for_blas_threads_as_long_as_these_spin(write, monkeypatch):
    entries = [make_entry(name, choice=TWO, n=10_000) for name in ("loop_add", "loop_sqrt")]
    from autotune.native import core

    spins, after = [], []

    class Spy:
        def __getattr__(self, name):
            return getattr(core(), name)

        def blas_spins(self, seconds):
            spins.append(seconds)
            core().blas_spins(seconds)

        def after_blas(self, number, elements):
            after.append(elements)
            core().after_blas(number, elements)

    monkeypatch.setattr("autotune.runtime.per_call.core", Spy)
    write(20, *entries, loops={"arithmetic": 1_000_000})
    with autotune.apply():
        assert spins == [wait_policy.spin_seconds(20)]
        assert after == [8_000_000, 4_000_000, 2_000_000, 1_000_000, 1_000_000, 500_000]  # of as many bytes
    spins.clear(), after.clear()
    write(20, *entries, loops={"arithmetic": 1_000_000}, refusal="it came too late.")
    with autotune.apply():
        assert spins == [wait_policy.spin_seconds(None)]
        assert after == []


@needs_core
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one CPU no loop is cut")
def test_a_class_of_loops_that_is_not_known_is_passed_over(write):
    entries = [make_entry(name, choice=TWO, n=10_000) for name in ("loop_add", "loop_sqrt")]
    write(20, *entries, loops={"casts": 1000})
    with autotune.apply(strict=True):
        assert autotune.explain().loops is not None


@needs_core
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one CPU no loop is cut")
@pytest.mark.parametrize(
    ("place", "value"), [("n: 10000", "n: 0"), ("n: 10000", f"n: {2**64}"), ("chunk: 1000}", f"chunk: {2**64}}}")]
)
def test_thresholds_that_no_array_has_leave_numpys_loops_and_are_said(write, place, value):
    import numpy as np

    write(20, *(make_entry(name, choice=TWO, n=10_000) for name in ("loop_add", "loop_sqrt")))
    (path,) = folders.user_profiles().iterdir()
    text = path.read_text()
    assert place in text
    path.write_text(text.replace(place, value))
    with autotune.apply():
        assert autotune.explain().loops is None
        assert (np.ones(20_000) + 1).sum() == 40_000
        assert "expected a whole number from 1 to" in " ".join(str(autotune.explain()).split())


@needs_core
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one CPU no loop is cut")
def test_an_interception_that_fails_half_way_leaves_nothing_of_it(write, monkeypatch):
    import numpy as np

    from autotune.intercept.array_loops import ArrayLoops
    from autotune.native import core

    def plan(*_):
        raise ValueError("no such plan")

    write(20, *(make_entry(name, choice=TWO, n=1000) for name in ("loop_add", "loop_sqrt")))
    monkeypatch.setattr(ArrayLoops, "plan", plan)
    with autotune.apply() as applied:
        assert "no such plan" in str(applied)
        before = core().status()["cut"]
        assert (np.ones(20_000) + 1).sum() == 40_000
        assert core().status()["cut"] == before


@needs_core
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one CPU no loop is cut")
def test_with_loops_alone_in_the_profile_calls_of_blas_are_met_too(write):
    import numpy as np

    write(None, *(make_entry(name, choice=TWO, n=10_000) for name in ("loop_add", "loop_sqrt")))
    a = np.ones((300, 300))
    with autotune.apply():
        a @ a
        assert (autotune.explain().calls, autotune.explain().switched) == (1, 0)


@needs_core
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one CPU no loop is cut")
@pytest.mark.parametrize(("variable", "are_met"), [("OMP_NUM_THREADS", False), ("OPENBLAS_NUM_THREADS", True)])
def test_a_cap_for_workers_holds_for_loops_and_one_for_blas_does_not(write, monkeypatch, variable, are_met):
    monkeypatch.setenv(variable, "1")
    write(None, *(make_entry(name, choice=TWO, n=10_000) for name in ("loop_add", "loop_sqrt")))
    with autotune.apply():
        assert (autotune.explain().loops is not None) is are_met


PROGRAM = """
import ctypes, json, os
import autotune
autotune.apply()
from autotune.controls import wait_policy
from autotune.host.numeric_libraries import libraries
try:
    time_out = ctypes.CDLL(libraries()[0].path)["openblas_thread_timeout"]()
except AttributeError:
    time_out = None
print(json.dumps([wait_policy.process.exponent, time_out, autotune.explain().waiting, os.environ.get({variable!r})]))
"""


@pytest.mark.real
@pytest.mark.parametrize("command", [(), (sys.executable, "-m", "autotune", "run", "--")], ids=["apply", "run"])
def test_a_program_that_applies_before_numpy_has_it_from_its_second_start_on_at_the_latest(write, command):
    write(20)
    if not any(library.threading == "pthreads" and library.api == "openblas" for library in libraries(load=True)):
        pytest.skip("NumPy's BLAS is not OpenBLAS with threads of its own")
    printed(PROGRAM.format(variable=VARIABLE), command=command)
    exponent, time_out, waiting, variable = json.loads(printed(PROGRAM.format(variable=VARIABLE), command=command))
    assert (exponent, variable) == (20, "20" if command else None)
    assert time_out in {20, None}
    assert "2^20 cycles" in waiting
