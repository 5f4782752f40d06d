"""Similarity of machines, by keys and by names of classes."""

from dataclasses import replace

import pytest
from support.profile_builders import HARDWARE, KEY, SOFTWARE, profile

from autotune.model.similar_machines import (
    Similarity,
    is_applicable,
    rank_classes,
    rank_profiles,
    same_cpu_classes,
    similarity,
)
from autotune.search.microarchitectures import generations, host_microarchitecture


def of(hardware, name=None, **key):
    made = profile(key=replace(KEY, hardware=hardware, **key))
    return replace(made, provenance=replace(made.provenance, microarchitecture=name))


CLOUD = replace(HARDWARE, family=6, model=85)
AMD = replace(HARDWARE, vendor="AuthenticAMD", family=25, model=1)
ARM = replace(HARDWARE, architecture="aarch64", vendor="ARM", family=None, model=None)

MACHINES = [
    (of(HARDWARE, usable_cpus=2), Similarity.SAME),
    (of(HARDWARE, "zen3"), Similarity.SAME),  # what the CPU says goes before archspec's name for it
    (of(replace(HARDWARE, packages=2)), Similarity.CPU_MODEL),
    (of(replace(HARDWARE, model=1), "icelake"), Similarity.MICROARCHITECTURE),
    (of(CLOUD, "cascadelake"), Similarity.RELATED),
    (of(CLOUD, "haswell"), Similarity.RELATED),
    (of(AMD, "zen3"), Similarity.ARCHITECTURE),
    (of(CLOUD, "no-such-name"), Similarity.ARCHITECTURE),
    (of(CLOUD), Similarity.ARCHITECTURE),
    (of(ARM, "neoverse_n1"), Similarity.NONE),
    (of(replace(HARDWARE, architecture=None, model=None), "icelake"), Similarity.NONE),
]


@pytest.mark.parametrize(("made", "expected"), MACHINES, ids=range(len(MACHINES)))
def test_every_machine_has_its_similarity(made, expected):
    assert similarity(made, KEY, "icelake", generations) is expected


def test_the_nearest_go_first_and_strangers_are_left_out():
    profiles = [made for made, _ in MACHINES]
    order = [
        similarity(made, KEY, "icelake", generations)
        for made in rank_profiles(reversed(profiles), KEY, "icelake", generations)
    ]
    assert order == sorted(similarity for _, similarity in MACHINES if similarity is not Similarity.NONE)


def test_of_equals_the_same_blas_goes_first_and_then_the_nearest_number_of_cpus():
    mkl = of(HARDWARE, software=replace(SOFTWARE, blas="mkl"))
    four, sixteen, single = (of(HARDWARE, usable_cpus=count) for count in (4, 16, 1))
    assert rank_profiles([mkl, single, sixteen, four], KEY, "icelake", generations) == [sixteen, four, single, mkl]


@pytest.mark.parametrize(
    ("left", "right", "apart"),
    [
        ("icelake", "icelake", 0),
        ("icelake", "cascadelake", 1),
        ("zen2", "zen3", 1),
        ("neoverse_n1", "neoverse_v1", 1),
        ("icelake", "zen3", None),
        ("m1", "neoverse_n1", None),
        ("x86_64_v3", "haswell", None),
        (None, "icelake", None),
        ("nonsense", "icelake", None),
    ],
)
def test_generations_are_counted_between_real_ones_only(left, right, apart):
    """Everything x86 descends from x86_64: that makes no machines relatives."""
    assert generations(left, right) == generations(right, left) == apart


def test_this_machine_has_a_name_that_archspec_knows_or_none():
    name = host_microarchitecture()
    assert name is None or generations(name, name) == 0


MINE = KEY.slug


def slug(*, model=143, cpus=8, blas="openblas", version="0.3.31"):
    hardware = replace(KEY.hardware, model=model)
    software = replace(KEY.software, blas=blas, blas_version=version)
    return replace(KEY, hardware=hardware, software=software, usable_cpus=cpus).slug


NEAR, FAR, OTHER_BLAS, OTHER_CPU = slug(cpus=4), slug(cpus=1), slug(blas="mkl"), slug(model=85)


def test_classes_of_the_same_cpu_and_blas_are_sorted_by_the_nearest_count():
    assert same_cpu_classes([OTHER_CPU, FAR, OTHER_BLAS, MINE, NEAR], KEY) == [NEAR, FAR]


def test_the_same_cpu_comes_before_its_family():
    assert rank_classes([OTHER_CPU, OTHER_BLAS, NEAR], KEY) == [NEAR, OTHER_BLAS, OTHER_CPU]


def test_names_of_another_form_are_no_classes():
    assert rank_classes(["x", "a-cpu", "1cpu"], KEY) == []


def test_the_blas_version_and_the_cpus_may_differ_and_nothing_else():
    assert is_applicable(replace(KEY, usable_cpus=1, software=replace(KEY.software, blas_version="0.3.30")), KEY)
    assert not is_applicable(replace(KEY, software=replace(KEY.software, numpy="2.0")), KEY)
    assert not is_applicable(replace(KEY, hardware=replace(KEY.hardware, model=1)), KEY)
