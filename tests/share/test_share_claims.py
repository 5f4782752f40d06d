"""One node of a class measures what all need."""

import pytest

from autotune.share.claims import SECONDS, claim
from autotune.share.publication import CLASS
from autotune.share.store_settings import open_store

NOON = 500_000 * SECONDS


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def claimed(store, host, now=NOON, subject="svd-float64"):
    return claim(store, "0123456789ab", subject, host=host, now=now)


def test_the_first_node_has_it(store):
    assert [claimed(store, host) for host in ("a", "b", "c")] == ["a", "a", "a"]


def test_the_holder_may_ask_again(store):
    claimed(store, "a")
    claimed(store, "b")
    assert claimed(store, "a") == "a"


def test_another_operation_is_another_claim(store):
    claimed(store, "a")
    assert claimed(store, "b", subject="qr-float64") == "b"


def test_a_claim_holds_through_the_next_hour_and_no_longer(store):
    claimed(store, "a", NOON + SECONDS - 1)
    assert claimed(store, "b", NOON + 2 * SECONDS - 1) == "a"
    assert claimed(store, "b", NOON + 2 * SECONDS) == "b"


def test_claims_that_have_ended_are_removed(store):
    claimed(store, "a")
    claimed(store, "b", NOON + 5 * SECONDS)
    assert [item.name for item in store.files("_claims-0123456789ab")] == ["500005-svd-float64.claim"]


def test_no_other_verb_takes_claims_for_a_class(store):
    claimed(store, "a")
    assert [name for name in store.folders() if CLASS.fullmatch(name)] == []


@pytest.mark.parametrize("name", ["²-svd-float64.claim", "x-svd-float64.claim", "-", "٣-y"])
def test_a_file_that_is_no_claim_stops_no_one(store, tmp_path, name):
    (tmp_path / "v1" / "_claims-0123456789ab").mkdir(parents=True)
    (tmp_path / "v1" / "_claims-0123456789ab" / name).touch()
    assert claimed(store, "a") == "a"
