"""Files without a use may go; files that cannot be understood stay."""

from datetime import UTC, datetime, timedelta

from support.profile_builders import KEY
from support.published_profiles import put, qr, said, store_at

from autotune.share.prune import list_classes, removable_files
from autotune.share.trust import TrustPolicy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CLASS = KEY.slug


def going(root, **which):
    policy = which.pop("policy", TrustPolicy())
    return {(file.name, file.reason) for file in removable_files(store_at(root), policy, now=NOW, **which)}


def test_what_a_later_publication_covers_may_go(tmp_path):
    old = put(tmp_path, said("a", created="2026-01-01"))
    put(tmp_path, said("a", created="2026-01-02"))
    put(tmp_path, said("b", created="2026-01-01"))
    assert going(tmp_path) == {(old.name, "a later publication of the same host supersedes it.")}


def test_a_signature_of_nothing_may_go(tmp_path):
    name = f"a-{'0' * 64}.json.{'1' * 16}.sig"
    put(tmp_path, said("a"), name=name, data=b"x")
    assert going(tmp_path) == {(name, "the publication that it signed does not exist.")}


def test_a_signature_goes_with_what_it_signed(tmp_path):
    path = put(tmp_path, said("a"))
    signature = put(tmp_path, said("a"), name=f"{path.name}.{'1' * 16}.sig", data=b"x")
    assert {name for name, _ in going(tmp_path, hosts=["a"])} == {path.name, signature.name}
    assert going(tmp_path) == set()


def test_what_writers_left_long_ago_may_go(tmp_path):
    old = put(tmp_path, said("a"), name=f".{int(NOW.timestamp()) - 100_000}-x.tmp")
    put(tmp_path, said("a"), name=f".{int(NOW.timestamp()) - 100}-x.tmp")
    assert going(tmp_path) == {(old.name, "its writer ended before it was complete.")}


def test_what_is_older_than_asked_may_go(tmp_path):
    old = put(tmp_path, said("a", created="2025-01-01"))
    put(tmp_path, said("b", created="2026-05-31"))
    assert going(tmp_path, older=timedelta(days=30)) == {(old.name, "it was measured 2025-01-01.")}


def test_what_cannot_be_read_stays_unless_its_host_is_to_go(tmp_path):
    path = put(tmp_path, said("a"), data=b"from the future")
    assert going(tmp_path) == set()
    assert going(tmp_path, hosts=["a"]) == {(path.name, "--host names the host that published it.")}


def test_other_classes_are_left_alone(tmp_path):
    put(tmp_path, said("a", created="2026-01-01"))
    put(tmp_path, said("a", created="2026-01-02"))
    assert going(tmp_path, folders=["another"]) == set()


def test_a_list_says_who_published_in_each_class(tmp_path):
    put(tmp_path, said("a"))
    put(tmp_path, said("a", qr(4)))
    put(tmp_path, said("b"))
    (listed,) = list_classes(store_at(tmp_path))
    assert (listed.folder, listed.hosts, listed.publications) == (CLASS, ("a", "b"), 3)
