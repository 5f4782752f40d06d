"""What several hosts of one class say, as one profile. Pure.

Votes form a set that only grows: of one host's words on an operation the latest decided one stands. So publications
may be read in any order, twice, and with copies. Only then is counted: who was signed comes first, then agreement of
distinct hosts, then the lower bound of the gain.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile, Provenance
from autotune.profiles.yaml_subset import MAX_TEXT
from autotune.share.publication import Publication, created, decided, measured


@dataclass(frozen=True, slots=True)
class Vote:
    """One host's word on one operation."""

    entry: Entry
    created: str = ""
    """When it was measured (UTC, ISO 8601). Compared with the same host's only: clocks of two hosts differ."""
    signer: str | None = None
    """The trusted key that signed it."""

    @property
    def rank(self) -> tuple[bool, str, str]:
        """The larger one stands: decided, later, signed."""
        return decided(self.entry), self.created, self.signer or ""


Votes = Mapping[Operation, Mapping[str, Vote]]
"""By operation and host."""


def votes(publications: Iterable[Publication]) -> Votes:
    """Everything that these publications say, whatever their key."""
    cast: dict[Operation, dict[str, Vote]] = {}
    for publication in publications:
        for entry in publication.profile.entries:
            vote = Vote(entry, created(publication.profile, entry), publication.signer)
            _cast(cast.setdefault(entry.operation, {}), publication.host, vote)
    return cast


def elected(cast: Votes, key: Key, *, cpu: str | None = None) -> Profile:
    """One profile for a class: for each operation what most hosts proved.

    An entry says how many distinct hosts confirm it, who signed it, and whether it is contested: as many hosts
    say something else. What nobody measured is left out.
    """
    order = sorted(cast, key=lambda one: (one.name, one.dtype, one.sizes))
    ballots = ([vote for vote in cast[operation].values() if measured(vote.entry)] for operation in order)
    entries = tuple(_elected(ballot) for ballot in ballots if ballot)
    latest = max((one.created for one in entries if one.created), default=None)
    return Profile(key=key, entries=entries, provenance=Provenance(created=latest, cpu=cpu))


def _cast(ballot: dict[str, Vote], host: str, vote: Vote) -> None:
    there = ballot.get(host)
    if there is None or _foremost([there, vote]) is vote:
        ballot[host] = vote


def _foremost(some: Iterable[Vote]) -> Vote:
    """The one of the largest rank; of equals their texts decide, which takes 30 µs each."""
    ranked = [(vote.rank, vote) for vote in some]
    largest = max(rank for rank, _ in ranked)
    equals = [vote for rank, vote in ranked if rank == largest]
    return equals[0] if len(equals) == 1 else max(equals, key=lambda vote: repr(vote.entry))


class _Side(NamedTuple):
    """The hosts that chose the same. The largest wins."""

    hosts: int
    others: int
    """Hosts that chose something else and do not know this to be safe, counted down from 0."""
    bound: float
    """The time over the default's that none of them exceeds, below 0: the lower bound of the gain."""
    text: str
    """The choice, so that the same one wins everywhere."""
    votes: tuple[Vote, ...]

    @classmethod
    def of(cls, choice: Configuration, mine: Sequence[Vote], ballot: Sequence[Vote]) -> "_Side":
        """Those who chose this, among all who voted."""
        threads = choice.blas_threads if choice == Configuration(blas_threads=choice.blas_threads) else None
        others = sum(
            vote.entry.choice != choice and threads not in vote.entry.safe_threads for vote in ballot
        )
        return cls(len(mine), -others, -max(map(_bound, mine)), str(choice), tuple(mine))

    @property
    def spokesman(self) -> Vote:
        """The most cautious of them: all confirm the gain that it claims."""
        return _foremost(vote for vote in self.votes if _bound(vote) == -self.bound)


def _bound(vote: Vote) -> float:
    return (vote.entry.ratio_high or 1.0) if vote.entry.status is Status.TUNED else 1.0


def _elected(ballot: Sequence[Vote]) -> Entry:
    """What the hosts' words on one operation come to."""
    sure = [vote for vote in ballot if decided(vote.entry)]
    ballot = [vote for vote in sure or ballot if vote.signer is not None] or sure or ballot
    if not sure:
        foremost = _foremost(ballot)
        return replace(foremost.entry, hosts=len(ballot), created=foremost.created or None)
    sides: dict[Configuration, list[Vote]] = {}
    for vote in ballot:
        sides.setdefault(vote.entry.choice, []).append(vote)
    winner = max(
        (_Side.of(choice, mine, ballot) for choice, mine in sides.items()), key=lambda side: side[:4]
    )
    spokesman, others = winner.spokesman.entry, -winner.others
    return replace(
        spokesman,
        safe_threads=_common(vote.entry.safe_threads for vote in ballot),
        alternatives=_alternatives(spokesman, ballot),
        hosts=winner.hosts,
        signer=max((vote.signer for vote in winner.votes if vote.signer), default=None),
        contested=others >= winner.hosts,
        created=max(vote.created for vote in winner.votes) or None,
        reason=_reason(spokesman.reason, winner.hosts, others),
    )


def _alternatives(said: Entry, ballot: Sequence[Vote]) -> tuple[tuple[Configuration, float], ...]:
    """What every host measured to be no slower than the default, as the host says for which it is slowest."""
    if not said.alternatives:
        return ()
    known = [dict(vote.entry.alternatives) | _chosen(vote.entry) for vote in ballot]
    common = [one for one, _ in said.alternatives if all(one in each for each in known)]
    slowest = ((one, max(each[one] for each in known)) for one in common)
    return tuple(sorted(slowest, key=lambda pair: (pair[1], str(pair[0]))))


def _chosen(entry: Entry) -> dict[Configuration, float]:
    return {} if entry.ratio is None else {entry.choice: entry.ratio}


def _common(counts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """What every host measured to be safe."""
    return tuple(sorted(set[int].intersection(*map(set, counts))))


def _reason(said: str, hosts: int, others: int) -> str:
    """Who says so, before what the most cautious of them says."""
    who = "One host" if hosts == 1 else f"{hosts} hosts"
    against = f", {others} {'says' if others == 1 else 'say'} otherwise" if others else ""
    return f"{who} of this class{against}. {said}"[:MAX_TEXT]
