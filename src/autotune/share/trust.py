"""Whose publications are believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from autotune.share import signing_keys
from autotune.share.store import Content


class Trust(StrEnum):
    """Whom this machine believes."""

    ANY = "any"
    """Whoever may write to the store."""
    OWNER = "owner"
    """Files that nobody but root, this user or a trusted owner could have written; on file systems only."""
    SIGNED = "signed"
    """What a trusted key signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Whom this machine believes, and by what."""

    trust: Trust = Trust.ANY
    keys: tuple[str, ...] = ()
    """Public keys that are trusted; several during a change of keys."""
    owners: frozenset[int] = frozenset()
    """User ids whose files are trusted, with trust `owner`."""

    @property
    def key_ids(self) -> dict[str, str]:
        """The trusted keys by the names that signatures have."""
        return {signing_keys.key_id(public): public for public in self.keys}

    def signer(self, data: bytes, signatures: Mapping[str, bytes]) -> str | None:
        """The name of the first trusted key, in the order of trust, whose signature is right.

        `signatures` are the contents of the files beside the publication, by the names of their keys.
        """
        for name, public in self.key_ids.items():
            if name in signatures and signing_keys.verified(data, signatures[name], public):
                return name
        return None

    def unread(self, *, signatures: int) -> str | None:
        """Why a publication need not even be read, as a sentence; None if it has to be.

        `signatures` says how many trusted keys claim to have signed it.
        """
        if self.trust is Trust.SIGNED and not signatures:
            return "no trusted key signed it, and signatures are required here (trust: signed)."
        return None

    def refusal(self, content: Content, signer: str | None, *, signatures: int) -> str | None:
        """Why a publication is not believed, as a sentence; None if it is.

        `signatures` says how many trusted keys claim to have signed it.
        """
        if self.trust is Trust.SIGNED and signer is None:
            return self.unread(signatures=signatures) or (
                "its signature is not that of a trusted key over these bytes: changed, or forged."
            )
        if self.trust is Trust.OWNER and content.owner not in self.owners:
            if content.owner is None:
                return "more than one user may have written it, or the store knows no owners (trust: owner)."
            return f"it belongs to user {content.owner}, who is not trusted here (trust: owner)."
        return None
