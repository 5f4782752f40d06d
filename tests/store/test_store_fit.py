"""Which profiles and entries may speak for a machine: a table of every level and every refusal."""

from dataclasses import replace

import pytest
from made_profiles import HARDWARE, KEY, SOFTWARE, profile, tuning

from autotune.model.allocation import Limit
from autotune.store.fit import Fit, Here, fit, refusal
from autotune.store.folders import Layer
from autotune.store.level import Level

HERE = Here(key=KEY, host="here")
STALE = replace(KEY, software=replace(SOFTWARE, blas_version="0.3.30"))
SMALLER = replace(KEY, usable_cpus=4, limit=Limit.QUOTA)
STALE_REASON = "key.software.blas_version: the profile has 0.3.30, this machine has 0.3.31."
OTHER_REASON = "It was measured with 4 usable CPUs (limited by quota); here: 8 usable CPUs."

LEVELS = [
    (KEY, "here", Layer.NAMED, Level.EXPLICIT, "The user named it. It was measured on this host."),
    (
        KEY,
        None,
        Layer.NAMED,
        Level.EXPLICIT,
        "The user named it. It was measured on another host of this class.",
    ),
    (STALE, "here", Layer.NAMED, Level.EXPLICIT, f"The user named it. Stale: {STALE_REASON}"),
    (SMALLER, "here", Layer.NAMED, Level.EXPLICIT, f"The user named it. {OTHER_REASON}"),
    (KEY, "here", Layer.USER, Level.HOST, "It was measured on this host."),
    (KEY, "here", Layer.SHIPPED, Level.HOST, "It was measured on this host."),
    (KEY, "other", Layer.SYSTEM, Level.CLASS, "It was measured on another host of this class."),
    (KEY, "other", Layer.SHIPPED, Level.CLASS, "It was measured on another host of this class."),
    (STALE, "here", Layer.USER, Level.STALE, f"Stale: {STALE_REASON}"),
    (STALE, "other", Layer.SHIPPED, Level.STALE, f"Stale: {STALE_REASON}"),
    (SMALLER, "here", Layer.USER, Level.ALLOCATION, OTHER_REASON),
    (SMALLER, "other", Layer.SYSTEM, Level.ALLOCATION, OTHER_REASON),
]


@pytest.mark.parametrize(("key", "host", "layer", "level", "reason"), LEVELS, ids=range(len(LEVELS)))
def test_a_profile_that_fits_has_its_level(key, host, layer, level, reason):
    assert fit(profile(key=key, host=host), layer, HERE) == Fit(level=level, reason=reason)


REFUSED = [
    (
        replace(KEY, hardware=replace(HARDWARE, **{name: value})),
        f"key.hardware.{name}: the profile has {value}, ",
    )
    for name, value in {
        "architecture": "aarch64",
        "vendor": "AuthenticAMD",
        "family": 25,
        "model": 1,
        "packages": 2,
        "physical_cores": 4,
        "smt": 1,
        "numa_nodes": 2,
        "l2_bytes": 1,
        "l3_bytes": 2,
    }.items()
] + [
    (
        replace(KEY, software=replace(SOFTWARE, **{name: value})),
        f"key.software.{name}: the profile has {value}, ",
    )
    for name, value in {
        "blas": "mkl",
        "blas_version": "0.4.31",
        "kernels": "Haswell",
        "threading": "openmp",
        "ilp64": False,
        "numpy": "2.3",
        "python": "free-threaded",
    }.items()
]


@pytest.mark.parametrize(("key", "reason"), REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("layer", Layer)
def test_other_hardware_or_software_is_refused_with_a_reason_in_every_layer(key, reason, layer):
    assert fit(profile(key=key), layer, HERE).level is None
    assert fit(profile(key=key), layer, HERE).reason.startswith(reason)


def test_an_unknown_version_is_not_taken_for_a_patch():
    unknown = replace(KEY, software=replace(SOFTWARE, blas_version=None))
    assert fit(profile(key=unknown), Layer.USER, HERE).reason == (
        "key.software.blas_version: the profile has unknown, this machine has 0.3.31."
    )


@pytest.mark.parametrize("host", ["other", None])
def test_what_one_other_host_measured_is_not_used_unless_it_is_named(host):
    refused = fit(profile(host=host), Layer.USER, HERE)
    assert refused.level is None
    assert refused.reason.startswith(
        f"provenance.host: the profile has {host or 'unknown'}, this machine has here."
    )


def test_two_unknown_hosts_are_not_the_same():
    assert fit(profile(host=None), Layer.USER, Here(key=KEY)).level is None


ELSEWHERE = [
    (8, 4, {"blas_threads": 4}, None),
    (8, 4, {"workers": 4, "chunk": 100}, None),
    (8, 4, {"blas_threads": 2, "workers": 2}, None),
    (
        8,
        4,
        {"blas_threads": 8},
        "choice: blas_threads=8 was measured with 8 usable CPUs; the 4 here leave blas_threads=4",
    ),
    (8, 4, {"workers": 8}, "choice: workers=8 was measured with 8 usable CPUs; the 4 here leave workers=4"),
    (8, 4, {"blas_threads": 2, "workers": 4}, "choice: blas_threads=2, workers=4 was measured"),
    (4, 8, {"workers": 4}, None),
    (4, 8, {"blas_threads": 1}, "choice: blas_threads=1 beat the default of 4 usable CPUs; with the 8 here"),
    (4, 4, {"blas_threads": 4}, None),
]


@pytest.mark.parametrize(("measured", "usable", "choice", "reason"), ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_with_another_allocation_a_choice_must_be_unchanged_and_its_evidence_hold(
    measured, usable, choice, reason
):
    theirs, ours = replace(KEY, usable_cpus=measured), replace(KEY, usable_cpus=usable)
    found = refusal(tuning(choice=choice, n=100), theirs, ours)
    assert found is None if reason is None else found.startswith(reason)


def test_a_kept_default_is_kept_with_any_allocation():
    assert refusal(tuning(n=100), KEY, replace(KEY, usable_cpus=1)) is None
