"""Exchange with the cluster's store: pulls once an interval, publications of new profiles, and pulled profiles.

`autotune store pull` fills a folder of the daemon for each interpreter, since each has its own class. A profile that
has passed its canary is copied to the mirror, where programs read.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from autotune.daemon.child_processes import ChildCommand, ChildResult
from autotune.daemon.context import DaemonContext
from autotune.daemon.daemon_settings import DaemonPaths, Interpreter
from autotune.daemon.inventory import Inventory
from autotune.daemon.schedule import stable_fraction
from autotune.host.trusted_files import replace_file

PULL_SECONDS = 3600.0
PULL_RETRY_SECONDS, MAX_PULL_RETRY_SECONDS = 60.0, 6 * 3600.0
PUBLISH_RETRY_SECONDS = 600.0
"""Before a publication that failed is tried again, for the first time."""

StoreVisit = Generator[ChildCommand, ChildResult, None]


class StoreSync:
    """Decides when to visit the store, and does it."""

    def __init__(self, context: DaemonContext) -> None:
        self._context = context
        self.replan()

    def replan(self) -> None:
        """Count the time to the next pull from now: the clock was set, or the configuration has changed."""
        self._counted_from = self._context.moment.wall
        self._to_pull: list[Interpreter] = []
        """Interpreters whose class this pull has not fetched yet."""

    def next_visit(self, inventories: Mapping[str, Inventory]) -> tuple[Interpreter, StoreVisit] | None:
        """Return the visit that is due, and the interpreter for it."""
        settings, state, now = self._context.settings, self._context.state, self._context.moment.wall
        url = settings.store
        if url is None:
            return None
        listed = {interpreter.name: interpreter for interpreter in settings.interpreters}
        for path, name in state.unpublished.items():
            if name in listed and not state.is_delayed(f"publish {path}", now):
                return listed[name], self._publish(path, url)
        if not self._to_pull and inventories:
            host = next(iter(inventories.values())).host
            seconds, failures = settings.pull_seconds, state.pull_failures
            if now >= next_pull(host, self._counted_from, interval=seconds, failures=failures):
                names = [name for name in listed if name in inventories]
                classes = {inventories[name].key: listed[name] for name in reversed(names)}
                self._to_pull = list(classes.values())
        return (self._to_pull[-1], self._pull(self._to_pull[-1], url)) if self._to_pull else None

    def _publish(self, path: str, url: str) -> StoreVisit:
        state, subject = self._context.state, f"publish {path}"
        result = yield ChildCommand(arguments=("store", "publish", path, "--store", url))
        if result.status == 0:
            state.unpublished.pop(path, None)
            state.retries.pop(subject, None)
        else:
            state.delay(subject, self._context.moment.wall, PUBLISH_RETRY_SECONDS)
        self._report("publish", result, done=result.status == 0)
        self._context.save()

    def _pull(self, interpreter: Interpreter, url: str) -> StoreVisit:
        context, state = self._context, self._context.state
        result = yield ChildCommand(
            arguments=("store", "pull", "--store", url, "--json"),
            environ={"AUTOTUNE_STATE_DIR": str(context.paths.pulled_for(interpreter))},
        )
        # exit code 1 may mean that the store has nothing for this machine: only the answer tells
        done = isinstance(result.document.get("mirrored"), list)
        self._to_pull = [each for each in self._to_pull if each != interpreter] if done else []
        state.pull_failures = 0 if done else state.pull_failures + 1
        if not self._to_pull:
            self.replan()
            if done:
                state.pulled = context.moment.wall
                remove_withdrawn(context.paths, context.settings.interpreters)
        self._report("pull", result, done=done)
        context.has_unsaved = True

    def _report(self, visit: str, result: ChildResult, *, done: bool) -> None:
        self._context.state.count(f"{visit}_{'done' if done else 'failed'}")
        if done:
            self._context.log.end(visit, "The store answers again.")
        else:
            self._context.log.begin(visit, f"{result.last_line} Nothing changes locally.")


def next_pull(host: str, now: float, *, interval: float = PULL_SECONDS, failures: int = 0) -> float:
    """Return the time of the next pull, in the seconds of `now`.

    Each host pulls at its own phase of the interval, so that a fleet that is switched on together spreads its pulls
    evenly. After failures it waits for half of a time that doubles with each, and a random part of the other half
    ("equal jitter", AWS Architecture Blog, Exponential Backoff And Jitter, 2015).
    """
    if failures:
        longest = min(PULL_RETRY_SECONDS * 2.0 ** min(failures, 20), MAX_PULL_RETRY_SECONDS)
        return now + longest * (0.5 + stable_fraction(host, str(failures), str(int(now))) / 2)
    phase = stable_fraction(host, "pull") * interval
    return (now - phase) // interval * interval + interval + phase


# --- pulled profiles ----------------------------------------------------------------------------


def pulled_profiles(paths: DaemonPaths, interpreter: Interpreter) -> list[Path]:
    """List the profiles that were pulled for an interpreter."""
    return sorted((paths.pulled_for(interpreter) / "cluster").glob("*.yaml"))


def is_pulled(paths: DaemonPaths, path: str | Path) -> bool:
    """Is this a profile that was pulled?"""
    return Path(path).is_relative_to(paths.pulled_folder)


def is_in_force(paths: DaemonPaths, path: Path) -> bool:
    """Does the mirror have the same profile?"""
    try:
        return (paths.mirror / path.name).read_bytes() == path.read_bytes()
    except OSError:
        return False


def put_into_force(paths: DaemonPaths, path: Path) -> Path:
    """Copy a pulled profile to the mirror; return its path there. Raises OSError."""
    target = paths.mirror / path.name
    paths.mirror.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace_file(target, path.read_bytes())
    return target


def remove_withdrawn(paths: DaemonPaths, interpreters: Iterable[Interpreter]) -> None:
    """Remove profiles from the mirror that the store does not have any more. Call it once all have pulled."""
    pulled = {path.name for each in interpreters for path in pulled_profiles(paths, each)}
    for path in paths.mirror.glob("*.yaml"):
        if path.name not in pulled:
            with suppress(OSError):
                path.unlink()
