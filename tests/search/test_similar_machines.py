"""Whose choices a search begins with."""

from dataclasses import replace

import pytest
from support.profile_builders import HARDWARE, KEY, SOFTWARE, profile

from autotune.search.similar_machines import Kinship, generations, kinship, microarchitecture, ranked


def of(hardware, name=None, **key):
    made = profile(key=replace(KEY, hardware=hardware, **key))
    return replace(made, provenance=replace(made.provenance, microarchitecture=name))


CLOUD = replace(HARDWARE, family=6, model=85)
AMD = replace(HARDWARE, vendor="AuthenticAMD", family=25, model=1)
ARM = replace(HARDWARE, architecture="aarch64", vendor="ARM", family=None, model=None)

KIN = [
    (of(HARDWARE, usable_cpus=2), Kinship.SAME),
    (of(HARDWARE, "zen3"), Kinship.SAME),  # what the CPU says goes before archspec's name for it
    (of(replace(HARDWARE, packages=2)), Kinship.SILICON),
    (of(replace(HARDWARE, model=1), "icelake"), Kinship.MICROARCHITECTURE),
    (of(CLOUD, "cascadelake"), Kinship.RELATED),
    (of(CLOUD, "haswell"), Kinship.RELATED),
    (of(AMD, "zen3"), Kinship.ARCHITECTURE),
    (of(CLOUD, "no-such-name"), Kinship.ARCHITECTURE),
    (of(CLOUD), Kinship.ARCHITECTURE),
    (of(ARM, "neoverse_n1"), Kinship.NONE),
    (of(replace(HARDWARE, architecture=None, model=None), "icelake"), Kinship.NONE),
]


@pytest.mark.parametrize(("made", "expected"), KIN, ids=range(len(KIN)))
def test_every_machine_has_its_kinship(made, expected):
    assert kinship(made, KEY, "icelake") is expected


def test_the_nearest_go_first_and_strangers_are_left_out():
    known = [made for made, _ in KIN]
    order = [kinship(made, KEY, "icelake") for made in ranked(reversed(known), KEY, "icelake")]
    assert order == sorted(one for _, one in KIN if one is not Kinship.NONE)


def test_of_equals_the_same_blas_goes_first_and_then_the_nearest_number_of_cpus():
    mkl = of(HARDWARE, software=replace(SOFTWARE, blas="mkl"))
    four, sixteen, one = (of(HARDWARE, usable_cpus=count) for count in (4, 16, 1))
    assert ranked([mkl, one, sixteen, four], KEY) == [sixteen, four, one, mkl]


@pytest.mark.parametrize(
    ("one", "other", "apart"),
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
def test_generations_are_counted_between_real_ones_only(one, other, apart):
    """Everything x86 descends from x86_64: that makes nobody relatives."""
    assert generations(one, other) == generations(other, one) == apart


def test_this_machine_has_a_name_that_archspec_knows_or_none():
    name = microarchitecture()
    assert name is None or generations(name, name) == 0
