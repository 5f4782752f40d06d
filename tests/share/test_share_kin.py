"""Nearness of classes, from their names."""

from dataclasses import replace

from support.profile_builders import KEY

from autotune.share.similar_classes import relatives, siblings, usable

MINE = KEY.slug


def slug(*, model=143, cpus=8, blas="openblas", version="0.3.31"):
    hardware = replace(KEY.hardware, model=model)
    software = replace(KEY.software, blas=blas, blas_version=version)
    return replace(KEY, hardware=hardware, software=software, usable_cpus=cpus).slug


NEAR, FAR, OTHER_BLAS, OTHER_CPU = slug(cpus=4), slug(cpus=1), slug(blas="mkl"), slug(model=85)


def test_siblings_have_the_same_cpu_and_blas_and_the_nearest_count_comes_first():
    assert siblings([OTHER_CPU, FAR, OTHER_BLAS, MINE, NEAR], KEY, 9) == [NEAR, FAR]


def test_only_so_many_siblings_are_asked_for():
    assert siblings([FAR, NEAR], KEY, 1) == [NEAR]


def test_the_same_cpu_comes_before_its_family():
    assert relatives([OTHER_CPU, OTHER_BLAS, NEAR], KEY, 9) == [NEAR, OTHER_BLAS, OTHER_CPU]


def test_names_that_say_nothing_are_no_relatives():
    assert relatives(["x", "a-cpu", "1cpu"], KEY, 9) == []


def test_the_blas_version_and_the_cpus_may_differ_and_nothing_else():
    assert usable(replace(KEY, usable_cpus=1, software=replace(KEY.software, blas_version="0.3.30")), KEY)
    assert not usable(replace(KEY, software=replace(KEY.software, numpy="2.0")), KEY)
    assert not usable(replace(KEY, hardware=replace(KEY.hardware, model=1)), KEY)
