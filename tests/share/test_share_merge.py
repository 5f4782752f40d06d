"""Votes merge in any order; the election is cautious."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.profile_builders import KEY, make_entry, with_evidence
from support.published_profiles import qr, said

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Status
from autotune.share.merge import collect_votes, merge_publications
from autotune.share.publication import Publication

ONE, TWO = Configuration(blas_threads=1), Configuration(blas_threads=2)


def publication(made, signer=None):
    return Publication(name="unused", profile=made, signer=signer)


def election(*publications):
    """The only entry that the class gets."""
    (entry,) = merge_publications(publications, KEY).entries
    return entry


def of(host, threads, signer=None, **more):
    return publication(said(host, qr(threads, **more)), signer)


TUNED = st.builds(
    lambda threads, n, speedup: qr(threads, n=n, speedup=speedup),
    threads=st.integers(1, 3),
    n=st.sampled_from([100, 200]),
    speedup=st.sampled_from([2.0, 1.4, 1.1]),
)
KEPT = st.builds(
    lambda n, status: replace(qr(0, n=n), status=status),
    n=st.sampled_from([100, 200]),
    status=st.sampled_from([Status.NOISY, Status.FAILED, Status.DEFAULT_KEPT]),
)
PROFILES = st.builds(
    lambda host, entries, day, signer: publication(
        said(host, *{entry.operation: entry for entry in entries}.values(), created=f"2026-01-0{day}"), signer
    ),
    host=st.sampled_from("abcd"),
    entries=st.lists(TUNED | KEPT, min_size=1, max_size=3),
    day=st.integers(1, 3),
    signer=st.sampled_from([None, None, "site"]),
)


@given(st.lists(PROFILES, max_size=6), st.randoms())
@settings(max_examples=60)
def test_the_order_of_publications_and_copies_of_them_change_nothing(publications, random):
    shuffled = [*publications, *publications[:2]]
    random.shuffle(shuffled)
    assert collect_votes(shuffled) == collect_votes(publications)
    assert merge_publications(shuffled, KEY) == merge_publications(publications, KEY)


def test_two_hosts_that_chose_the_same_confirm_it():
    entry = election(of("a", 1, speedup=2.0), of("b", 1, speedup=1 / 0.6))
    assert (entry.choice, entry.evidence.hosts, entry.evidence.contested) == (ONE, 2, False)


def test_the_most_cautious_host_speaks_for_those_that_agree():
    assert election(of("a", 1, speedup=2.0), of("b", 1, speedup=1 / 0.6)).evidence.speedup == 1 / 0.6


def test_one_host_that_publishes_twice_is_one_host():
    twice = [of("a", 1), publication(said("a", qr(1, speedup=1 / 0.6), created="2026-02-01"))]
    entry = election(*twice)
    assert (entry.evidence.hosts, entry.evidence.speedup) == (1, 1 / 0.6)


def on_computer(host, threads, *marks):
    made = said(host, qr(threads))
    return publication(replace(made, provenance=replace(made.provenance, marks=marks)))


def test_two_containers_on_one_computer_are_one_host():
    votes = [on_computer("a", 1, "boot-1", "system-1"), on_computer("b", 1, "boot-1", "system-2")]
    assert election(*votes).evidence.hosts == 1


def test_hosts_that_meet_through_a_third_are_one_computer():
    votes = [on_computer("a", 1, "boot-1"), on_computer("b", 1, "boot-1", "board-1"), on_computer("c", 1, "board-1")]
    assert election(*votes).evidence.hosts == 1


def test_clones_of_one_image_are_as_many_hosts_as_there_are_computers():
    votes = [on_computer("a", 1, "boot-1", "system-1"), on_computer("b", 1, "boot-2", "system-1")]
    assert election(*votes).evidence.hosts == 2


def test_two_hosts_with_different_truths_are_contested():
    entry = election(of("a", 1), of("b", 0))
    assert entry.evidence.contested
    assert entry.reason.startswith("One host of this class, 1 says otherwise.")


def test_a_third_host_settles_what_two_dispute():
    entry = election(of("a", 1), of("b", 0), of("c", 1))
    assert (entry.choice, entry.evidence.hosts, entry.evidence.contested) == (ONE, 2, False)
    entry = election(of("a", 1), of("b", 0), of("c", 0))
    assert (entry.choice, entry.evidence.hosts, entry.evidence.contested) == (DEFAULT, 2, False)


def test_a_host_that_knows_a_choice_to_be_safe_does_not_dispute_it():
    entry = election(of("a", 1), of("b", 2, speedup=1 / 0.9, safe=(1, 2)))
    assert (entry.choice, entry.evidence.hosts, entry.evidence.contested) == (ONE, 1, False)


def test_agreement_comes_before_gain():
    assert election(of("a", 1, speedup=1 / 0.3), of("b", 2, speedup=1 / 0.8), of("c", 2, speedup=1 / 0.8)).choice == TWO


def test_of_equally_many_the_lower_bound_of_the_gain_decides():
    entry = election(of("a", 1, speedup=1 / 0.7), of("b", 2, speedup=2.0))
    assert (entry.choice, entry.evidence.contested) == (TWO, True)


def test_a_trusted_signature_outweighs_any_number_of_hosts():
    entry = election(of("a", 1, signer="site"), of("b", 2), of("c", 2), of("d", 2))
    assert (entry.choice, entry.evidence.signer, entry.evidence.contested) == (ONE, "site", False)


def test_noise_neither_confirms_nor_disputes():
    noisy = publication(said("b", replace(qr(0), status=Status.NOISY)))
    entry = election(of("a", 1), noisy)
    assert (entry.choice, entry.evidence.hosts, entry.evidence.contested) == (ONE, 1, False)


def test_clocks_of_two_hosts_are_never_compared():
    early = publication(said("a", qr(1), created="1990-01-01"))
    late = publication(said("b", qr(2, safe=(1, 2)), created="2090-01-01"))
    third = publication(said("c", qr(1), created="1990-01-01"))
    assert election(early, late, third).choice == ONE


def test_only_what_every_host_measured_to_be_safe_stays_safe():
    assert election(of("a", 1, safe=(1, 2, 4)), of("b", 1, safe=(1, 4))).evidence.safe_threads == (1, 4)


def test_what_no_one_measured_is_left_out():
    unreached = with_evidence(qr(0), default_seconds=None)
    assert election(publication(said("a", unreached, qr(n=200)))).operation.size == {"m": 200, "n": 200}


def test_the_merged_profile_names_no_host_and_the_latest_date():
    made = merge_publications([of("a", 1), publication(said("b", created="2026-05-05"))], KEY)
    assert (made.provenance.host, made.provenance.created) == (None, "2026-05-05")


def test_the_merged_profile_names_the_cpu_that_most_publications_name():
    profiles = [said(host, qr(1)) for host in "abc"]
    named = zip(profiles, ("A CPU", "B CPU", "A CPU"), strict=True)
    made = [replace(profile, provenance=replace(profile.provenance, cpu=cpu)) for profile, cpu in named]
    assert merge_publications(list(map(publication, made)), KEY).provenance.cpu == "A CPU"


@pytest.mark.parametrize("hosts", [2, 3])
def test_default_kept_by_all_is_confirmed_as_default(hosts):
    entry = election(*(of(name, 0) for name in "abc"[:hosts]))
    assert (entry.status, entry.evidence.hosts, entry.evidence.contested) == (Status.DEFAULT_KEPT, hosts, False)


def test_chunks_and_workers_agree_only_if_equal():
    def log(host, chunk):
        return publication(said(host, make_entry("log", choice={"workers": 2, "chunk": chunk}, n=10**6)))

    assert election(log("a", 1000), log("b", 2000)).evidence.contested
