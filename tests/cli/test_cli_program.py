"""The command itself: its verbs, its help, its exit codes."""

import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from autotune import __version__
from autotune.cli import VERBS
from autotune.cli.program import program
from autotune.errors import BadSize, HostBusy, ProfileError, UnknownOperation, UnsupportedPlatform


@pytest.fixture
def verb(monkeypatch):
    """Puts a verb called `probe` into the command, which does what it is given."""

    def put(act):
        monkeypatch.setitem(VERBS, "probe", "Do as the test says.")
        monkeypatch.setitem(sys.modules, "autotune.cli.probe", SimpleNamespace(probe=click.command("probe")(act)))
        return CliRunner().invoke(program, ["probe"])

    return put


def raises(problem):
    def act():
        raise problem

    return act


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (UnknownOperation("svdd", ["svd"]), 2),
        (BadSize("n must be a number."), 2),
        (HostBusy("process 7"), 3),
        (UnsupportedPlatform("Not here."), 3),
        (ProfileError("is damaged", "x.yaml"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_kind_of_error_has_its_exit_code(verb, problem, code):
    assert verb(raises(problem)).exit_code == code


def test_an_error_is_said_on_standard_error_with_its_hint(verb):
    result = verb(raises(UnknownOperation("svdd", ["svd"])))
    assert (result.stdout, result.stderr) == ("", "autotune: There is no operation named 'svdd'. Did you mean svd?\n")


def test_an_error_cannot_act_on_the_terminal(verb):
    assert "\x1b" not in verb(raises(BadSize("bad \x1b[2J size"))).stderr


def test_an_unexpected_exception_keeps_its_traceback(verb):
    result = verb(raises(ZeroDivisionError("a bug")))
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (130, 130)])
def test_a_verb_returns_its_exit_code(verb, returned, code):
    assert verb(lambda: returned).exit_code == code


def test_the_version_is_the_package_version():
    assert CliRunner().invoke(program, ["--version"]).stdout == f"autotune, version {__version__}\n"


def test_help_lists_every_verb_and_the_exit_codes():
    text = CliRunner().invoke(program, ["--help"]).stdout
    assert all(verb in text for verb in VERBS)
    assert "130  interrupted" in text


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("calibrat", "There is no verb 'calibrat'. Did you mean calibrate?"),
        ("xyzzy", "There is no verb 'xyzzy'. `autotune --help` lists all."),
    ],
)
def test_an_unknown_verb_is_wrong_usage_answered_with_the_one_that_was_meant(verb, said):
    result = CliRunner().invoke(program, [verb])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, f"Error: {said}")


@pytest.mark.parametrize("name", sorted(VERBS))
def test_the_help_of_every_verb_has_two_examples_on_lines_of_their_own(name):
    help_text = CliRunner().invoke(program, [name, "--help"]).stdout
    examples = help_text.partition("  Examples:\n")[2].split("\n\n")[0].splitlines()
    assert len(examples) >= 2
    assert sum(f"autotune {name}" in example for example in examples) >= 2


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_stands_in_a_file_of_its_name(name):
    assert isinstance(getattr(import_module(f"autotune.cli.{name}"), name), click.Command)


@pytest.mark.real
def test_help_loads_no_verb_and_nothing_heavy():
    code = """
import sys
from autotune.cli.program import program
program(["--help"], standalone_mode=False)
heavy = {"numpy", "optuna", "rich", "yaml", "scipy", "autotune.cli.calibrate"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_the_caller_has_closed_costs_the_output_and_not_the_exit_code(monkeypatch, verb, stream):
    monkeypatch.setattr(sys, stream, None)
    with pytest.raises(SystemExit) as left:
        program.main(["show", "--bogus"], prog_name="autotune")
    assert left.value.code == 2


@pytest.mark.real
def test_the_module_runs_as_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"autotune, version {__version__}\n"
