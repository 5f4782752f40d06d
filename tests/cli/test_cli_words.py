"""Messages reach people: on a full disk, in a shell's completion."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autotune.cli import messages
from autotune.cli.program import program

SCRIPTS = str(Path(sys.executable).parent)


def test_an_alias_says_what_is_measured_for_it():
    result = CliRunner().invoke(program, ["calibrate", "einsum", "--budget", "nothing"])
    assert result.stderr.splitlines()[0] == messages.tuned_together("einsum", "matmul")


@pytest.mark.real
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["doctor", "--json"]])
def test_output_that_cannot_be_written_is_a_sentence_and_no_traceback(words):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "autotune", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "could not be written (No space left on device)" in line


@pytest.mark.real
def test_a_shell_can_complete_verbs():
    done = subprocess.run(
        [sys.executable, "-m", "autotune"],
        env={**os.environ, "_AUTOTUNE_COMPLETE": "bash_complete", "COMP_WORDS": "autotune rep", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["plain,report"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("shell", "before", "after"),
    [
        ("bash", "", "COMP_WORDS=(autotune rep); COMP_CWORD=1; _autotune_completion autotune; echo ${COMPREPLY[@]}"),
        ("zsh", "autoload -Uz compinit; compinit -u -D;", "echo $_comps[autotune]"),
    ],
)
def test_the_documented_line_sets_completion_up(shell, before, after):
    """As docs/shell.md has it. In zsh the completing itself needs a line editor; that it is registered is enough."""
    executable = shutil.which(shell)
    if executable is None or shutil.which("autotune", path=SCRIPTS) is None:
        pytest.skip(f"needs {shell} and an installed autotune")
    line = f'{before} eval "$(_AUTOTUNE_COMPLETE={shell}_source autotune)"; {after}'
    done = subprocess.run(
        [executable, "-c", line],
        env={**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["report" if shell == "bash" else "_autotune_completion"]
