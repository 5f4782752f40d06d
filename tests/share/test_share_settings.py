"""The configuration file is strict, and the nearest word holds."""

import os

import pytest
from support.profile_builders import alone

from autotune.errors import BadSettings
from autotune.share.store_settings import read_store_settings, settings_files
from autotune.share.trust import TrustRule

KEY = "ed25519:" + "A" * 43 + "="


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    monkeypatch.delenv("AUTOTUNE_STORE", raising=False)


def write(text, layer=0):
    path = settings_files()[layer]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_any_word_there_is_no_store_and_every_host_is_believed():
    settings = read_store_settings()
    assert (settings.store, settings.policy.rule, settings.policy.keys) == (None, TrustRule.ANY, ())
    assert settings.policy.owners == {0, os.geteuid()}


def test_the_user_s_file_says_it_all():
    write(f"store: s3://bucket/x\ntrust: signed\ntrusted_keys: [{KEY}]\ntrusted_owners: [7, root]\n")
    settings = read_store_settings()
    assert (settings.store, settings.policy.rule, settings.policy.keys) == ("s3://bucket/x", TrustRule.SIGNED, (KEY,))
    assert settings.policy.owners >= {0, 7}


def test_the_site_s_word_holds_where_the_user_has_none():
    write("store: /nfs/site\ntrust: owner\n", layer=1)
    write("store: /nfs/mine\n")
    assert (read_store_settings().store, read_store_settings().policy.rule) == ("/nfs/mine", TrustRule.OWNER)


def test_the_variable_comes_before_the_files_and_the_option_before_it(monkeypatch):
    write("store: /nfs/mine\n")
    monkeypatch.setenv("AUTOTUNE_STORE", "/nfs/variable")
    assert read_store_settings().store == "/nfs/variable"
    assert read_store_settings("s3://x/y").store == "s3://x/y"


def test_an_option_s_folder_is_meant_from_the_current_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert read_store_settings("store").store == str(tmp_path / "store")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stor: /x\n", "stor: there is no such field; the fields are store, trust"),
        ("trust: everybody\n", "trust: expected one of any, owner, signed, found 'everybody'"),
        ("store: 7\n", "store: expected text"),
        ("trusted_keys: [x]\n", "trusted_keys[0]: expected a public key"),
        ("trusted_keys: x\n", "trusted_keys: expected a list"),
        ("trusted_owners: [no-user-has-this-name]\n", "the number or the name of a user"),
        ("trusted_owners: [-1]\n", "trusted_owners"),
        ("store: &a x\n", "an anchor"),
        ("- x\n", "expected a mapping"),
        ("store: x\nstore: y\n", "stands twice"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file_and_the_reason(text, reason):
    path = write(text)
    with pytest.raises(BadSettings) as refused:
        read_store_settings()
    assert str(refused.value).startswith(f"{path}: ")
    assert reason in str(refused.value)


def test_a_file_that_everybody_may_write_is_refused():
    write("store: /x\n").chmod(0o666)
    with pytest.raises(BadSettings, match="can be written by everybody"):
        read_store_settings()


def test_an_empty_file_says_nothing():
    write("")
    assert read_store_settings().store is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_in_the_file_s_place_is_refused_and_not_waited_for():
    settings_files()[0].parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(settings_files()[0])
    with pytest.raises(BadSettings, match="it is not a regular file"):
        read_store_settings()


def test_a_folder_of_a_user_whom_no_one_knows_is_one_of_that_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert read_store_settings("~no-user-has-this-name/x").store == str(tmp_path / "~no-user-has-this-name" / "x")
