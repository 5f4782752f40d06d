"""What several hosts of one class say, as one profile. Pure.

Votes form a set that only grows: of one host's words on an operation the latest decided one stands. Joining such
sets is commutative, associative and idempotent, so readers may merge in any order, twice, and with copies. Only
then is counted: who was signed comes first, then agreement of distinct hosts, then the lower bound of the gain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile, Provenance
from autotune.model.tuning import Tuning
from autotune.share.publication import Publication, created, decided, measured
from autotune.store.document import MAX_TEXT


@dataclass(frozen=True, slots=True)
class Vote:
    """One host's word on one operation."""

    tuning: Tuning
    created: str = ""
    """When it was measured (UTC, ISO 8601). Compared with the same host's only: clocks of two hosts differ."""
    signer: str | None = None
    """The trusted key that signed it."""

    @property
    def rank(self) -> tuple[bool, str, str]:
        """The larger one stands: decided, later, signed."""
        return decided(self.tuning), self.created, self.signer or ""


Votes = Mapping[tuple[str, Operation], Vote]
"""By host and operation."""


def votes(publications: Iterable[Publication]) -> Votes:
    """Everything that these publications say, whatever their key."""
    cast: dict[tuple[str, Operation], Vote] = {}
    for publication in publications:
        for tuning in publication.profile.tunings:
            vote = Vote(tuning, created(publication.profile, tuning), publication.signer)
            _cast(cast, (publication.host, tuning.operation), vote)
    return cast


def merge(one: Votes, other: Votes) -> Votes:
    """Both together. Commutative, associative, idempotent."""
    cast = dict(one)
    for place, vote in other.items():
        _cast(cast, place, vote)
    return cast


def elected(cast: Votes, key: Key, *, cpu: str | None = None) -> Profile:
    """One profile for a class: for each operation what most hosts proved.

    An entry says how many distinct hosts confirm it, who signed it, and whether it is contested: as many hosts
    say something else. What nobody measured is left out.
    """
    ballots: dict[Operation, dict[str, Vote]] = {}
    for (host, operation), vote in cast.items():
        if measured(vote.tuning):
            ballots.setdefault(operation, {})[host] = vote
    order = sorted(ballots, key=lambda one: (one.name, one.dtype, one.sizes))
    tunings = tuple(_elected(list(ballots[operation].values())) for operation in order)
    latest = max((one.created for one in tunings if one.created), default=None)
    return Profile(key=key, tunings=tunings, provenance=Provenance(created=latest, cpu=cpu))


def _cast(cast: dict[tuple[str, Operation], Vote], place: tuple[str, Operation], vote: Vote) -> None:
    there = cast.get(place)
    if there is None or _foremost([there, vote]) is vote:
        cast[place] = vote


def _foremost(some: Iterable[Vote]) -> Vote:
    """The one of the largest rank; of equals their texts decide, which takes 30 µs each."""
    ranked = [(vote.rank, vote) for vote in some]
    largest = max(rank for rank, _ in ranked)
    equals = [vote for rank, vote in ranked if rank == largest]
    return equals[0] if len(equals) == 1 else max(equals, key=lambda vote: repr(vote.tuning))


@dataclass(frozen=True, slots=True)
class _Side:
    """The hosts that chose the same."""

    choice: Configuration
    votes: tuple[Vote, ...]
    others: int
    """Hosts that chose something else and do not know this to be safe."""

    @property
    def spokesman(self) -> Vote:
        """The most cautious of them: all confirm the gain that it claims."""
        bound = self.bound
        return _foremost(vote for vote in self.votes if _bound(vote) == bound)

    @property
    def bound(self) -> float:
        """The time over the default's that none of them exceeds: the lower bound of the gain."""
        return max(map(_bound, self.votes))

    @property
    def rank(self) -> tuple[int, int, float, str]:
        """The larger one wins."""
        return len(self.votes), -self.others, -self.bound, str(self.choice)


def _bound(vote: Vote) -> float:
    return 1.0 if vote.tuning.choice.is_default else vote.tuning.ratio_high or 1.0


def _elected(ballot: list[Vote]) -> Tuning:
    """What the hosts' words on one operation come to."""
    sure = [vote for vote in ballot if decided(vote.tuning)]
    ballot = [vote for vote in sure or ballot if vote.signer is not None] or sure or ballot
    if not sure:
        return replace(_foremost(ballot).tuning, hosts=len(ballot))
    sides: dict[Configuration, list[Vote]] = {}
    for vote in ballot:
        sides.setdefault(vote.tuning.choice, []).append(vote)
    winner = max(
        (
            _Side(choice, tuple(mine), sum(not _safe(vote.tuning, choice) for vote in ballot))
            for choice, mine in sides.items()
        ),
        key=lambda side: side.rank,
    )
    spokesman = winner.spokesman
    hosts = len(winner.votes)
    return replace(
        spokesman.tuning,
        safe_threads=_common(vote.tuning.safe_threads for vote in ballot),
        hosts=hosts,
        signer=max((vote.signer for vote in winner.votes if vote.signer), default=None),
        contested=winner.others >= hosts,
        created=max(vote.created for vote in winner.votes) or None,
        reason=_reason(spokesman.tuning.reason, hosts, winner.others),
    )


def _safe(tuning: Tuning, choice: Configuration) -> bool:
    """Does a host's entry agree with a choice, or know it to be no slower than the default?"""
    if tuning.choice == choice:
        return True
    if choice == DEFAULT:
        return False
    only_threads = all(
        getattr(choice, item.name) is None for item in fields(choice) if item.name != "blas_threads"
    )
    return only_threads and choice.blas_threads in tuning.safe_threads


def _common(counts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """What every host measured to be safe."""
    return tuple(sorted(set[int].intersection(*map(set, counts))))


def _reason(said: str, hosts: int, others: int) -> str:
    """Who says so, before what the most cautious of them says."""
    who = "One host" if hosts == 1 else f"{hosts} hosts"
    against = f", {others} {'says' if others == 1 else 'say'} otherwise" if others else ""
    return f"{who} of this class{against}. {said}"[:MAX_TEXT]
