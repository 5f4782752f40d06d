"""Properties of every message: printable, whole sentences, with the facts that it is given and the next command."""

import inspect
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.profile_builders import make_entry

import autotune
from autotune.cli import messages
from autotune.cli.program import program
from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration
from autotune.search.verification import Check, Standing

TUNED = make_entry("svd", choice={"blas_threads": 1}, speedup=2, m=8, n=8)
SAMPLES = {
    "address": "/nfs/autotune",
    "alias": "einsum",
    "output": "a.yaml",
    "checks": [
        Check(entry=TUNED, standing=Standing.HOLDS, reason="Proved."),
        Check(entry=TUNED, standing=Standing.SLOWER, reason="Slower."),
    ],
    "command": "make",
    "configuration": Configuration(blas_threads=1),
    "count": 7,
    "budget": "9m",
    "counts": {"tuned": 2},
    "cpu_ratio": 0.5,
    "cpus": 8,
    "dtype": "complex128",
    "effect": "They are set to 3.",
    "entry": TUNED,
    "sizes": ["n=500"],
    "folder": "intel-1",
    "following": "systemctl start a",
    "hosts": 2,
    "layer": "user",
    "limit": Limit.QUOTA,
    "measured": ["svd n=8"],
    "mirror": SimpleNamespace(
        key=SimpleNamespace(slug="intel-1"), entries=4, hosts=2, decided=4, confirmed=3, contested=1
    ),
    "name": "command.sim",
    "members": ["loop_exp", "loop_power"],
    "names": ["qr", "svd"],
    "operation": "svd n=8",
    "path": "p.yaml",
    "pid": 7,
    "place": 1,
    "problem": "The store is away.",
    "profiles": 3,
    "brought": 1,
    "chosen": 2,
    "tuned": 2,
    "profile": "p.yaml",
    "quota": 0.5,
    "reason": "It is gone.",
    "row": "matmul",
    "seconds": 65.0,
    "set_aside": "p.yaml.refused",
    "speedup": 2.0,
    "span": "2h",
    "status": 3,
    "threads": 3,
    "total": 5,
    "user_limit": None,
    "why": "no space",
    "words": ["svd", "n=9"],
}
SPECIAL = {
    "daemon_installed": {"files": ["3"]},
    "daemon_ordered": {"operations": ["svd n=8"]},
    "does_not_fit": {"needed": 2**50, "allowed": 2**32},
    "not_in_catalogue": {"nearest": ["svd", "std"]},
    "nothing_to_verify": {"choices": {"qr": 2}},
    "not_measurable": {"call": "svd longdouble n=8"},
    "pairs_foreseen": {"first_seconds": 2.0, "pairs": 5, "fitting": 2},
    "program_operations": {"names": 2, "sizes": 5, "share": 0.5, "budget": 120.0},
    "too_few_pairs": {"options": "--pairs 3", "fewest": 3},
    "runs_follow": {"pairs": 7},
    "runs_too_long": {"pairs": 7, "needed": 140.0, "allowed": 65.0},
    "verifying_runs": {"pairs": 7},
}
FLAGS = {"new", "newly_signed", "gone", "busy", "is_searched", "calls", "learns"}
PARTS = {"entries_undecided", "for_cpus", "how_to_see", "limit_text"}
"""Headings and parts of sentences."""
FUNCTIONS = {
    name: function
    for name, function in inspect.getmembers(messages, inspect.isfunction)
    if function.__module__ == messages.__name__ and not name.startswith("_")
}
CONSTANTS = {name: value for name, value in vars(messages).items() if name.isupper() and isinstance(value, str)}


def say(name, **instead):
    """A message with a sample for each of its parameters."""
    values = SAMPLES | SPECIAL.get(name, {}) | instead
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    return FUNCTIONS[name](
        *(values[parameter.name] for parameter in parameters if parameter not in named),
        **{parameter.name: values.get(parameter.name, True) for parameter in named},
    )


def is_sentence(text):
    return text[-1] in ".?:`" and not text.endswith("..")


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_message_is_one_printable_line(name):
    assert say(name).isprintable()
    assert "  " not in say(name)


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - PARTS))
def test_a_message_is_a_whole_sentence(name):
    assert is_sentence(say(name))


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_a_fixed_message_is_a_printable_sentence(name):
    assert CONSTANTS[name].isprintable()
    assert is_sentence(CONSTANTS[name])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_message_contains_every_name_path_and_number_that_it_is_given(name):
    """Of numbers that a message rounds or formats, and of counts of a table, the unit's own tests speak."""
    facts = {"address", "alias", "output", "folder", "path", "profile", "row", "set_aside"}
    text = say(name, is_searched=False)
    given = inspect.signature(FUNCTIONS[name]).parameters.keys() & facts
    assert [each for each in given if SAMPLES[each] not in text] == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_flag_changes_the_message(name):
    flags = inspect.signature(FUNCTIONS[name]).parameters.keys() & FLAGS
    assert [flag for flag in flags if say(name) == say(name, **{flag: False}) and flag != "newly_signed"] == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_one_of_something_is_not_plural(name):
    singles = dict.fromkeys(("count", "hosts", "cpus", "threads", "profiles"), 1)
    assert not re.search(
        r"\b1 (entries|files|hosts|CPUs|threads|publications|studies|operations|profiles)\b",
        say(name, **singles | SPECIAL.get(name, {})),
    )


def test_every_command_that_a_text_of_the_package_names_exists():
    texts = (path.read_text("utf-8") for path in Path(autotune.__file__).parent.rglob("*.py"))
    named = {words for text in texts for words in re.findall(r"`autotune ([a-z]+(?: [a-z]+)?)", text)}
    assert len(named) > 20
    for verb, _, rest in (words.partition(" ") for words in named):
        command = program.get_command(None, verb)
        assert command is not None, verb
        assert not rest or not hasattr(command, "commands") or rest in command.commands


def test_a_verdict_without_bad_news_names_no_command():
    assert messages.verdict([SAMPLES["checks"][0]]) == "1 holds."
    assert "--budget" in messages.verdict([replace(SAMPLES["checks"][0], standing=Standing.OPEN)])


def test_every_message_is_used():
    code = "\n".join(path.read_text("utf-8") for path in Path(messages.__file__).parent.glob("*.py"))
    assert [name for name in (*FUNCTIONS, *CONSTANTS) if len(re.findall(rf"\b{name}\b", code)) < 2] == []
