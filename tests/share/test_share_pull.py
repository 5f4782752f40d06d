"""The mirror holds what the store says of this machine, and survives a store that does not."""

import errno
import os
from dataclasses import replace

import pytest
from support.profile_builders import KEY, alone, make_entry
from support.published_profiles import put, qr, said, store_at

from autotune.daemon.sensors import fingerprint
from autotune.errors import StoreProblem
from autotune.model.configuration import Configuration
from autotune.profiles import profile_files
from autotune.profiles.folders import cluster_profiles
from autotune.share.folder_backend import FolderBackend
from autotune.share.mirror import pull, read_relatives
from autotune.share.store_settings import open_store
from autotune.share.trust import TrustPolicy, TrustRule

NOW = 1_800_000_000.0
MINUTES = 60.0


@pytest.fixture(autouse=True)
def alone_here(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)


def bring(root, **how):
    return pull(store_at(root), how.pop("policy", TrustPolicy()), how.pop("key", KEY), **({"now": NOW} | how))


def mirror(key=KEY):
    return profile_files.read(cluster_profiles() / f"{key.slug}.yaml").entries


def other(**fields):
    """The key of another class of the same CPU."""
    return replace(KEY, **fields)


def test_two_hosts_make_a_confirmed_entry_in_the_mirror(tmp_path):
    put(tmp_path / "store", said("a"))
    put(tmp_path / "store", said("b"))
    (own,) = bring(tmp_path / "store").mirrored
    assert (own.hosts, own.entries, own.confirmed, own.contested) == (2, 1, 1, 0)
    (entry,) = mirror()
    assert (entry.choice, entry.evidence.hosts) == (Configuration(blas_threads=1), 2)


def test_pulling_again_writes_nothing(tmp_path):
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    before = fingerprint(cluster_profiles() / f"{KEY.slug}.yaml")
    bring(tmp_path / "store")
    assert fingerprint(cluster_profiles() / f"{KEY.slug}.yaml") == before


def test_what_was_read_once_is_not_read_again(tmp_path, monkeypatch):
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    names = []
    read = FolderBackend.read
    monkeypatch.setattr(FolderBackend, "read", lambda *arguments: names.extend(arguments[2]) or read(*arguments))
    put(tmp_path / "store", said("b"))
    bring(tmp_path / "store")
    assert [name[:2] for name in names] == ["b-"]


def test_only_this_machine_s_class_and_its_siblings_are_listed(tmp_path, monkeypatch):
    stranger = other(hardware=replace(KEY.hardware, model=1))
    for key in (KEY, other(usable_cpus=4), stranger):
        put(tmp_path / "store", said("a", key=key))
    listed = []
    files = FolderBackend.files
    monkeypatch.setattr(FolderBackend, "files", lambda self, folder: listed.append(folder) or files(self, folder))
    result = bring(tmp_path / "store")
    assert listed == [KEY.slug, other(usable_cpus=4).slug]
    assert [each.key.usable_cpus for each in result.mirrored] == [8, 4]


def test_a_sibling_with_other_software_is_not_mirrored(tmp_path):
    key = other(software=replace(KEY.software, numpy="2.0"), usable_cpus=4)
    put(tmp_path / "store", said("a", key=key))
    assert bring(tmp_path / "store").mirrored == ()


def test_nothing_for_this_machine_leaves_an_empty_mirror(tmp_path):
    assert bring(tmp_path / "store").mirrored == ()
    assert not cluster_profiles().exists()


def test_a_store_that_is_away_changes_nothing(tmp_path):
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    before = mirror()
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreProblem):
        pull(open_store(str(tmp_path / "store")), TrustPolicy(), KEY)
    assert mirror() == before


def test_an_empty_mount_point_is_not_an_empty_store(tmp_path):
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreProblem, match="it may not be mounted"):
        bring(tmp_path / "store", now=NOW + 1e6)
    assert len(mirror()) == 1


def failing(monkeypatch, class_that_fails):
    """Let one class's folder answer with an error."""
    files = FolderBackend.files

    def others_only(self, folder):
        if folder == class_that_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return files(self, folder)

    monkeypatch.setattr(FolderBackend, "files", others_only)


def test_an_error_in_this_machine_s_class_changes_nothing(tmp_path, monkeypatch):
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    put(tmp_path / "store", said("b", qr(2)))
    put(tmp_path / "store", said("b", key=other(usable_cpus=4)))
    failing(monkeypatch, KEY.slug)
    before = sorted(cluster_profiles().iterdir())
    with pytest.raises(StoreProblem, match="input/output error"):
        bring(tmp_path / "store")
    assert sorted(cluster_profiles().iterdir()) == before


