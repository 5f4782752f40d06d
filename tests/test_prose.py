"""The check of prose: it finds what it is for, and the repository passes it."""

import check_prose
import pytest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"""What it does."""', "a docstring that begins with What"),
        ('def f():\n    """How to do it."""', "a docstring that begins with How"),
        ("x = 1  # asked in vain", "the word 'in vain'"),
        ("def test_nobody_is_asked(): ...", "the word 'nobody'"),
    ],
)
def test_an_offence_is_found(text, reason):
    assert [found for _, found in check_prose.offences("a.py", text)] == [reason]


def test_plain_sentences_pass():
    text = '"""Return the path. Whatever follows, besides this, is unchanged."""\nwhat = "Where is it?"\n'
    assert list(check_prose.offences("a.py", text)) == []


def test_the_repository_passes():
    assert check_prose.main([]) == 0
