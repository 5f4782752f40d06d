"""YAML becomes plain values within bounds, or a ProfileError."""

import json
from contextlib import suppress

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from autotune.errors import ProfileError
from autotune.profiles.yaml_subset import MAX_BYTES, MAX_DEPTH, MAX_NODES, parse


def bomb_of_merge_keys(levels):
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1_000", "1_000"),
        ("no", "no"),
        ("12:30:00", "12:30:00"),
        ("2026-01-02", "2026-01-02"),
        ("0x10", "0x10"),
        ("010", "010"),
        ("+5", "+5"),
        (".inf", ".inf"),
        ("1.10", 1.10),
        ('"1.10"', "1.10"),
        ("-3", -3),
        ("1.0e-05", 1e-05),
        ("true", True),
        ("~", None),
        ('"true"', "true"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("", None),
        ("a: {b: [{c: 1}, 2]}\nd: 3", {"a": {"b": [{"c": 1}, 2]}, "d": 3}),
    ],
)
def test_only_what_json_knows_is_more_than_text(text, expected):
    assert parse(text.encode()) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bomb_of_merge_keys(12), "anchor"),
        (b"a: *b", "alias"),
        (b"<<: {a: 1}", "merge key"),
        (b"!!python/object:os.system {}", "tag"),
        (b"a: !!int 3", "tag"),
        (b"{a: 1, a: 2}", "stands twice"),
        (b"[1]: 2", "key must be text"),
        (b"? {a: 1}\n: 2", "key must be text"),
        (b"[" * 100_000, "nested more than 16"),
        (b"- " * 1000 + b"1", "nested more than 16"),
        (b"a: " + b"9" * 5000, "longer than 512"),
        (b"a: " + b"9" * 400, "more than 20 digits"),
        (b"a: " + b"x" * 513, "longer than 512"),
        (b"x" * 513 + b": 1", "longer than 512"),
        (b"a: \0", "NUL"),
        (b"a: \xff", "UTF-8"),
        (b"a: \x07", "not YAML"),
        (b"a: [1", "not YAML"),
        (b"a: 1\n---\nb: 2", "second document"),
        (b"#" * (MAX_BYTES + 1), "larger than 8 MiB"),
        (b"[" + b"1," * (MAX_NODES + 1) + b"1]", "values"),
    ],
    ids=range(21),
)
def test_what_is_out_of_bounds_is_refused_with_a_reason(data, reason):
    with pytest.raises(ProfileError, match=reason):
        parse(data)


@pytest.mark.parametrize("escape", [r"\Uffffffff", r"\U00110000"])
def test_an_escape_of_no_character_is_refused_without_libyaml_too(escape, monkeypatch):
    data = f'a: "{escape}"'.encode()
    with pytest.raises(ProfileError, match="it is not YAML"):
        parse(data)
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    with pytest.raises(ProfileError, match="an escape stands for no character"):
        parse(data)


def test_a_reason_names_the_line():
    with pytest.raises(ProfileError, match="line 3"):
        parse(b"a: 1\nb: 2\nc: &anchor 3\n")


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_profile_error(data):
    with suppress(ProfileError):
        parse(data)


def depth(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)


@given(
    st.recursive(
        PLAIN | TEXT,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_json_is_read_as_json(value):
    """JSON is YAML, so what any JSON writer makes of plain values must come back."""
    assume(depth(value) <= MAX_DEPTH)
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value
