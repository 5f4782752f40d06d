"""A campaign for one command: from its first run to the profile that holds its entry."""

import platform
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import autotune
from autotune.bench.command_bench import CommandBench
from autotune.bench.host_lock import host_lock
from autotune.errors import ProfileError
from autotune.host.detect import detect
from autotune.host.identity import governor, host_id
from autotune.model.configuration import DEFAULT
from autotune.model.entry import Entry
from autotune.model.profile import Profile, Provenance
from autotune.profiles import profile_files
from autotune.search.calibration import this_key
from autotune.search.environment import Site
from autotune.search.events import Listener
from autotune.search.sequential_test import ERROR
from autotune.search.tune_command import CommandRequest, tune


def command_campaign(request: CommandRequest, *, report: Listener) -> Entry:
    """Tune a command on this machine.

    Scope of effect: what the command does, as often as it is run; holds the host's lock meanwhile. Raises
    BadWorkload if it fails as it stands, BadBudget, HostBusy; Ctrl-C ends it, with nothing decided.
    """
    with host_lock():
        site = Site(usable_cpus=detect()[1].usable_cpus)
        bench = CommandBench(request.command, metric=request.metric, patience=request.run_seconds)
        first_seconds = bench.probe()
        entry = tune(request, site=site, bench=bench, report=report, first_seconds=first_seconds)
    if request.metric is None:
        return entry
    walls = {one: median(seconds) for one, seconds in bench.wall_seconds.items() if seconds}
    tuned = None if entry.choice.is_default else walls.get(entry.choice)
    return replace(entry, default_seconds=walls.get(DEFAULT), tuned_seconds=tuned)


def profile_with(entry: Entry, path: Path) -> Profile:
    """A profile of this machine with this entry, to be joined with the one at `path`.

    What made that one stays said, if this host made it.
    """
    key = this_key()
    with suppress(ProfileError):  # there is none
        old = profile_files.read(path)
        if old.key == key and old.provenance.host == host_id():
            return Profile(key=key, entries=(entry,), provenance=old.provenance)
    return Profile(key=key, entries=(entry,), provenance=_provenance(entry))


def _provenance(entry: Entry) -> Provenance:
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        autotune=autotune.__version__,
        host=host_id(),
        cpu=detect()[0].name,
        kernel=f"{platform.system()} {platform.release()}",
        governor=governor(),
        error_per_rule=ERROR,
        rules_tested=1 if entry.processes else 0,
    )