def test_an_error_in_another_class_costs_that_class_only(tmp_path, monkeypatch):
    sibling = other(usable_cpus=4)
    put(tmp_path / "store", said("a", key=sibling))
    bring(tmp_path / "store")
    put(tmp_path / "store", said("b"))
    failing(monkeypatch, sibling.slug)
    pulled = bring(tmp_path / "store")
    assert [each.key for each in pulled.mirrored] == [KEY]
    assert [(file.folder, "input/output error" in file.reason) for file in pulled.rejected] == [(sibling.slug, True)]
    assert (cluster_profiles() / f"{sibling.slug}.yaml").exists()


def test_a_half_listing_loses_nothing(tmp_path):
    gone, _ = put(tmp_path / "store", said("a")), put(tmp_path / "store", said("b"))
    bring(tmp_path / "store")
    gone.unlink()
    assert bring(tmp_path / "store", now=NOW + MINUTES).mirrored[0].hosts == 2
    put(tmp_path / "store", said("a"))
    assert bring(tmp_path / "store", now=NOW + 60 * MINUTES).mirrored[0].hosts == 2


def test_what_stays_away_from_listings_is_forgotten(tmp_path):
    gone, _ = put(tmp_path / "store", said("a")), put(tmp_path / "store", said("b"))
    bring(tmp_path / "store")
    gone.unlink()
    bring(tmp_path / "store", now=NOW + MINUTES)
    assert bring(tmp_path / "store", now=NOW + 20 * MINUTES).mirrored[0].hosts == 1


@pytest.mark.parametrize("left", ["", "\0\0\0", "yesterday"])
def test_a_mark_that_a_power_cut_tore_forgets_no_copy_at_once_and_stops_no_pull(tmp_path, left):
    gone, _ = put(tmp_path / "store", said("a")), put(tmp_path / "store", said("b"))
    bring(tmp_path / "store")
    gone.unlink()
    bring(tmp_path / "store")
    (mark,) = (tmp_path / "cache").rglob("*.gone")
    mark.write_text(left)
    assert bring(tmp_path / "store", now=NOW + MINUTES).mirrored[0].hosts == 2
    assert bring(tmp_path / "store", now=NOW + 20 * MINUTES).mirrored[0].hosts == 1


def test_a_fresh_pull_forgets_at_once(tmp_path):
    gone, _ = put(tmp_path / "store", said("a")), put(tmp_path / "store", said("b"))
    bring(tmp_path / "store")
    gone.unlink()
    assert bring(tmp_path / "store", fresh=True).mirrored[0].hosts == 1


def test_a_class_that_is_withdrawn_leaves_the_mirror(tmp_path):
    gone = put(tmp_path / "store", said("a", key=other(usable_cpus=4)))
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    gone.unlink()
    result = bring(tmp_path / "store", fresh=True)
    assert [path.stem for path in result.removed] == [other(usable_cpus=4).slug]


def test_two_keys_with_one_name_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.setattr("autotune.model.profile.Key.slug", "genuineintel-6-143-8cpu-openblas-0.3.31-000000000000")
    put(tmp_path / "store", said("a"))
    put(tmp_path / "store", said("b", qr(4), key=other(usable_cpus=4)))
    result = bring(tmp_path / "store")
    assert [entry.choice.blas_threads for entry in mirror()] == [1]
    assert [file.reason for file in result.rejected] == ["it is for another class whose name is the same."]


def test_copies_are_believed_under_the_trust_they_were_made_for_only(tmp_path):
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    result = bring(tmp_path / "store", policy=TrustPolicy(rule=TrustRule.SIGNED))
    assert (result.mirrored, len(result.rejected)) == ((), 1)
    assert not (cluster_profiles() / f"{KEY.slug}.yaml").exists()


def test_copies_of_trusted_owners_files_go_on(tmp_path):
    put(tmp_path / "store", said("a"))
    policy = TrustPolicy(rule=TrustRule.OWNER, owners=frozenset({os.geteuid()}))
    bring(tmp_path / "store", policy=policy)
    assert bring(tmp_path / "store", policy=policy).mirrored[0].hosts == 1


def test_a_torn_copy_is_read_again(tmp_path):
    put(tmp_path / "store", said("a"))
    bring(tmp_path / "store")
    (copy,) = (tmp_path / "cache").rglob("a-*.json")
    copy.write_bytes(b"torn")
    bring(tmp_path / "store")
    assert bring(tmp_path / "store").mirrored[0].hosts == 1


def test_relatives_are_nearest_first_and_few(tmp_path):
    for key in (other(hardware=replace(KEY.hardware, model=1)), other(usable_cpus=4), KEY):
        for host in "abcde":
            put(tmp_path / "store", said(host, make_entry("qr", choice={"blas_threads": 2}, m=9, n=9), key=key))
    profiles = read_relatives(store_at(tmp_path / "store"), TrustPolicy(), KEY)
    assert [(profile.key.hardware.model, profile.key.usable_cpus) for profile in profiles] == [
        *[(143, 8)] * 2,
        *[(143, 4)] * 2,
        *[(1, 8)] * 2,
    ]
