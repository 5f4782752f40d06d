"""The sentences about a store that machines share."""

from typing import TYPE_CHECKING

from autotune.model import units
from autotune.model.units import count_of

if TYPE_CHECKING:
    from autotune.share.mirror import MirroredClass


def no_store(path: object) -> str:
    return (
        f"No store is named. Write `store: /nfs/autotune` (a folder or a URL) into {path}, "
        "set AUTOTUNE_STORE, or give --store."
    )


NOTHING_TO_PUBLISH = (
    "No profile here was measured by this host. `autotune calibrate` writes one; other files are published if you name "
    "them."
)
UNSIGNED = (
    "Other hosts use an entry once two hosts have published the same choice, or a key that they trust has signed it "
    "(--sign; `autotune store keys --new` makes a key)."
)
UNCONFIRMED = (
    "Entries without confirmation are not applied here. Calibrate and publish on a second host of this class, or sign "
    "with `autotune store publish --sign` and list the key in `trusted_keys` of config.yaml here."
)


def published(profile: object, name: str, *, new: bool, newly_signed: bool) -> str:
    if new:
        return f"{profile} is in the store as {name}{', signed' if newly_signed else ''}."
    if newly_signed:
        return f"The store had {profile} already, as {name}; the signature is new."
    return f"The store has {profile} already, as {name}."


def mirrored(mirror: "MirroredClass") -> str:
    entries = f"{count_of(mirror.entries, 'entry', 'entries')} of {count_of(mirror.hosts, 'host')}"
    contested = f", {mirror.contested} contested" if mirror.contested else ""
    return f"{mirror.key.slug}: {entries}; {mirror.decided} decided, {mirror.confirmed} confirmed{contested}."


def nothing_pulled(address: str) -> str:
    return (
        f"The store {address} has no trusted profile for this kind of machine. `autotune calibrate` and "
        "`autotune store publish` on two such machines, or on one with --sign, add one."
    )


def no_mirror(problem: OSError) -> str:
    return f"The local mirror cannot be written ({problem}). Programs go on with the profiles that they had."


def refused_file(name: str, reason: str) -> str:
    return f"{name} is not used: {reason}"


def more_refused(count: int) -> str:
    return f"{count_of(count, 'more file')} not used; --json lists all."


def listed_class(folder: str, *, hosts: int, files: int) -> str:
    return f"{folder}  {count_of(hosts, 'host')}, {count_of(files, 'publication')}"


def listed_publication(host: str, created: str | None, entries: int, signer: str | None) -> str:
    by = f", signed by {signer}" if signer else ""
    return f"{host}  {created or 'at an unknown time'}  {count_of(entries, 'entry', 'entries')}{by}"


def empty_store(address: str) -> str:
    return f"The store {address} is empty."


def empty_class(folder: str, address: str) -> str:
    return f"The store {address} has no trusted publication of {folder}."


def not_a_class(text: str) -> str:
    return f"{text!r} is not the name of a class; `autotune store list` prints them."


def pruned(name: str, reason: str, *, gone: bool) -> str:
    return f"{name} {'was' if gone else 'would be'} removed: {reason}"


def pruned_all(count: int, *, gone: bool) -> str:
    return f"{count_of(count, 'file')} {'removed' if gone else 'would be removed'}."


def key_use(path: object, name: str) -> str:
    return (
        f"This is key {name}; its private part is in {path}. Machines trust it once this line is in `trusted_keys` of "
        "their config.yaml."
    )


def store_away(problem: object) -> str:
    return f"{problem} The calibration begins without the choices of other machines."


def warm_start(profiles: int, *, brought: int, chosen: int, seconds: float) -> str:
    return (
        f"Warm start from {count_of(profiles, 'profile')} of the store: {brought} of {chosen} choices came from there "
        f"and were tried first, which saved {units.clock(seconds)} of exploration or more."
    )
