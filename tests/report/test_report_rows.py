"""The numbers of a report are the profile's."""

from dataclasses import replace
from pathlib import PurePath

import pytest
from support.profile_builders import alternatives, make_entry, profile

from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.report import rows
from autotune.report.rows import Bound, Subject, labels, roofline


def test_every_entry_is_a_row_with_the_profiles_own_numbers(subject):
    lines = rows.entries(subject)
    assert [
        (
            row["operation"],
            row["sizes"],
            row["status"],
            row["speedup"],
            (row["speedup_low"], row["speedup_high"]),
            (row["expected_speedup"], row["full_capacity_share"]),
        )
        for row in lines
    ] == [
        (
            entry.operation.name,
            " ".join(f"{name}={value}" for name, value in entry.operation.sizes),
            str(entry.status),
            entry.evidence.speedup,
            entry.evidence.interval or (None, None),
            (entry.evidence.expected_speedup, entry.evidence.full_capacity_share),
        )
        for entry in subject.profile.entries
    ]


def test_the_time_with_autotune_is_the_defaults_where_the_default_is_kept():
    lines = rows.entries(Subject(label="a", profile=profile(make_entry("qr", m=8, n=8))))
    assert [(row["seconds"], row["default_seconds"]) for row in lines] == [(0.002, 0.002)]


def test_every_table_has_a_name_and_a_sentence(subject):
    assert rows.tables([subject]).keys() == rows.TABLES.keys()


def test_without_sessions_the_corners_are_the_points():
    corners = alternatives(({"blas_threads": 1, "workers": 2}, 2.0))
    entry = replace(make_entry("batch_matmul", n=300, tasks=100), corners=corners)
    (point,) = rows.points(Subject(label="a", profile=profile(entry)))
    assert (point["blas_threads"], point["workers"], point["speedup"]) == (1, 2, 2.0)


@pytest.mark.parametrize(
    ("operation", "size", "shape", "at"),
    [
        (Operation(name="svd", sizes=(("m", 512), ("n", 512))), 512.0, "square", "512"),
        (Operation(name="qr", sizes=(("m", 2048), ("n", 128))), 512.0, "16 : 1", "2048 x 128"),
        (Operation(name="log", sizes=(("n", 1_000_000),)), 1e6, "", "1M"),
        (Operation(name="stack_inv", sizes=(("n", 16), ("count", 1000))), 16.0, "count=1000", "n=16 count=1000"),
        (Operation(name="command.make"), 1.0, "", ""),
    ],
)
def test_all_sizes_become_one_number_and_what_lines_share(operation, size, shape, at):
    assert (rows.size(operation), rows.shape(operation), rows.at(operation)) == (pytest.approx(size), shape, at)


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        (Configuration(), "default"),
        (Configuration(blas_threads=1), "1 thread"),
        (Configuration(openmp_threads=2), "2 OpenMP threads"),
        (Configuration(workers=4, chunk=32_768), "4 workers, chunks of 32.8k"),
        (Configuration(method="memfd", workers=2), "memfd, 2 workers"),
    ],
)
def test_a_configuration_in_a_few_letters(configuration, words):
    assert rows.brief(configuration) == words


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/before.yaml", "a/after.yaml"], ("before", "after")),
        (["x/node.yaml", "y/node.yaml"], ("x/node.yaml", "y/node.yaml")),
    ],
)
def test_profiles_of_one_name_are_told_apart_by_their_paths(paths, names):
    assert labels([PurePath(path) for path in paths]) == names


def test_a_product_is_held_by_arithmetic_and_a_copy_by_memory(subject):
    made = replace(subject.profile.provenance, memory_bandwidth=1e10, peak_flops=1e11)
    product = roofline(Operation(name="matmul", sizes=(("m", 1000), ("k", 1000), ("n", 1000))), made)
    copy = roofline(Operation(name="copy", sizes=(("n", 1_000_000),)), made)
    assert (product.bound, product.seconds) == (Bound.ARITHMETIC, pytest.approx(0.02))
    assert (copy.bound, copy.seconds) == (Bound.MEMORY, pytest.approx(0.0016))


def test_a_product_of_a_matrix_and_a_vector_is_held_by_memory(subject):
    made = replace(subject.profile.provenance, memory_bandwidth=1e10, peak_flops=1e11)
    assert roofline(Operation(name="matvec", sizes=(("m", 4096), ("n", 4096))), made).bound is Bound.MEMORY


def test_what_was_not_measured_has_no_limit(subject):
    unknown = replace(subject.profile.provenance, memory_bandwidth=None, peak_flops=None)
    assert roofline(Operation(name="copy", sizes=(("n", 8),)), unknown) is None
    assert roofline(Operation(name="mine", sizes=(("n", 8),)), subject.profile.provenance) is None
    float32 = Operation(name="qr", dtype="float32", sizes=(("m", 8), ("n", 8)))
    assert roofline(float32, subject.profile.provenance) is None


def test_what_fits_into_the_last_cache_is_not_held_by_memory(subject):
    made = replace(subject.profile.provenance, memory_bandwidth=1e10, peak_flops=1e11)
    copy = Operation(name="copy", sizes=(("n", 100_000),))
    assert roofline(copy, made) is not None
    assert roofline(copy, made, l3_bytes=2**25) is None
    vector = Operation(name="matvec", sizes=(("m", 512), ("n", 512)))
    assert roofline(vector, made, l3_bytes=2**25).bound is Bound.ARITHMETIC


def test_of_a_clouds_whole_cache_no_more_is_counted_than_a_program_gets(subject):
    made = replace(subject.profile.provenance, memory_bandwidth=1e10, peak_flops=1e11)
    assert roofline(Operation(name="copy", sizes=(("n", 10_000_000),)), made, l3_bytes=2**29) is not None
