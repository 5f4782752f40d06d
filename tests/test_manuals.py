"""Manual pages and completions are made from the verbs' help, and come with the wheel."""

import re
from importlib import metadata

import pytest
from write_manuals import COMPLETIONS, commands, completion, manual, root

MACROS = {".TH", ".SH", ".TP", ".PP", ".nf", ".fi"}


def pages():
    contexts = dict(commands("autotune", root()))
    return {name: manual(name, context, list(contexts)) for name, context in contexts.items()}


def test_every_verb_has_a_page_with_its_options_and_two_examples():
    made = pages()
    assert {"autotune", "autotune-show", "autotune-store-pull", "autotune-daemon-status"} <= set(made)
    for name, text in made.items():
        sections = set(re.findall(r'^\.SH "?([A-Z ]+)', text, re.MULTILINE))
        assert {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"} <= sections, name
        if name != "autotune":
            examples = re.search(r'^\.SH "EXAMPLES"\n(.*?)^\.(?:SH|fi)', text, re.MULTILINE | re.DOTALL)
            assert examples[1].count("autotune") >= 2, name


def test_no_word_of_a_page_is_taken_for_a_macro():
    words = {line.split()[0] for text in pages().values() for line in text.splitlines() if line[:1] in {".", "'"}}
    assert words <= MACROS


def test_a_group_lists_its_verbs_and_a_verb_its_group():
    made = pages()
    assert "autotune\\-store\\-pull\\fP(1)" in made["autotune-store"]
    assert "\\fBautotune\\-store\\fP(1)" in made["autotune-store-pull"]


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_a_completion_asks_the_command(shell):
    assert "_AUTOTUNE_COMPLETE" in completion(shell)
    assert "autotune" in completion(shell)


def test_the_installed_package_brings_pages_and_completions():
    try:
        files = {str(file) for file in metadata.files("numpy-autotune") or ()}
    except metadata.PackageNotFoundError:
        pytest.skip("the sources are tested, not the wheel")
    ends = ("man/man1/autotune.1", "man/man1/autotune-store-pull.1", *COMPLETIONS.values())
    assert [end for end in ends if not any(file.endswith(end) for file in files)] == []
