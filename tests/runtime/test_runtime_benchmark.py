"""The rows of scripts/benchmarks/run runtime do the same work on both sides, or say why they cannot. No timing."""

import os
import sys
from importlib import import_module

import numpy as np
import pytest
from support.native import needs_core

from autotune.bench.capacity import CapacityProbe
from autotune.host.usable_cpus import usable_cpus
from autotune.model import catalogue
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.profile import Profile, Provenance
from autotune.profiles import profile_files
from autotune.profiles.resolve import this_site
from autotune.runtime.apply import apply

MILLION = 1_000_000


@pytest.fixture(scope="module")
def rows():
    return import_module("benchmarks.runtime").PROGRAMS


@pytest.fixture
def profile(tmp_path):
    """In which two workers are best for everything that the rows ask for."""
    operations = [(name, {"n": MILLION}) for name in ("add", "sqrt", "exp", "log", "power", "expression")]
    entries = [
        Entry(
            operation=catalogue.operation(name, **sizes),
            status=Status.TUNED,
            reason="Made for a test.",
            choice=Configuration(workers=2, chunk=MILLION // 10),
            evidence=Evidence(speedup=2.0),
        )
        for name, sizes in operations
    ]
    cpus, limit = usable_cpus()
    site = this_site(cpus, limit)
    path = tmp_path / "profile.yaml"
    provenance = Provenance(host=site.host)
    profile_files.write(Profile(key=site.key, provenance=provenance, entries=tuple(entries)), path)
    return path


@pytest.mark.real
@pytest.mark.parametrize("name", ["add_out", "power_hand", "sqrt_allocating", "expression_numpy"])
def test_both_sides_of_a_row_have_the_same_result(rows, profile, name):
    """Both sides do the same work; peers that are installed are held to it by the same code."""
    if usable_cpus()[0] < 2:
        pytest.skip("two workers need two CPUs")
    with apply(profile=profile, strict=True):
        pair = rows[name].make(True)
        plain = np.array(pair.plain())
        np.testing.assert_allclose(pair.tuned(), plain, rtol=1e-12)


def test_a_size_that_no_profile_covers_is_said_and_not_measured(rows, profile):
    """Without an entry both sides would be plain NumPy, and the ratio would say nothing."""
    pairing = import_module("benchmarks.paired_runs")
    with apply(profile=profile, strict=True), pytest.raises(pairing.NotHere, match="no profile covers power n=1 here"):
        pairing.covered("power", n=1)


@pytest.mark.real
def test_a_row_that_full_capacity_never_reached_says_so_and_has_its_figure(rows, profile, monkeypatch, capsys):
    if usable_cpus()[0] < 2:
        pytest.skip("with one CPU nothing is probed")
    monkeypatch.setattr(CapacityProbe, "probe", lambda self: 1.0)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    words = ["sqrt_allocating", "--quick", "--runs", "2", "--patience", "0", "--profile", str(profile)]
    monkeypatch.setattr(sys, "argv", ["runtime", *words])
    assert import_module("benchmarks.paired_runs").main("benchmarks.runtime", "", rows, ask=True) == 0
    (row,) = capsys.readouterr().out.splitlines()
    assert "x [" in row
    assert "(over all states: full capacity in 0 of 2 runs)" in row


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("switch_cholesky_change", marks=needs_core),
        pytest.param("switch_matmul_same", marks=needs_core),
        pytest.param("switch_dot_change", marks=needs_core),
        pytest.param("guard_call", marks=needs_core),
        "guard_long",
        pytest.param("record_solve", marks=needs_core),
    ],
)
def test_a_row_of_intercepted_calls_has_the_same_result_around_and_without(rows, name):
    """Making the row checks that its calls are met."""
    if usable_cpus()[0] < 2:
        pytest.skip("with one CPU there is no other count")
    pair = rows[name].make(True)
    with pair.around_plain():
        plain = pair.plain()
    with pair.around_tuned():
        np.testing.assert_array_equal(pair.tuned(), plain)
