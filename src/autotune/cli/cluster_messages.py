"""The sentences about a calibration of a cluster."""

from collections.abc import Iterable, Mapping

from autotune.cli.profile_messages import summary
from autotune.model import units
from autotune.model.units import count_of

WHICH_BATCH_SYSTEM = "Say which batch system the file is for: --slurm, --pbs, --lsf or --sge."
ONE_NODE = (
    "One node confirms nothing: other nodes use its profiles only if they are signed (--sign), or once a second node "
    "has measured the same."
)
CLUSTER_INTERRUPTED = "Interrupted. Finished results are kept; the nodes stop within seconds."
TASKS = {"examine": "self-test", "search": "search of {}", "confirm": "confirmation of {}"}


def cluster_now(jobs: Iterable[str], *, standing: tuple[int, int, int], elapsed: float) -> str:
    total, searched, waiting = standing
    done = f"{searched}/{total} searched, {waiting} to confirm, {units.clock(elapsed)}"
    return f"{done} | {' | '.join(jobs)}"


def worker_joined(host: str, worker: str, slug: str | None) -> str:
    return f"Host {host} ({worker}) takes part" + (f", class {slug}." if slug else ".")


def worker_rejected(worker: str, reason: str) -> str:
    return f"Worker {worker} is left out: {reason}"


def worker_left(worker: str, job: str | None) -> str:
    return f"Worker {worker} is gone." + (f" Its {job} goes to another." if job else "")


def job_done(name: str, host: str, counts: Mapping[str, int], standing: tuple[int, int, int]) -> str:
    total, searched, waiting = standing
    entries = f": {summary(counts)}" if counts else "."
    return f"[{searched}/{total}, {waiting} to confirm] Host {host}: {name}{entries}"


def job_failed(name: str, host: str, reason: str, *, busy: bool) -> str:
    following = "It is asked again." if busy else "Another host is asked, if there is one."
    return f"Host {host}: {name}: {reason} {following}"


def cluster_class(slug: str, *, hosts: int) -> str:
    return f"\nClass {slug}, measured by {count_of(hosts, 'host')}:"


def cluster_written(path: object) -> str:
    return (
        f"Written: {path}. Nodes of this class that see this folder use it; with a store (`autotune cluster calibrate "
        "--store`) the others do, too."
    )


def cluster_published(hosts: int, address: str) -> str:
    return f"Published for {count_of(hosts, 'host')} to {address}. `autotune store pull` brings it to each node."


def not_published(problem: object) -> str:
    return f"{problem} The profiles are written to files instead."


def cluster_missing(slug: str, unit: str, reason: str) -> str:
    return f"{unit} of class {slug}: {reason}"


def cluster_ended(problem: str) -> str:
    return f"{problem} Results that finished before are kept."
