"""`autotune store`: profiles that a cluster shares."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.options import FILE, PRESENT_FILE, store_option
from autotune.cli.program import FAILED
from autotune.cli.terminal import json_option, note, print_json, print_lines, report_error
from autotune.errors import BadSettings, EnvironmentProblem, ProfileError, StoreProblem
from autotune.host.identity import is_measured_here
from autotune.model.profile import Profile
from autotune.model.units import count_of
from autotune.profiles import folders, profile_files
from autotune.runtime.text_table import printable

if TYPE_CHECKING:
    from autotune.share.fetch import ClassContents
    from autotune.share.mirror import PullResult
    from autotune.share.prune import StoredClass
    from autotune.share.store import FlaggedFile, Store
    from autotune.share.trust import TrustPolicy

MOST_REJECTED = 5
"""Rejected files that are printed; the rest is counted."""


@click.group()
def store() -> None:
    """Share profiles between the machines of a cluster, through a folder, S3 or any other store.

    \b
    Examples:
      autotune store publish --store /nfs/autotune
      autotune store pull --store /nfs/autotune
    """


@store.command("list", short_help="List the classes of the store, or the publications of one.")
@click.argument("folder", metavar="[CLASS]", required=False)
@store_option
@json_option
def list_(folder: str | None, store: str | None, as_json: bool) -> int:
    """List the classes of the store; of one class, the publications and whether they are trusted.

    \b
    Examples:
      autotune store list --store /nfs/autotune
      autotune store list genuineintel-6-143-8cpu-openblas-0.3.31-1a2b3c4d5e6f --json
    """
    place, policy = required_store(store)
    if folder is None:
        return list_classes(place, as_json=as_json)
    from autotune.share.fetch import read_class

    check_class(folder)
    contents = read_class(place, folder, policy)
    if as_json:
        print_json("store.class/1", {"store": place.address, **plain_class(contents)})
    else:
        print_class(contents)
    if not contents.publications:
        note(messages.empty_class(folder, place.address))
        return FAILED
    return 0


@store.command()
@click.argument("profiles", nargs=-1, type=PRESENT_FILE)
@store_option
@click.option("--sign", is_flag=True, help="Sign with the key that `autotune store keys --new` made.")
@click.option("--key", type=FILE, help="Sign with the private key in this file.")
@json_option
def publish(profiles: tuple[Path, ...], store: str | None, sign: bool, key: Path | None, as_json: bool) -> int:
    """Give profiles to the store, for every host of the same class.

    Without PROFILES, all that were measured on this host. Others use an entry once a second host, or a trusted
    signature, confirms it.

    \b
    Examples:
      autotune store publish --store /nfs/autotune
      autotune store publish node.yaml --store s3://bucket/autotune --sign
    """
    from autotune.share.store_settings import signing_key
    from autotune.share.trust import private_key

    place, _ = required_store(store)
    secret = private_key(key or signing_key()) if sign or key is not None else None
    results = []
    for path, profile in [(path, profile_files.read(path)) for path in profiles] or profiles_of_this_host():
        try:
            results.append(publish_profile(path, profile, place, secret))
        except ProfileError as problem:
            if profiles:
                raise
            report_error(problem)  # the others follow
    if as_json:
        print_json("store.publish/1", {"store": place.address, "published": results})
    if not results:
        note(messages.NOTHING_TO_PUBLISH)
        return FAILED
    if secret is None:
        note(messages.UNSIGNED)
    return 0


@store.command(short_help="Bring what the store holds for this machine.")
@store_option
@click.option("--fresh", is_flag=True, help="Forget local copies: what was withdrawn is gone at once.")
@json_option
def pull(store: str | None, fresh: bool, as_json: bool) -> int:
    """Copy the store's profiles for this machine to where its programs look.

    Only this machine's class is read, and a few of the same CPU. Programs never open a connection: they read the local
    mirror that this leaves. An unreachable store changes nothing. Exits with 1 if the store has nothing for this
    machine.

    \b
    Examples:
      autotune store pull --store /nfs/autotune
      AUTOTUNE_STORE=s3://bucket/autotune autotune store pull --json
    """
    from autotune.host.usable_cpus import usable_cpus
    from autotune.profiles.resolve import resolve, this_site
    from autotune.share.mirror import pull as update_mirror

    place, policy = required_store(store)
    try:
        result = update_mirror(place, policy, this_site(*usable_cpus()).key, fresh=fresh)
    except OSError as problem:
        raise EnvironmentProblem(
            f"The local mirror cannot be written ({problem}). Programs go on with the profiles that they had."
        ) from problem
    resolve()  # compiles the profiles, which takes a fifth of a second that the next program saves
    print_rejected(result.rejected)
    for mirrored in result.mirrored:
        note(messages.class_mirrored(mirrored))
        if mirrored.confirmed < mirrored.decided - mirrored.contested:
            note(messages.UNCONFIRMED)
    if as_json:
        print_json("store.pull/1", plain_pull(place, result))
    if not result.mirrored:
        note(messages.nothing_pulled(place.address))
        return FAILED
    return 0


@store.command()
@store_option
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="This class only; all without it.")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Everything that this host published.")
@click.option(
    "--older-than",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    help="What was measured longer ago, by the publishers' clocks.",
)
@click.option("--dry-run", is_flag=True, help="Print the files; remove nothing.")
@json_option
def prune(
    store: str | None,
    classes: tuple[str, ...],
    hosts: tuple[str, ...],
    older_than: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Remove files from the store that have no use any more.

    These are publications that a later one of the same host supersedes, signatures without their publication, and
    temporary files of writers that were killed. What cannot be read stays: a newer autotune may have written it. Exits
    with 1 if the store keeps something, as it does with other users' files in a folder of mode 1777.

    \b
    Examples:
      autotune store prune --store /nfs/autotune --dry-run
      autotune store prune --older-than 365 --host 6d90b715326a8e69
    """
    from autotune.share.prune import removable_files

    for folder in classes:
        check_class(folder)
    place, policy = required_store(store)
    older = None if older_than is None else timedelta(days=older_than)
    files = [*removable_files(place, policy, folders=classes, hosts=hosts, older=older)]
    removed = [file for file in files if dry_run or remove_file(place, file)]
    if as_json:
        print_json("store.prune/1", {"store": place.address, "removed": [asdict(file) for file in removed]})
    else:
        end = "would be removed" if dry_run else "was removed"
        print_lines(printable(f"{file.folder}/{file.name} {end}: {file.reason}") for file in removed)
    note(messages.pruned_all(len(removed), gone=not dry_run))
    return 0 if removed == files else FAILED


