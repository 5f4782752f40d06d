"""Properties of every message: printable, whole sentences, with the facts that it is given and the next command."""

import inspect
import re
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.profile_builders import make_entry

import autotune.cli
from autotune.cli import command_messages, profile_messages
from autotune.cli.program import program
from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration
from autotune.model.entry import Alternative
from autotune.model.measurement import Failure, FailureKind
from autotune.recording.program_gain import VerifiedGain
from autotune.search.events import Confirming, Exploring
from autotune.search.verification import Check, Standing

TUNED = make_entry("svd", choice={"blas_threads": 1}, speedup=2, m=8, n=8)
EXPLORING = Exploring(elapsed=5.0, remaining=60.0, name="svd", dtype="float32", index=1, total=2)
CONFIRMING = Confirming(elapsed=5.0, remaining=60.0, decided=1, undecided=2, seconds_left=30.0)
GAINED = VerifiedGain(predicted=2.0, predicted_low=1.8, predicted_high=2.2, measured=2.0, interval=(1.8, 2.2), pairs=7)
SAMPLES = {
    "address": "/nfs/autotune",
    "alias": "einsum",
    "output": "a.yaml",
    "best": "best so far",
    "blas": "openblas 0.3",
    "by": command_messages.BY_TIME,
    "checks": [
        Check(entry=TUNED, standing=Standing.HOLDS, reason="Proved."),
        Check(entry=TUNED, standing=Standing.SLOWER, reason="Slower."),
    ],
    "command": "make",
    "configuration": Configuration(blas_threads=1),
    "corners": [Alternative(choice=Configuration(blas_threads=1, workers=2), speedup=2.0)],
    "count": 7,
    "budget": "9m",
    "counts": {"tuned": 2},
    "cpus": 8,
    "created": "2026-01-02",
    "doing": "tried x",
    "dtype": "complex128",
    "effort": "quick",
    "elapsed": 65.0,
    "entries": 4,
    "entry": TUNED,
    "event": EXPLORING,
    "expected_wrong": 0.5,
    "exponent": 23,
    "failure": Failure(kind=FailureKind.CRASH, reason="Signal 11."),
    "files": 3,
    "sizes": ["n=500"],
    "folder": "intel-1",
    "following": "systemctl start a",
    "host": "node7",
    "hosts": 2,
    "instead": "each node has its own.",
    "job": "search of svd",
    "jobs": ["a: self-test"],
    "kind": "command",
    "layer": "user",
    "limit": Limit.QUOTA,
    "measured": ["svd n=8"],
    "mirror": SimpleNamespace(
        key=SimpleNamespace(slug="intel-1"), entries=4, hosts=2, decided=4, confirmed=3, contested=1
    ),
    "most": 9,
    "name": "a.json",
    "named": "svd n=9",
    "members": ["loop_exp", "loop_power"],
    "names": ["qr", "svd"],
    "nearest": "calibrate",
    "numpy": "2.4",
    "operation": "svd n=8",
    "option": "--chunk",
    "path": "p.yaml",
    "pid": 7,
    "place": 1,
    "problem": "The store is away.",
    "profiles": 3,
    "brought": 1,
    "chosen": 2,
    "tuned": 2,
    "profile": "p.yaml",
    "python": "gil",
    "quota": 0.5,
    "reason": "It is gone.",
    "refusal": "No compiler was there.",
    "remaining": 60.0,
    "resolution": 0.01,
    "row": "matmul",
    "seconds": 65.0,
    "signer": "ops",
    "slug": "intel-1",
    "source": "config.yaml",
    "speedup": 2.0,
    "span": "2h",
    "standing": (5, 2, 1),
    "text": "It is so.",
    "threads": 3,
    "total": 5,
    "unit": "svd",
    "user_limit": None,
    "usable_cpus": 8,
    "value": 12,
    "verb": "calibrat",
    "version": "0.1.0",
    "where": "[1/2] exploring svd",
    "why": "no space",
    "words": ["svd", "n=9"],
    "worker": "tcp://w1",
}
SPECIAL = {
    "daemon_installed": {"files": ["3"]},
    "confirmation_begins": {"event": CONFIRMING},
    "confirming": {"event": CONFIRMING},
    "compared_in_force": {"calls": 7, "tuned": 5, "loops": 3},
    "compared": {"interval": (1.8, 2.2), "pairs": 7, "speedup": 2.0},
    "compared_failures": {"status": -9},
    "not_measurable": {"call": "svd longdouble n=8"},
    "program_gain": {"gained": GAINED},
    "full_capacity": {"share": 0.56},
    "program_operations": {"share": 0.5},
    "recorded_run_failed": {"command": ["make"], "status": 7},
    "recording_run": {"command": ["make"]},
    "runs_too_long": {"pairs": 7, "needed": 140.0, "allowed": 65.0},
    "verifying_runs": {"pairs": 7},
    "wait_source": {"variable": "OPENBLAS_THREAD_TIMEOUT", "is_default": False},
}
FLAGS = {"new", "newly_signed", "gone", "busy", "is_searched", "calls", "learns"}
LINES = {
    *("best", "best_so_far", "cluster_class", "cluster_now", "confirming", "corners", "cpu_limit", "decided"),
    *(
        "error",
        "for_cpus",
        "how_to_see",
        "libraries",
        "listed_class",
        "listed_publication",
        "machine",
        "made",
    ),
    *("no_such_verb", "now", "numpy_and_python", "profile_at", "risk", "setting", "explored", "exploring"),
    *("trying", "confirmation_begins", "undecided", "wait_source"),
}
"""Headings and lines of progress, which are not sentences."""
ANSWERS = {"daemon_status", "daemon_queue"}
"""Several lines made of a daemon's answer: test_cli_daemon has them."""
FOLDER = Path(autotune.cli.__file__).parent
MODULES = [import_module(f"autotune.cli.{path.stem}") for path in sorted(FOLDER.glob("*_messages.py"))]
DEFINED = [
    (name, function)
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_") and name not in ANSWERS
]
FUNCTIONS = dict(DEFINED)
CONSTANTS = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str) and name not in {"PROGRAM", "EXIT_CODES", "REPORT"}
}
PARTS = {"BY_TIME", "BY_METRIC", "NO_SUCH_COMMAND", "THREADS_OF_YOURS"}
"""Parts of sentences."""


