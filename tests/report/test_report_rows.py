"""The numbers of a report are the profile's."""

from dataclasses import replace
from pathlib import PurePath

import pytest
from support.fake_bench import pairs
from support.profile_builders import alternatives, make_entry, profile

from autotune.model.configuration import Configuration
from autotune.model.measurement import Measurement, Session
from autotune.model.operation import Operation
from autotune.report import rows
from autotune.report.rows import Subject, labels


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
    assert rows.tables([subject]).keys() == {"entries", "machines", "points"}


def test_without_sessions_the_corners_are_the_points():
    corners = alternatives(({"blas_threads": 1, "workers": 2}, 2.0))
    entry = replace(make_entry("batch_matmul", n=300, tasks=100), corners=corners)
    (point,) = rows.points(Subject(label="a", profile=profile(entry)))
    assert (point["blas_threads"], point["workers"], point["speedup"]) == (1, 2, 2.0)


def test_points_hold_all_processes_together():
    log, two = Operation(name="log", sizes=(("n", 10),)), Configuration(workers=2)
    sessions = [
        Session(
            measurements=(
                Measurement(operation=log, configuration=Configuration(), seconds=(1.0, 1.0)),
                Measurement(
                    operation=log,
                    configuration=two,
                    pairs=pairs([1.0, 1.0], [seconds, seconds]),
                    seconds=(seconds, seconds),
                ),
            ),
            wall_seconds=1.0,
        )
        for seconds in (0.25, 1.0)
    ]
    (point,) = rows.points(Subject(label="a", profile=profile(), sessions=tuple(sessions)))
    assert (point["workers"], point["speedup"], point["processes"]) == (2, pytest.approx(2.0), 2)


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
