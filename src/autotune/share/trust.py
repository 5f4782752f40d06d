"""Decide which publications are trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from autotune.host.trusted_files import FileContent
from autotune.share import signing_keys


class TrustRule(StrEnum):
    """Conditions that make a publication trusted on this machine."""

    ANY = "any"
    """Every file of the store."""
    OWNER = "owner"
    """Files that only root, this user or a trusted owner can have written; on file systems only."""
    SIGNED = "signed"
    """Files with the signature of a trusted key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """The trust rule of this machine with its keys and owners."""

    rule: TrustRule = TrustRule.ANY
    keys: tuple[str, ...] = ()
    """Trusted public keys; several during a change of keys."""
    owners: frozenset[int] = frozenset()
    """User ids whose files are trusted under `owner`."""

    @property
    def key_ids(self) -> dict[str, str]:
        """The trusted keys by the names that signatures have."""
        return {signing_keys.key_id(public): public for public in self.keys}

    def signer(self, data: bytes, signatures: Mapping[str, bytes]) -> str | None:
        """Name the first trusted key with a valid signature; `signatures` are file contents by key name."""
        for name, public in self.key_ids.items():
            if name in signatures and signing_keys.is_valid(data, signatures[name], public):
                return name
        return None

    def refusal_unread(self, *, signatures: int) -> str | None:
        """Say why a publication is rejected without reading it, which has so many signatures of trusted keys."""
        if self.rule is TrustRule.SIGNED and not signatures:
            return "no trusted key signed it, and signatures are required here (trust: signed)."
        return None

    def refusal(self, content: FileContent, signer: str | None, *, signatures: int) -> str | None:
        """Say why a publication is rejected, which has so many signatures of trusted keys; None if it is trusted."""
        if self.rule is TrustRule.SIGNED and signer is None:
            return self.refusal_unread(signatures=signatures) or (
                "its signature is not that of a trusted key over these bytes: changed, or forged."
            )
        if self.rule is TrustRule.OWNER and content.owner not in self.owners:
            if content.owner is None:
                return "several users can have written it, or the store has no owners (trust: owner)."
            return f"it belongs to user {content.owner}, who is not trusted here (trust: owner)."
        return None
