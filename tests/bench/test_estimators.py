"""scikit-learn's estimators as work of the catalogue: results are right, wrong ones are seen, OpenMP's count is set."""

import sys
from contextlib import closing
from importlib.util import find_spec

import pytest

from autotune.bench import ladder, workloads
from autotune.errors import UnsupportedPlatform
from autotune.model.catalogue import CATALOGUE, Family, operation
from autotune.model.configuration import Configuration, Knob
from autotune.search.environment import Environment
from autotune.search.request import Effort, default_operations
from autotune.search.space import setting, space

NAMES = [name for name, row in CATALOGUE.items() if row.family is Family.ESTIMATOR]


def prepared(name, rows=300):
    return closing(workloads.find(name).prepare(operation(name, rows=rows), "C", 3))


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_is_right_and_a_wrong_result_is_seen(name):
    pytest.importorskip("sklearn")
    with prepared(name) as work:
        result = work.tuned(Configuration(openmp_threads=1))()
        assert work.check(result) is None
        if name == "nearest_neighbours":
            result[0][0, 0] = 5.0
        elif name == "k_means":
            result.labels_[:] = (result.labels_ + 1) % 8
        else:
            result._baseline_prediction += 100.0
        assert work.check(result).endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_without_scikit_learn_a_sentence_says_so(name, monkeypatch):
    for module in ("sklearn.cluster", "sklearn.ensemble", "sklearn.neighbors"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnsupportedPlatform, match="scikit-learn is not installed"):
        prepared(name)


def test_the_threads_of_openmp_are_the_only_knob_and_the_default_uses_all_cpus():
    kind = CATALOGUE["k_means"]
    grid = space(kind, operation("k_means", rows=1000), 4, 4)
    assert {setting(grid, point).openmp_threads for point in range(len(grid.points))} == {1, 2, 3}
    assert kind.knobs == (Knob.OPENMP_THREADS,)
    assert Environment(usable_cpus=4, default_threads=4).default_cpus(kind) == 4


@pytest.mark.parametrize("effort", Effort)
def test_they_are_measured_by_name_and_in_thorough_calibrations(effort):
    rows = [size["rows"] for size in ladder.sizes(
        CATALOGUE["k_means"], machine_l2=None, machine_l3=None, memory_bytes=None, effort=effort
    )]  # fmt: skip
    assert rows == {"quick": [10_000], "normal": [1000, 100_000]}.get(effort, [1000, 10_000, 100_000])
    there = find_spec("sklearn") is not None
    assert ("k_means" in default_operations(effort)) == (there and effort is Effort.THOROUGH)
