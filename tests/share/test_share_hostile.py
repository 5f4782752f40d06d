"""A member of the cluster that means harm: what it can put into a store, and what comes of it."""

import errno
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from support.profile_builders import KEY, alone, make_entry
from support.published_profiles import put, qr, said, store_at

from autotune.errors import BadSettings, ProfileError, StoreProblem
from autotune.model.configuration import Configuration
from autotune.model.entry import Alternative
from autotune.profiles import profile_files, yaml_subset
from autotune.profiles.folders import cache_dir, cluster_profiles
from autotune.share import fetch, trust
from autotune.share import store as shelf
from autotune.share.fetch import read_class
from autotune.share.folder_backend import FolderBackend
from autotune.share.mirror import pull
from autotune.share.prune import removable_files
from autotune.share.publication import creation_time, decode, encode, signature_name
from autotune.share.publish import publish
from autotune.share.trust import TrustPolicy, TrustRule

CLASS = KEY.slug
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def alone_here(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)


@pytest.fixture
def site(tmp_path):
    """(private key, the policy that asks for its signature)"""
    public = trust.make_key_pair(tmp_path / "site.key")
    return trust.private_key(tmp_path / "site.key"), TrustPolicy(rule=TrustRule.SIGNED, keys=(public,))


def hosts(root, policy=None):
    return sorted(file.host for file in read_class(store_at(root), CLASS, policy or TrustPolicy()).publications)


def refusals(root, policy=None):
    return {file.reason for file in read_class(store_at(root), CLASS, policy or TrustPolicy()).rejected}


def mirror():
    return profile_files.read(cluster_profiles() / f"{KEY.slug}.yaml").entries


def changed(edit):
    """A publication whose document was changed before its name was made."""
    content = json.loads(encode(said("a"))[1])
    edit(content, content["operations"]["qr"]["float64"][0])
    data = json.dumps(content).encode()
    return f"a-{sha256(data).hexdigest()}.json", data


@pytest.mark.parametrize("digits", [400, 4000])
@pytest.mark.parametrize("name", ["speedup", "resolution"])
def test_an_integer_that_no_float_holds_is_refused(name, digits):
    def edit(content, entry):
        place = entry["evidence"] if name == "speedup" else content["provenance"]
        place[name] = 10**digits

    with pytest.raises(ProfileError, match=f"{name}: expected a number"):
        decode(*changed(edit))


@pytest.mark.parametrize("stamp", ["zzzz", "2026-01-01\n\x1b[2J", "９９９９-01-01", "9999-99-99T" + "9" * 400])
def test_what_is_no_date_dates_nothing(stamp):
    def edit(content, entry):
        entry.setdefault("evidence", {})["created"] = stamp

    profile = decode(*changed(edit)).profile
    assert creation_time(profile, profile.entries[0]) == ""


@pytest.mark.parametrize("name", ["../b", "a/../../b", "a\0", "ａ", "a" * 65, ".a", "a\u202e", "-a"])
def test_a_publisher_whose_name_is_a_trick_is_none(name):
    made = said("a")
    with pytest.raises(ProfileError, match="cannot be part of a file's name"):
        encode(replace(made, provenance=replace(made.provenance, host=name)))


