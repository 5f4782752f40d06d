"""The check of prose: it finds what it is for. scripts/check has the repository pass it."""

import check_prose
import pytest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"""What it does."""', "a docstring that begins with What"),
        ('def f():\n    """How to do it."""', "a docstring that begins with How"),
        ("x = 1  # asked in vain", "the word 'in vain'"),
        ("def test_nobody_is_asked(): ...", "the word 'nobody'"),
        ("one = 1", "the name 'one'"),
        ("[found.path for found in files]", "the name 'found'"),
        ("def usable(known=()): ...", "the name 'known'"),
        ("lambda ours: ours", "the name 'ours'"),
        ("try: ...\nexcept OSError as told: ...", "the name 'told'"),
        ("if (mine := 1): ...", "the name 'mine'"),
        ("def asked(): ...", "the name 'asked'"),
        ("# Keep at most so many bytes", "the word 'so many'"),
        ("# Keep at most so\n    # many bytes", "the word 'so many'"),
        ('print("at most so "\n      "many bytes")', "the word 'so many'"),
    ],
)
def test_an_offence_is_found(text, reason):
    assert [message for _, message in check_prose.offences("a.py", text)] == [reason]


def test_a_function_of_the_package_is_no_participle():
    text = "def _settled(): ...\ndef tuned(): ...\ndef is_settled(): ...\ndef seed(): ...\ndef lost(): ..."
    assert list(check_prose.offences("src/a.py", text)) == [
        (1, "the function '_settled', a bare participle"),
        (5, "the function 'lost', a bare participle"),
    ]
    assert list(check_prose.offences("tests/a.py", text)) == []


def test_plain_sentences_pass():
    text = '"""Return the path. Whatever follows, besides this, is unchanged."""\nwhat = one("Where is it?", known=1)\n'
    assert list(check_prose.offences("a.py", text)) == []
