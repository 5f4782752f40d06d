"""The search history as optuna-dashboard finds it."""

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from autotune.report import optuna_storage
from autotune.report.history import trials


@pytest.mark.real
def test_every_size_is_a_study_with_all_its_trials(subject, tmp_path):
    path = tmp_path / "history.log"
    count = optuna_storage.write(subject, path)

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    found = {one.study_name: one.n_trials for one in optuna.get_all_study_summaries(storage)}
    expected = list(trials(subject.sessions, 8))
    names = {str(one.operation) for one in expected}
    assert count == len(found) == len(names)
    assert found == {name: sum(str(one.operation) == name for one in expected) for name in names}


@pytest.mark.real
def test_the_objective_is_the_ratio_of_times(subject, tmp_path):
    path = tmp_path / "history.log"
    optuna_storage.write(subject, path)
    name = str(subject.profile.entries[0].operation)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    loaded = optuna.load_study(storage=storage, study_name=name)
    expected = [one for one in trials(subject.sessions, 8) if str(one.operation) == name]
    assert [one.value for one in loaded.trials] == [one.ratio for one in expected]
    assert [one.params for one in loaded.trials] == [one.configuration.as_dict() for one in expected]