@store.command()
@click.option("--new", is_flag=True, help="Make a pair; an existing key is never replaced.")
@click.option("--file", "path", type=FILE, help="The private key's file, instead of signing.key next to config.yaml.")
@json_option
def keys(new: bool, path: Path | None, as_json: bool) -> None:
    """Make or show the key that signs what you publish.

    The private key stays in its file, which only you can read (mode 0600). The public key is what others write into
    `trusted_keys` of their config.yaml; during a change of keys they list both.

    \b
    Examples:
      autotune store keys --new
      autotune store keys --file site.key --json
    """
    from autotune.share.store_settings import signing_key
    from autotune.share.trust import key_id, make_key_pair, private_key, public_text

    place = path or signing_key()
    public = make_key_pair(place) if new else public_text(private_key(place))
    if as_json:
        print_json("store.keys/1", {"path": str(place), "public": public, "id": key_id(public)})
    else:
        print_lines([public])
        note(messages.key_use(place, key_id(public)))


def required_store(url: str | None) -> "tuple[Store, TrustPolicy]":
    """Open the store of the option or the configuration, with its trust policy. Raises BadSettings if none is named."""
    from autotune.share.store_settings import open_named_store

    opened = open_named_store(url)
    if opened is None:
        raise no_store()
    return opened


def no_store() -> BadSettings:
    from autotune.share.store_settings import settings_files

    return BadSettings(
        f"No store is named. Write `store: /nfs/autotune` (a folder or a URL) into {settings_files()[0]}, set "
        "AUTOTUNE_STORE, or give --store."
    )


