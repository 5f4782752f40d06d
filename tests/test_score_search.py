"""The replay of recorded spaces: `scripts/benchmarks/run score_search`."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from benchmarks.score_search import main
from benchmarks.search_families import FAMILIES, draw_instance

SCRIPTS = Path(__file__).parents[1] / "scripts"


class Replay(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def replay(capsys):
    """Score rows of (group, threads, method, seconds) in a file."""

    def run(table, *options):
        words = [str(table), "--parameters", "threads,method", "--seconds", "seconds", *options]
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
        return Replay(status, *capsys.readouterr())

    return run


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "threads", "method", "seconds"])
        for group in ("a", "b"):
            for threads in range(1, 33):
                for method in ("x", "y"):
                    seconds = 1 / threads + threads / 200 + (method == "y")
                    writer.writerow([group, f"{threads}.0", method, "" if threads == 31 else seconds])
                    writer.writerow([group, threads, method, "n/a" if threads == 31 else seconds])
    return path


def test_the_engine_beats_random_search_on_a_smooth_space(replay, table):
    """At 20 evaluations of 64 configurations, pooled over groups and seeds."""
    done = replay(table, "--group", "group", "--evaluations", "10,20", "--seeds", "3", "--json")
    assert done.returncode == 0, done.stderr
    results = {(row["searcher"], row["evaluations"]): row for row in json.loads(done.stdout)["results"]}
    assert {searcher for searcher, _ in results} == {"autotune", "random", "tpe"}
    assert results["autotune", 20]["median_regret"] <= results["random", 20]["median_regret"]
    assert results["autotune", 20]["score"] > 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "many"], "whole number"),
        (["--evaluations", "0"], "whole number"),
        (["--searchers", "luck"], "unknown searcher luck"),
        (["--default", "cores=4"], "no parameter"),
        (["--group", "host"], "no column host"),
    ],
)
def test_bad_words_are_refused_with_a_reason(replay, table, options, words):
    """Exit code 2 and a sentence on standard error."""
    done = replay(table, *options)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_table_in_which_every_trial_failed_has_no_regret(replay, tmp_path):
    """Nothing is claimed of a space without a time."""
    path = tmp_path / "table.csv"
    path.write_text("threads,method,seconds\n1,x,\n2,x,nan\n")
    done = replay(path, "--json", "--seeds", "1", "--evaluations", "2")
    assert done.returncode == 0, done.stderr
    assert {row["median_regret"] for row in json.loads(done.stdout)["results"]} == {None}
    assert "every trial failed" in done.stderr
    assert "-" in replay(path, "--seeds", "1", "--evaluations", "2").stdout


def test_a_cell_missing_among_numbers_leaves_its_row_out_and_says_so(replay, tmp_path):
    path = tmp_path / "missing.csv"
    path.write_text("threads,method,seconds\n1,x,0.5\n,x,0.1\n2,,0.4\n3,x\n")
    done = replay(path, "--evaluations", "3", "--seeds", "2", "--searchers", "random", "--json")
    assert done.returncode == 0, done.stderr
    assert "left out 1 rows" in done.stderr


def test_a_parameter_named_twice_is_one_parameter(replay, table):
    done = replay(table, "--parameters", "threads,threads,method", "--evaluations", "3", "--seeds", "1")
    assert done.returncode == 0, done.stderr


def test_a_time_that_no_clock_can_have_shown_is_a_failed_trial(replay, tmp_path):
    """The ratio of 1e308 s to a nanosecond is no number, and JSON knows no infinity."""
    path = tmp_path / "huge.csv"
    path.write_text("threads,method,seconds\n1,x,1e308\n2,x,1e-8\n3,x,1e-7\n")
    done = replay(path, "--evaluations", "1", "--seeds", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["max_regret"] <= 9.1 for row in json.loads(done.stdout)["results"]} == {True}


@pytest.mark.real
def test_generated_families_are_scored_against_random_and_tpe():
    command = [sys.executable, "-m", "benchmarks.score_search", "--families", "smooth,libraries", "--json"]
    command += ["--instances", "2", "--seeds", "1", "--evaluations", "5,10", "--processes", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=SCRIPTS)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {(row["family"], row["evaluations"]) for row in document["ratios"]} == {
        (family, count) for family in ("smooth", "libraries") for count in (5, 10)
    }
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in document["ratios"])
    assert {row["families"] for row in document["worst"]} == {2}


def test_an_instance_of_a_family_is_the_same_whenever_it_is_drawn():
    for family in FAMILIES:
        left, right = draw_instance(family, 3), draw_instance(family, 3)
        assert left.grid.points == right.grid.points
        assert (left.log_seconds == right.log_seconds).all()
        assert len(left.grid.points) <= 5000
        assert math.isfinite(left.log_seconds.min())
        assert draw_instance(family, 4).log_seconds.tolist() != left.log_seconds.tolist()