def say(name, **instead):
    """A message with a sample for each of its parameters."""
    values = SAMPLES | SPECIAL.get(name, {}) | instead
    return FUNCTIONS[name](
        *(
            values[parameter.name]
            for parameter in inspect.signature(FUNCTIONS[name]).parameters.values()
            if parameter.kind is not parameter.KEYWORD_ONLY
        ),
        **{
            parameter.name: values.get(parameter.name, True)
            for parameter in inspect.signature(FUNCTIONS[name]).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        },
    )


def is_sentence(text):
    return text[-1] in ".?:`" and not text.endswith("..")


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_message_is_one_printable_line(name):
    text = say(name).removeprefix("\n")
    assert text.isprintable()
    assert "  " not in text.strip() or name in {
        "listed_class",
        "listed_publication",
        "explored",
        "confirmation_begins",
    }


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - LINES))
def test_a_message_is_a_whole_sentence(name):
    assert is_sentence(say(name))


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_a_fixed_message_is_a_printable_sentence(name):
    assert CONSTANTS[name].isprintable()
    assert name in PARTS or is_sentence(CONSTANTS[name])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_message_contains_every_name_path_and_number_that_it_is_given(name):
    """Of numbers that a message rounds or formats, and of counts of a table, the unit's own tests speak."""
    given = inspect.signature(FUNCTIONS[name]).parameters.keys() & {
        *("address", "alias", "output", "folder", "host", "path", "profile", "worker", "files"),
        *("entries", "source", "nearest", "named", "row", "signer", "version"),
    }
    text = say(name, is_searched=False)
    assert [each for each in given if str(SAMPLES[each]) not in text] == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_flag_changes_the_message(name):
    flags = inspect.signature(FUNCTIONS[name]).parameters.keys() & FLAGS
    assert [flag for flag in flags if say(name) == say(name, **{flag: False}) and flag != "newly_signed"] == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_one_of_something_is_not_plural(name):
    ones = dict.fromkeys(("count", "entries", "files", "hosts", "cpus", "in_force", "tested", "threads", "copies"), 1)
    assert not re.search(
        r"\b1 (entries|files|hosts|CPUs|threads|publications|studies|operations)\b",
        say(name, **ones | SPECIAL.get(name, {})),
    )


@pytest.mark.parametrize("name", sorted({*CONSTANTS, *FUNCTIONS}))
def test_every_command_that_a_message_names_exists(name):
    text = CONSTANTS[name] if name in CONSTANTS else say(name)
    for words in re.findall(r"`autotune ([a-z]+(?: [a-z]+)?)", text):
        verb, _, rest = words.partition(" ")
        command = program.get_command(None, verb)
        assert command is not None, verb
        if hasattr(command, "commands") and rest:
            assert rest in command.commands


def test_a_verdict_without_bad_news_names_no_command():
    assert profile_messages.verdict([SAMPLES["checks"][0]]) == "1 holds."
    assert "--budget" in profile_messages.verdict([replace(SAMPLES["checks"][0], standing=Standing.OPEN)])


def test_every_message_is_used():
    code = "\n".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    assert [name for name in (*FUNCTIONS, *ANSWERS, *CONSTANTS) if code.count(name) < 2] == []


def test_a_message_is_defined_once():
    assert {name: count for name, count in Counter(name for name, _ in DEFINED).items() if count > 1} == {}
