"""Encode one host's profile as the immutable bytes and the file name of a publication, and decode it. Pure.

The format is JSON with the fields of the YAML profile: reading a class of 200 publishers takes one second, YAML six.
It is as strict as the YAML reader: no duplicate keys, no NaN, no long texts, no deep nesting.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from autotune.errors import ProfileError
from autotune.model.entry import Entry, Status
from autotune.model.profile import Profile
from autotune.profiles.profile_document import decode_profile, encode_profile
from autotune.profiles.yaml_subset import MAX_BYTES, MAX_TEXT

LAYOUT = "v1"
"""Major version of the layout of a store, and its first folder: `v1/<class>/<publisher>-<digest>.json`."""
CLASS = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")
"""Pattern of the name of a class: the slug of a Key."""
HOST = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Pattern of a host's identity."""
_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{4,20}(Z|[+-][0-9]{2}:?[0-9]{2})?)?")
_NAME = re.compile(rf"(?P<publisher>{HOST})-(?P<digest>[0-9a-f]{{64}})\.json")
_SIGNATURE = re.compile(rf"(?P<name>{HOST}-[0-9a-f]{{64}}\.json)\.(?P<signer>[0-9a-f]{{16}})\.sig")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A profile as its host published it."""

    name: str
    """Its file in the folder of its class."""
    profile: Profile
    signer: str | None = None
    """The trusted key that signed it."""

    @property
    def host(self) -> str:
        assert self.profile.provenance.host is not None
        return self.profile.provenance.host


def encode(profile: Profile) -> tuple[str, bytes]:
    """Return name and bytes of a publication; equal profiles give equal bytes.

    Results of a merge (hosts, signers, disagreement) are left out. Raises ProfileError if the profile names no host, as
    a merged one, or holds no measurement.
    """
    host = profile.provenance.host
    if host is None:
        raise ProfileError("it does not say which host measured it; only what one host measured is published.")
    if re.fullmatch(HOST, host) is None:
        raise ProfileError(f"provenance.host: {host!r} cannot be part of a file's name.")
    if not any(map(is_measured, profile.entries)):
        raise ProfileError("it holds no measurement.")
    plain = replace(profile, entries=tuple(map(_without_merge_results, profile.entries)))
    data = json.dumps(encode_profile(plain), sort_keys=True, separators=(",", ":")).encode()
    if len(data) > MAX_BYTES:
        raise ProfileError(f"it is larger than {MAX_BYTES // 2**20} MiB, the most that a store takes.")
    return f"{host}-{hashlib.sha256(data).hexdigest()}.json", data


def decode(name: str, data: bytes) -> Publication:
    """Decode a file of a store. Raises ProfileError."""
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise ProfileError("its name is not that of a publication.")
    if len(data) > MAX_BYTES:
        raise ProfileError(f"it is larger than {MAX_BYTES // 2**20} MiB, the most that a store may hold.")
    if not digest_fits(name, data):
        raise ProfileError("its bytes are not those that its name stands for: torn, or changed.")
    profile = decode_profile(_plain(data))
    if profile.provenance.host != matched["publisher"]:
        raise ProfileError(f"it was measured by {profile.provenance.host}, and published as another's.")
    return Publication(name=name, profile=replace(profile, entries=tuple(map(_without_merge_results, profile.entries))))


def digest_fits(name: str, data: bytes) -> bool:
    """Do the bytes match the digest in the name? Names of other files have no digest and match."""
    matched = _NAME.fullmatch(name)
    return matched is None or hashlib.sha256(data).hexdigest() == matched["digest"]


def is_publication(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def publisher(name: str) -> str | None:
    """Return the host in the name of a publication; None for another name."""
    matched = _NAME.fullmatch(name)
    return matched["publisher"] if matched else None


def signature_name(name: str, signer: str) -> str:
    return f"{name}.{signer}.sig"


def signed_by(name: str) -> tuple[str, str] | None:
    """Return (publication, key) in the name of a signature; None for another name."""
    matched = _SIGNATURE.fullmatch(name)
    return (matched["name"], matched["signer"]) if matched else None


def supersedes(new: Profile, old: Profile, now: str) -> bool:
    """Does one profile of a host have a later entry for every measured operation of another?

    A time after `now` comes from a wrong clock and counts as the oldest.
    """
    if new.key != old.key or new == old:
        return False
    latest = {
        entry.operation: (is_decided_by_measurement(entry), creation_time(new, entry))
        for entry in new.entries
        if is_measured(entry)
    }
    for entry in filter(is_measured, old.entries):
        if entry.operation not in latest:
            return False
        is_decided, time = latest[entry.operation]
        earlier = creation_time(old, entry)
        if is_decided < is_decided_by_measurement(entry) or (earlier <= now and time < earlier):
            return False
    return True


def is_measured(entry: Entry) -> bool:
    """Does the entry have a measurement? It has none if the time ended before its turn."""
    return entry.status is Status.TUNED or entry.evidence.default_seconds is not None


def is_decided_by_measurement(entry: Entry) -> bool:
    """Return whether the entry was measured, and decided for good by that."""
    return is_measured(entry) and entry.is_firm


def creation_time(profile: Profile, entry: Entry) -> str:
    """Time of an entry's measurement (UTC, ISO 8601); empty if unknown or malformed."""
    return _stamp(entry.evidence.created or profile.provenance.created or "")


@lru_cache(maxsize=1024)
def _stamp(text: str) -> str:
    return text if _STAMP.fullmatch(text) else ""


def _without_merge_results(entry: Entry) -> Entry:
    """Remove from an entry the results of a merge."""
    evidence = entry.evidence
    if evidence.hosts is None and evidence.signer is None and not evidence.contested:
        return entry
    return replace(entry, evidence=replace(evidence, hosts=None, signer=None, contested=False))


def _plain(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except ProfileError:
        raise
    except RecursionError:
        raise ProfileError("it is nested too deep.") from None
    except ValueError as error:  # so is a number of more digits than Python converts
        raise ProfileError(f"it is not JSON: {error}.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping in which no key stands twice and no text is long."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ProfileError("a key stands twice.")
    for name, value in pairs:
        if len(name) > MAX_TEXT or (type(value) is str and len(value) > MAX_TEXT):
            raise ProfileError(f"a text is longer than {MAX_TEXT} characters.")
    return made


def _refuse_constant(text: str) -> Any:
    raise ProfileError(f"{text} is not a number.")
