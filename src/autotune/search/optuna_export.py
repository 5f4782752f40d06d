"""The search history as a storage of Optuna's, which optuna-dashboard opens."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.model.constraints import LARGEST_SIZE
from autotune.model.measurement import Session
from autotune.model.profile import Profile
from autotune.search import trial_history

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def export_study(profile: Profile, sessions: Sequence[Session], path: Path) -> int:
    """Write a journal file of Optuna's with one study for every size of every operation; return how many.

    The objective is the speed-up over the default in the same process; failed trials are failed there. When
    a trial ran is told from the profile's date on, as time of search. Raises OSError.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    begin = _moment(profile.provenance.created)
    trials = list(trial_history.list_trials(sessions, profile.key.usable_cpus))
    trials.sort(key=lambda record: str(record.operation))
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    count = 0
    for name, group in groupby(trials, key=lambda record: str(record.operation)):
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
        together = list(group)
        space = _space(together)
        study.add_trials([_trial(record, space, begin) for record in together])
        count += 1
    return count


def _space(trials: Sequence[trial_history.TrialRecord]) -> "dict[str, BaseDistribution]":
    """Return the search space of these trials as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    values: dict[str, set[int | str]] = {}
    for record in trials:
        for knob, value in record.configuration.as_dict().items():
            values.setdefault(knob, set()).add(value)
    return {
        knob: CategoricalDistribution(sorted(map(str, seen)))
        if any(isinstance(value, str) for value in seen)
        else IntDistribution(1, LARGEST_SIZE, log=True)
        for knob, seen in values.items()
    }


def _trial(
    record: trial_history.TrialRecord, space: "Mapping[str, BaseDistribution]", begin: datetime
) -> "FrozenTrial":
    import optuna

    knobs = record.configuration.as_dict()
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState.FAIL if record.speedup is None else optuna.trial.TrialState.COMPLETE,
        value=record.speedup,
        params=knobs,
        distributions={knob: space[knob] for knob in knobs},
        user_attrs={"process": record.process, "leader": record.best, "failure": record.failure},
    )
    trial.datetime_start = trial.datetime_complete = begin + timedelta(seconds=record.elapsed)
    return trial


def _moment(created: str | None) -> datetime:
    """Return the local time of a profile's date, as Optuna has it; the beginning of 1970 for none."""
    try:
        moment = datetime.fromisoformat(created or "")
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    return moment.astimezone().replace(tzinfo=None)
