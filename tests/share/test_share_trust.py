"""Keys, signatures, owners."""

import os
import stat

import pytest
from support.profile_builders import KEY
from support.published_profiles import put, qr, said, store_at

from autotune.errors import BadSettings, EnvironmentProblem
from autotune.share import trust
from autotune.share.fetch import read_class
from autotune.share.publication import signature_name
from autotune.share.publish import publish
from autotune.share.trust import TrustPolicy, TrustRule

CLASS = KEY.slug


def new_key(tmp_path, name="site"):
    """(private key, public text)"""
    public = trust.make_key_pair(tmp_path / "keys" / name)
    return trust.private_key(tmp_path / "keys" / name), public


def signed(*publics):
    return TrustPolicy(rule=TrustRule.SIGNED, keys=publics)


def reasons(tmp_path, policy):
    return [file.reason for file in read_class(store_at(tmp_path / "store"), CLASS, policy).rejected]


def signers(tmp_path, policy):
    return [file.signer for file in read_class(store_at(tmp_path / "store"), CLASS, policy).publications]


def test_what_a_trusted_key_signed_is_believed(tmp_path):
    private, public = new_key(tmp_path)
    publish(said("a"), store_at(tmp_path / "store"), key=private)
    assert signers(tmp_path, signed(public)) == [trust.key_id(public)]


def test_an_unsigned_profile_is_refused_where_signatures_are_required(tmp_path):
    _, public = new_key(tmp_path)
    publish(said("a"), store_at(tmp_path / "store"))
    assert reasons(tmp_path, signed(public)) == [
        "no trusted key signed it, and signatures are required here (trust: signed)."
    ]


def test_a_stranger_s_signature_is_none(tmp_path):
    stranger, _ = new_key(tmp_path, "stranger")
    _, public = new_key(tmp_path)
    publish(said("a"), store_at(tmp_path / "store"), key=stranger)
    assert "no trusted key signed it" in reasons(tmp_path, signed(public))[0]


def test_a_signature_with_one_flipped_byte_is_refused(tmp_path):
    private, public = new_key(tmp_path)
    done = publish(said("a"), store_at(tmp_path / "store"), key=private)
    path = tmp_path / "store" / "v1" / CLASS / signature_name(done.name, trust.key_id(public))
    data = bytearray(path.read_bytes())
    data[10] = data[10] ^ 1 if data[10] not in b"/+" else ord("A")
    path.write_bytes(data)
    assert reasons(tmp_path, signed(public)) == [
        "its signature is not that of a trusted key over these bytes: changed, or forged."
    ]


@pytest.mark.parametrize("content", [b"", b"no base64!", b"QUJD\n", b"A" * 10_000])
def test_a_signature_that_is_none_is_refused(tmp_path, content):
    private, public = new_key(tmp_path)
    done = publish(said("a"), store_at(tmp_path / "store"), key=private)
    (tmp_path / "store" / "v1" / CLASS / signature_name(done.name, trust.key_id(public))).write_bytes(content)
    assert signers(tmp_path, signed(public)) == []


def test_a_signature_of_another_profile_is_refused(tmp_path):
    private, public = new_key(tmp_path)
    signed_file = publish(said("a"), store_at(tmp_path / "store"), key=private)
    unsigned = publish(said("b", qr(4)), store_at(tmp_path / "store"))
    folder, name = tmp_path / "store" / "v1" / CLASS, trust.key_id(public)
    (folder / signature_name(unsigned.name, name)).write_bytes(
        (folder / signature_name(signed_file.name, name)).read_bytes()
    )
    assert len(reasons(tmp_path, signed(public))) == 1


def test_during_a_change_of_keys_both_are_trusted(tmp_path):
    (old, old_public), (new, new_public) = new_key(tmp_path, "old"), new_key(tmp_path, "new")
    publish(said("a"), store_at(tmp_path / "store"), key=old)
    publish(said("b"), store_at(tmp_path / "store"), key=new)
    assert signers(tmp_path, signed(new_public, old_public)) == [trust.key_id(old_public), trust.key_id(new_public)]


def test_a_profile_can_be_signed_after_it_was_published(tmp_path):
    private, public = new_key(tmp_path)
    publish(said("a"), store_at(tmp_path / "store"))
    assert not publish(said("a"), store_at(tmp_path / "store"), key=private).new
    assert signers(tmp_path, signed(public)) == [trust.key_id(public)]


def test_a_trusted_signature_is_noted_where_it_is_not_required(tmp_path):
    private, public = new_key(tmp_path)
    publish(said("a"), store_at(tmp_path / "store"), key=private)
    publish(said("b"), store_at(tmp_path / "store"))
    assert signers(tmp_path, TrustPolicy(keys=(public,))) == [trust.key_id(public), None]
    assert signers(tmp_path, TrustPolicy()) == [None, None]


def test_a_private_key_is_for_its_owner_s_eyes_only(tmp_path):
    new_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "keys" / "site").stat().st_mode) == 0o600


def test_a_private_key_that_others_may_read_is_refused(tmp_path):
    new_key(tmp_path)
    (tmp_path / "keys" / "site").chmod(0o640)
    with pytest.raises(BadSettings, match="other users may read it"):
        trust.private_key(tmp_path / "keys" / "site")


def test_no_key_is_ever_replaced(tmp_path):
    new_key(tmp_path)
    before = (tmp_path / "keys" / "site").read_bytes()
    with pytest.raises(BadSettings, match="no key is ever replaced"):
        trust.make_key_pair(tmp_path / "keys" / "site")
    assert (tmp_path / "keys" / "site").read_bytes() == before


def test_a_key_in_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="the key cannot be written"):
        trust.make_key_pair(tmp_path / "file" / "site")


@pytest.mark.parametrize("content", [b"", b"not a key", b"\0" * 100])
def test_a_file_that_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadSettings, match="holds no Ed25519 private key"):
        trust.private_key(path)


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:QUJD", "ed25519:!", "rsa:" + "A" * 44])
def test_a_text_that_is_no_public_key_is_refused(text):
    with pytest.raises(BadSettings, match="is not a public key"):
        trust.check_public_key(text)


def test_files_of_trusted_owners_are_believed(tmp_path):
    put(tmp_path / "store", said("a"))
    policy = TrustPolicy(rule=TrustRule.OWNER, owners=frozenset({os.geteuid()}))
    assert signers(tmp_path, policy) == [None]


def test_files_of_strangers_are_refused_with_their_number(tmp_path):
    put(tmp_path / "store", said("a"))
    others = TrustPolicy(rule=TrustRule.OWNER, owners=frozenset({os.geteuid() + 1}))
    assert reasons(tmp_path, others) == [f"it belongs to user {os.geteuid()}, who is not trusted here (trust: owner)."]


def test_a_file_that_the_group_may_write_has_no_owner_to_trust(tmp_path):
    put(tmp_path / "store", said("a")).chmod(0o664)
    policy = TrustPolicy(rule=TrustRule.OWNER, owners=frozenset({os.geteuid()}))
    assert "several users can have written it" in reasons(tmp_path, policy)[0]
