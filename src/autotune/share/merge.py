"""Merge the publications of several hosts of one class into one profile. Pure.

Each host has one vote on each operation, its latest decided entry. Votes form a set that only grows, so publications
can be read in any order, repeatedly, and with copies. Counting comes last: signed votes go first, then the choice of
most distinct hosts, then the lower bound of the speed-up.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.model.configuration import Configuration
from autotune.model.entry import Alternative, Entry, Status
from autotune.model.operation import Operation
from autotune.model.profile import SYSTEM_MARK, Key, Profile, Provenance
from autotune.profiles.yaml_subset import MAX_TEXT
from autotune.share.publication import Publication, creation_time, is_decided_by_measurement, is_measured


@dataclass(frozen=True, slots=True)
class Vote:
    """One host's entry for one operation."""

    entry: Entry
    created: str = ""
    """Time of the measurement (UTC, ISO 8601), compared within one host only: clocks of two hosts differ."""
    signer: str | None = None
    """The trusted key that signed it."""

    @property
    def rank(self) -> tuple[bool, str, str]:
        """Order of a host's votes: decided, later, signed."""
        return is_decided_by_measurement(self.entry), self.created, self.signer or ""


Votes = Mapping[Operation, Mapping[str, Vote]]
"""By operation and host."""


def names_of_computers(publications: Iterable[Publication]) -> Mapping[str, str]:
    """Return one name for each host: the same for those whose marks say that they are one computer."""
    named_by: dict[str, str] = {}
    """Mark -> a host that has it."""
    joined: dict[str, str] = {}

    def name(host: str) -> str:
        while joined[host] != host:
            host = joined[host]
        return host

    for publication in publications:
        joined.setdefault(publication.host, publication.host)
        for mark in publication.profile.provenance.marks:
            if not mark.startswith(SYSTEM_MARK):
                first, second = name(publication.host), name(named_by.setdefault(mark, publication.host))
                joined[max(first, second)] = min(first, second)
    return {host: name(host) for host in joined}


def collect_votes(publications: Collection[Publication]) -> Votes:
    """Collect the highest-ranking vote of each host on each operation, whatever the key of the publication.

    Hosts that are one computer under several names, such as containers, have one vote.
    """
    votes: dict[Operation, dict[str, Vote]] = {}
    computers = names_of_computers(publications)
    for publication in publications:
        for entry in publication.profile.entries:
            vote = Vote(entry, creation_time(publication.profile, entry), publication.signer)
            ballot = votes.setdefault(entry.operation, {})
            computer = computers[publication.host]
            earlier = ballot.get(computer)
            if earlier is None or _highest([earlier, vote]) is vote:
                ballot[computer] = vote
    return votes


def merge_publications(publications: Collection[Publication], key: Key) -> Profile:
    """Count the votes of a class: for each measured operation the choice that most hosts confirm.

    Each entry says how many distinct hosts confirm it, who signed it, and whether it is contested, which means that
    at least as many hosts chose something else.
    """
    cpus = Counter(publication.profile.provenance.cpu for publication in publications)
    cpu = max(cpus, key=lambda cpu: (cpus[cpu], str(cpu)), default=None)
    votes = collect_votes(publications)
    operations = sorted(votes, key=lambda operation: (operation.name, operation.dtype, operation.sizes))
    ballots = ([vote for vote in votes[operation].values() if is_measured(vote.entry)] for operation in operations)
    entries = tuple(_count(ballot) for ballot in ballots if ballot)
    latest = max((entry.evidence.created for entry in entries if entry.evidence.created), default=None)
    return Profile(key=key, entries=entries, provenance=Provenance(created=latest, cpu=cpu))


def _highest(votes: Iterable[Vote]) -> Vote:
    """Return the vote of the highest rank; the texts of equals decide, which takes 30 µs each."""
    ranked = [(vote.rank, vote) for vote in votes]
    highest = max(rank for rank, _ in ranked)
    equals = [vote for rank, vote in ranked if rank == highest]
    return equals[0] if len(equals) == 1 else max(equals, key=lambda vote: repr(vote.entry))


def _bound(vote: Vote) -> float:
    interval = vote.entry.evidence.interval
    return interval[0] if interval is not None and vote.entry.status is Status.TUNED else 1.0


def _count(ballot: Sequence[Vote]) -> Entry:
    """Merge the votes on one operation into an entry."""
    conclusive = [vote for vote in ballot if is_decided_by_measurement(vote.entry)]
    ballot = [vote for vote in conclusive or ballot if vote.signer is not None] or conclusive or ballot
    if not conclusive:
        highest = _highest(ballot)
        evidence = replace(highest.entry.evidence, hosts=len(ballot), created=highest.created or None)
        return replace(highest.entry, evidence=evidence)
    supporters: dict[Configuration, list[Vote]] = {}
    for vote in ballot:
        supporters.setdefault(vote.entry.choice, []).append(vote)

    def rank(choice: Configuration) -> tuple[int, int, float, str]:
        """Most hosts, fewest opponents, largest speed-up; the text makes ties equal on every host."""
        votes = supporters[choice]
        return len(votes), -_opponents(choice, ballot), min(map(_bound, votes)), str(choice)

    ranks = {choice: rank(choice) for choice in supporters}
    winner = max(ranks, key=lambda choice: ranks[choice])
    votes, (hosts, minus_opponents, bound, _) = supporters[winner], ranks[winner]
    opponents = -minus_opponents
    # the vote that claims the smallest speed-up, which all supporters confirm
    entry = _highest(vote for vote in votes if _bound(vote) == bound).entry
    evidence = replace(
        entry.evidence,
        # those that every host measured to be safe
        safe_threads=tuple(sorted(set[int].intersection(*(set(vote.entry.evidence.safe_threads) for vote in ballot)))),
        hosts=hosts,
        signer=max((vote.signer for vote in votes if vote.signer), default=None),
        contested=opponents >= hosts,
        created=max(vote.created for vote in votes) or None,
    )
    return replace(
        entry,
        evidence=evidence,
        alternatives=_alternatives(entry, ballot),
        reason=_reason(entry.reason, hosts, opponents),
    )


def _opponents(choice: Configuration, ballot: Sequence[Vote]) -> int:
    """Count the hosts that chose something else and did not measure this choice to be safe."""
    threads = choice.only_blas_threads
    return sum(vote.entry.choice != choice and threads not in vote.entry.evidence.safe_threads for vote in ballot)


def _alternatives(entry: Entry, ballot: Sequence[Vote]) -> tuple[Alternative, ...]:
    """Return the alternatives that every host measured, each with the speed-up of the host where it is slowest."""
    speedups = [_speedups(vote.entry) for vote in ballot]
    common = [
        alternative.choice for alternative in entry.alternatives if all(alternative.choice in host for host in speedups)
    ]
    slowest = (Alternative(choice=choice, speedup=min(host[choice] for host in speedups)) for choice in common)
    return tuple(sorted(slowest, key=lambda alternative: (-alternative.speedup, str(alternative.choice))))


def _speedups(entry: Entry) -> dict[Configuration, float]:
    chosen = {} if entry.evidence.speedup is None else {entry.choice: entry.evidence.speedup}
    return {alternative.choice: alternative.speedup for alternative in entry.alternatives} | chosen


def _reason(reason: str, hosts: int, opponents: int) -> str:
    """Put the count of hosts in front of the reason of the most cautious one."""
    who = "One host" if hosts == 1 else f"{hosts} hosts"
    against = f", {opponents} {'says' if opponents == 1 else 'say'} otherwise" if opponents else ""
    return f"{who} of this class{against}. {reason}"[:MAX_TEXT]
