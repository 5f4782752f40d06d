"""Publications are immutable, content-addressed and read with suspicion."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.profile_builders import make_entry, profile, with_evidence
from support.published_profiles import qr, said

from autotune.errors import ProfileError
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.profiles.yaml_subset import MAX_BYTES
from autotune.share.publication import decode, encode, signature_name, signed_by, supersedes

NOW = "2030-01-01T00:00:00+00:00"


def renamed(data, host="a"):
    """The name that these bytes would have."""
    return f"{host}-{hashlib.sha256(data).hexdigest()}.json"


def refusal(data, name=None):
    with pytest.raises(ProfileError) as refused:
        decode(name or renamed(data), data)
    return refused.value.reason


def changed(**fields):
    """The bytes of a publication with some fields exchanged."""
    return json.dumps(json.loads(encode(said("a"))[1]) | fields).encode()


def test_what_was_encoded_is_decoded_to_the_same_profile():
    made = said("a", make_entry("log", choice={"workers": 2, "chunk": 1000}, n=10**6), qr(2, safe=(1, 2)))
    assert decode(*encode(made)).profile == made


def test_equal_profiles_have_one_name_and_one_content():
    assert encode(said("a")) == encode(said("a"))


def test_what_only_a_merge_can_know_is_neither_published_nor_believed():
    boast = said("a", with_evidence(qr(), hosts=1000, signer="root", contested=True))
    assert encode(boast) == encode(said("a"))
    data = changed()
    loud = json.loads(data)
    loud["operations"]["qr"]["float64"][0]["evidence"] |= {"hosts": 1000, "signer": "root"}
    file = decode(renamed(json.dumps(loud).encode()), json.dumps(loud).encode())
    assert file.profile == said("a")


def test_a_merged_profile_cannot_be_published():
    with pytest.raises(ProfileError, match="which host measured it"):
        encode(profile(qr(), host=None))


@pytest.mark.parametrize("host", ["../a", "a/b", "", ".hidden", "a" * 65, "a\n"])
def test_a_host_with_path_parts_cannot_publish(host):
    with pytest.raises(ProfileError, match="cannot be part of a file's name"):
        encode(said(host))


def test_a_profile_without_any_measurement_is_not_published():
    nothing = Entry(operation=Operation(name="qr"), status=Status.DEFAULT_KEPT, reason="budget")
    with pytest.raises(ProfileError, match="no measurement"):
        encode(said("a", nothing))


def test_one_flipped_byte_is_noticed():
    name, data = encode(said("a"))
    flipped = data.replace(b"2.0", b"3.0", 1)
    assert refusal(flipped, name) == "its bytes are not those that its name stands for: torn, or changed."


def test_half_a_file_is_noticed():
    name, data = encode(said("a"))
    assert "torn" in refusal(data[:-10], name)


def test_a_file_of_another_host_under_this_host_s_name_is_refused():
    _, data = encode(said("b"))
    assert refusal(data) == "it was measured by b, and published as another's."


def test_a_future_schema_is_refused_with_what_to_do():
    assert "update this one" in refusal(changed(schema=3))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"schema": 1, "schema": 1}', "a key stands twice"),
        (b'{"schema": NaN}', "NaN is not a number"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b'{"schema": "' + b"x" * 513 + b'"}', "a text is longer than"),
        (b"[" * 100_000, "nested too deep"),
        (b"\xff\xfe", "not JSON"),
        (b"{}", "schema: it is missing"),
        (b"[]", "expected a mapping"),
        (b" " * (MAX_BYTES + 1), "larger than 8 MiB"),
        (b"schema: &a [*a]", "not JSON"),
    ],
)
def test_hostile_bytes_are_refused_with_a_reason(data, reason):
    assert reason in refusal(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_is_raised(data):
    refusal(data)


@given(st.text(max_size=120))
def test_no_name_leads_out_of_the_folder(name):
    with pytest.raises(ProfileError):
        decode(name, b"{}")
    assert signed_by(name) is None or "/" not in name


def test_a_signature_s_name_says_what_it_signs_and_whose_it_is():
    name, _ = encode(said("a"))
    assert signed_by(signature_name(name, "0123456789abcdef")) == (name, "0123456789abcdef")


def test_a_later_word_on_everything_supersedes():
    old, new = said("a", created="2026-01-01"), said("a", qr(2), qr(2, n=200), created="2026-01-02")
    assert supersedes(new, old, NOW)
    assert not supersedes(old, new, NOW)


def test_nothing_that_only_the_older_one_says_is_superseded():
    old, new = said("a", qr(), qr(n=200), created="2026-01-01"), said("a", created="2026-01-02")
    assert not supersedes(new, old, NOW)


def test_noise_supersedes_no_proof():
    noisy = replace(qr(0), status=Status.NOISY)
    assert not supersedes(said("a", noisy, created="2026-01-02"), said("a", created="2026-01-01"), NOW)


def test_what_a_wrong_clock_dated_into_the_future_is_superseded():
    assert supersedes(said("a", qr(2), created="2026-01-02"), said("a", created="2099-01-01"), NOW)


def test_another_key_supersedes_nothing():
    old = said("a", created="2026-01-01")
    assert not supersedes(replace(said("a"), key=replace(old.key, usable_cpus=3)), old, NOW)
