"""The search history as optuna-dashboard finds it."""

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from support.simulated_report import calibrated

from autotune.search.optuna_export import export_study
from autotune.search.trial_history import list_trials


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return calibrated(tmp_path_factory.mktemp("report"), ("qr", "log"), budget=90.0)


@pytest.mark.real
def test_every_size_is_a_study_with_all_its_trials(subject, tmp_path):
    path = tmp_path / "history.log"
    count = export_study(subject.profile, subject.sessions, path)

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    studies = {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(storage)}
    expected = list(list_trials(subject.sessions, 8))
    names = {str(trial.operation) for trial in expected}
    assert count == len(studies) == len(names)
    assert studies == {name: sum(str(trial.operation) == name for trial in expected) for name in names}


@pytest.mark.real
def test_the_objective_is_the_speed_up_to_be_maximized(subject, tmp_path):
    path = tmp_path / "history.log"
    export_study(subject.profile, subject.sessions, path)
    name = str(subject.profile.entries[0].operation)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    loaded = optuna.load_study(storage=storage, study_name=name)
    assert loaded.direction is optuna.study.StudyDirection.MAXIMIZE
    expected = [trial for trial in list_trials(subject.sessions, 8) if str(trial.operation) == name]
    assert [trial.value for trial in loaded.trials] == [trial.speedup for trial in expected]
    assert [trial.params for trial in loaded.trials] == [trial.configuration.as_dict() for trial in expected]