def check_class(folder: str) -> None:
    """Raise UsageError for a text that is not the name of a class."""
    from autotune.share.publication import CLASS

    if CLASS.fullmatch(folder) is None:
        raise click.UsageError(f"{folder!r} is not the name of a class; `autotune store list` prints them.")


def list_classes(place: "Store", *, as_json: bool) -> int:
    from autotune.share.prune import list_classes

    classes = list_classes(place)
    if as_json:
        print_json("store.list/1", {"store": place.address, "classes": list(map(plain, classes))})
    else:
        print_lines(
            f"{each.folder}  {count_of(len(each.hosts), 'host')}, {count_of(each.publications, 'publication')}"
            for each in classes
        )
    if not classes:
        note(messages.empty_store(place.address))
    return 0


def print_class(contents: "ClassContents") -> None:
    """Print the publications of a class, and the first rejected files."""
    for row in plain_class(contents)["publications"]:
        signer = f", signed by {row['signer']}" if row["signer"] else ""
        entries = count_of(row["entries"], "entry", "entries")
        print_lines([printable(f"{row['host']}  {row['created'] or 'at an unknown time'}  {entries}{signer}")])
    print_rejected(contents.rejected)


def plain_class(contents: "ClassContents") -> dict[str, Any]:
    from autotune.share.publication import is_measured

    return {
        "class": contents.folder,
        "publications": [
            {
                "name": publication.name,
                "host": publication.host,
                "created": publication.profile.provenance.created,
                "entries": sum(map(is_measured, publication.profile.entries)),
                "signer": publication.signer,
            }
            for publication in contents.publications
        ],
        "rejected": list(map(plain, contents.rejected)),
    }


def plain_pull(place: "Store", result: "PullResult") -> dict[str, Any]:
    fields = ("hosts", "entries", "decided", "confirmed", "contested")
    return {
        "store": place.address,
        "mirrored": [
            {"class": each.key.slug, "path": str(each.path), **{name: getattr(each, name) for name in fields}}
            for each in result.mirrored
        ],
        "rejected": list(map(plain, result.rejected)),
        "removed": list(map(str, result.removed)),
    }


def plain(row: "StoredClass | FlaggedFile") -> dict[str, Any]:
    """Return a row for programs, which know the folder as the class."""
    fields = asdict(row)
    return {"class": fields.pop("folder"), **fields}


def print_rejected(rejected: "Sequence[FlaggedFile]") -> None:
    """Print the first rejected files with their reasons, and count the others."""
    for file in rejected[:MOST_REJECTED]:
        note(messages.refused_file(f"{file.folder}/{file.name}", file.reason))
    if len(rejected) > MOST_REJECTED:
        note(messages.more_refused(len(rejected) - MOST_REJECTED))


def publish_profile(path: Path, profile: Profile, place: "Store", key: Any) -> dict[str, Any]:
    """Give a profile to a store and say so; return the result for programs. Raises ProfileError if it is unfit."""
    from autotune.share.publish import publish

    try:
        result = publish(profile, place, key=key)
    except ProfileError as problem:
        raise ProfileError(problem.reason, path) from None
    name = f"{result.folder}/{result.name}"
    note(messages.profile_published(path, name, new=result.new, newly_signed=result.newly_signed))
    return {"profile": str(path), **asdict(result)}


def profiles_of_this_host() -> Iterator[tuple[Path, Profile]]:
    """Read the user's profiles that this host measured; say which files cannot be read."""
    for path in sorted(folders.user_profiles().glob("*.y*ml")):
        try:
            profile = profile_files.read(path)
        except ProfileError as problem:
            report_error(problem)
            continue
        if is_measured_here(profile.provenance):
            yield path, profile


def remove_file(place: "Store", file: "FlaggedFile") -> bool:
    """Remove a file; False, with a message, if the store keeps it. Raises StoreProblem if the store is unreachable."""
    try:
        place.remove(file.folder, file.name)
    except StoreProblem as problem:
        if not isinstance(problem.__cause__, OSError):
            raise
        report_error(f"{file.folder}/{file.name}: {problem}")
        return False
    return True