def test_a_flood_of_one_publisher_pushes_no_other_out(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_FILES", 3)
    for day in range(1, 8):
        put(tmp_path, said("0flood", created=f"2026-01-0{day}"))
    put(tmp_path, said("b"))
    put(tmp_path, said("c"))
    contents = read_class(store_at(tmp_path), CLASS, TrustPolicy(), most=3)
    assert {file.host for file in contents.publications} == {"0flood", "b", "c"}
    assert len(contents.rejected) == 6


def test_what_is_signed_is_read_before_any_flood(tmp_path, site):
    private, policy = site
    for number in range(5):
        put(tmp_path, said(f"0flood{number}"))
    publish(said("z"), store_at(tmp_path), key=private)
    contents = read_class(store_at(tmp_path), CLASS, replace(policy, rule=TrustRule.ANY), most=1)
    assert [file.host for file in contents.publications] == ["z"]


def test_where_signatures_are_required_nothing_else_is_even_read(tmp_path, site, monkeypatch):
    private, policy = site
    put(tmp_path, said("flood"))
    done = publish(said("a"), store_at(tmp_path), key=private)
    read = []
    plain = FolderBackend.read
    monkeypatch.setattr(FolderBackend, "read", lambda *call: read.extend(call[2]) or plain(*call))
    assert hosts(tmp_path, policy) == ["a"]
    assert sorted(read) == [done.name, signature_name(done.name, done.signer)]


def test_a_file_that_is_too_large_uses_up_nothing_of_its_class(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_CLASS_BYTES", 3000)
    monkeypatch.setattr(fetch, "MAX_BYTES", 2000)
    put(tmp_path, said("0"), data=b" " * 2900)
    put(tmp_path, said("a"))
    assert hosts(tmp_path) == ["a"]


def test_a_store_that_trickles_is_given_up(tmp_path, monkeypatch):
    put(tmp_path, said("a"))
    monkeypatch.setattr(shelf, "CLASS_SECONDS", -1.0)
    with pytest.raises(StoreProblem, match="did not give a class's files within"):
        hosts(tmp_path)


def test_publications_that_make_too_large_a_mirror_together_lose_what_no_one_confirms(tmp_path, monkeypatch):
    flood = [qr(n=n) for n in range(200, 400)]
    for number in range(2):
        put(tmp_path / "store", said(f"honest{number}"))
        put(
            tmp_path / "store",
            said(f"flood{number}", *(replace(entry, reason="x" * 500) for entry in flood[number::2])),
        )
    monkeypatch.setattr(yaml_subset, "MAX_BYTES", 50_000)
    assert pull(store_at(tmp_path / "store"), TrustPolicy(), KEY).mirrored[0].confirmed == 1
    assert 1 <= len(mirror()) < 100
    assert [entry.evidence.hosts for entry in mirror()].count(2) == 1


@pytest.mark.parametrize("signs", [False, True])
def test_a_name_that_was_squatted_is_taken_back(tmp_path, site, signs):
    private, policy = site
    name = encode(said("a"))[0]
    put(tmp_path, said("a"), name=name, data=b"squatted")
    put(tmp_path, said("a"), name=signature_name(name, next(iter(policy.key_ids))), data=b"squatted")
    assert publish(said("a"), store_at(tmp_path), key=private if signs else None).new
    assert hosts(tmp_path, policy if signs else TrustPolicy()) == ["a"]


def test_a_name_that_stays_squatted_is_told(tmp_path, monkeypatch):
    put(tmp_path, said("a"), data=b"squatted")
    monkeypatch.setattr(FolderBackend, "remove", lambda *_: None)
    with pytest.raises(StoreProblem, match="has something else in the place of a-"):
        publish(said("a"), store_at(tmp_path))


def test_a_link_in_the_place_of_a_class_leads_nowhere(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "store" / "v1").mkdir(parents=True)
    (tmp_path / "store" / "v1" / CLASS).symlink_to(elsewhere)
    with pytest.raises(StoreProblem, match="is a symbolic link, which is not followed"):
        hosts(tmp_path / "store")
    with pytest.raises(StoreProblem, match="is a symbolic link, which is not followed"):
        publish(said("a"), store_at(tmp_path / "store"))
    assert [*elsewhere.iterdir()] == []


def test_who_poses_as_a_host_cannot_have_its_files_pruned(tmp_path, site):
    private, policy = site
    honest = publish(said("a", created="2026-01-01"), store_at(tmp_path), key=private)
    put(tmp_path, said("a", created="2026-01-02"))
    assert [*removable_files(store_at(tmp_path), policy, now=NOW)] == []
    assert next(file.name for file in removable_files(store_at(tmp_path), TrustPolicy(), now=NOW)) == honest.name


def test_what_was_withdrawn_and_is_put_back_outweighs_no_newer_word(tmp_path, site):
    private, policy = site
    store = store_at(tmp_path / "store")
    publish(said("a", qr(2), created="2026-01-01"), store, key=private)
    kept = {path: path.read_bytes() for path in (tmp_path / "store").rglob("a-*")}
    publish(said("a", qr(4), created="2026-01-02"), store, key=private)
    for path, data in kept.items():
        path.write_bytes(data)
    pull(store, policy, KEY)
    assert mirror()[0].choice == Configuration(blas_threads=4)


def test_a_signed_file_says_nothing_in_another_class(tmp_path, site):
    private, policy = site
    other = replace(KEY, usable_cpus=4)
    publish(said("a", key=other), store_at(tmp_path / "store"), key=private)
    (tmp_path / "store" / "v1" / other.slug).rename(tmp_path / "store" / "v1" / CLASS)
    pulled = pull(store_at(tmp_path / "store"), policy, KEY)
    assert pulled.mirrored == ()
    assert [file.reason for file in pulled.rejected] == ["it is for another class whose name is the same."]


def test_a_trusted_key_with_one_flipped_byte_trusts_no_one(tmp_path, site):
    private, policy = site
    publish(said("a"), store_at(tmp_path), key=private)
    (public,) = policy.keys
    flipped = public[:20] + ("A" if public[20] != "A" else "B") + public[21:]
    assert hosts(tmp_path, replace(policy, keys=(flipped,))) == []
    assert refusals(tmp_path, replace(policy, keys=(flipped,))) == {
        "no trusted key signed it, and signatures are required here (trust: signed)."
    }


@pytest.mark.parametrize("place", [30, 60, 100])
def test_a_private_key_with_one_flipped_byte_signs_nothing_that_is_believed(tmp_path, site, place):
    _, policy = site
    path = tmp_path / "site.key"
    data = bytearray(path.read_bytes())
    data[place] = ord("A") if data[place] != ord("A") else ord("B")
    path.write_bytes(data)
    try:
        publish(said("a"), store_at(tmp_path / "store"), key=trust.private_key(path))
    except BadSettings:
        return
    assert hosts(tmp_path / "store", policy) == []


@pytest.mark.skipif(os.name != "posix", reason="needs owners and modes")
def test_copies_that_others_may_have_put_there_are_not_believed(tmp_path):
    put(tmp_path / "store", said("a"))
    pull(store_at(tmp_path / "store"), TrustPolicy(), KEY)
    (copies,) = (path.parent for path in tmp_path.rglob("a-*.json") if str(path).startswith(cache_dir()))
    forged = encode(said("b"))
    (copies / forged[0]).write_bytes(forged[1])
    copies.chmod(0o777)
    assert pull(store_at(tmp_path / "store"), TrustPolicy(), KEY).mirrored[0].hosts == 1
    copies.chmod(0o700)
    assert pull(store_at(tmp_path / "store"), TrustPolicy(), KEY).mirrored[0].hosts == 2


def test_a_full_disk_keeps_no_copy(tmp_path, monkeypatch):
    put(tmp_path / "store", said("a"))

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("autotune.share.fetch.replace_file", full)
    assert pull(store_at(tmp_path / "store"), TrustPolicy(), KEY).mirrored[0].hosts == 1
    copies = [path for path in tmp_path.rglob("*a-*") if str(path).startswith(cache_dir())]
    assert copies == []


def test_what_hosts_measured_next_to_their_choices_is_kept_as_far_as_all_did(tmp_path):
    two, four = {"blas_threads": 2}, {"blas_threads": 4}
    put(tmp_path / "store", said("a", qr(1, others=[(two, 1 / 0.6), (four, 1 / 0.7)])))
    put(tmp_path / "store", said("b", qr(1, others=[(two, 1 / 0.8)])))
    pull(store_at(tmp_path / "store"), TrustPolicy(), KEY)
    assert mirror()[0].alternatives == (Alternative(choice=Configuration(**two), speedup=1 / 0.8),)


def test_the_mirror_says_that_edits_are_lost(tmp_path):
    put(tmp_path / "store", said("a", make_entry("qr", choice={"blas_threads": 1}, m=9, n=9)))
    pull(store_at(tmp_path / "store"), TrustPolicy(), KEY)
    text = (cluster_profiles() / f"{KEY.slug}.yaml").read_text()
    assert "`autotune store pull` replaces it" in text
    assert "Safe to edit" not in text
