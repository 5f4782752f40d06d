"""Every sentence of the command line can be said, is one that people can read, and reaches them."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.profile_builders import alone, make_entry, of_this_machine

from autotune.cli import fitting_profile, messages
from autotune.cli.program import program
from autotune.profiles import profile_files

SENTENCES = {
    name: value
    for name, value in vars(messages).items()
    if name.isupper() and isinstance(value, str) and not name.startswith("_")
}
NEW = {
    messages.unsaid: (("No space left",), "autotune: the output could not be written (No space left)."),
    messages.how_to_see: (
        ("autotune",),
        "See it in pictures, in a browser: autotune report --html report.html",
    ),
    messages.not_written: (("x.html", "no space"), "x.html could not be written (no space)."),
    messages.report_written: (("x.html",), "The report is in x.html: open it in a browser."),
    messages.exists_already: (("x.log",), "x.log exists already: name a new file."),
    messages.history_written: (("x.log", 1), "x.log holds 1 study, one for every size."),
    messages.cannot_run: (("make", "it is gone"), "autotune run: make cannot be run: it is gone."),
    messages.tuned_together: (("einsum", "matmul"), "einsum is tuned as matmul, work of the same shape"),
    messages.numpy_and_python: ((None, None), "NumPy not found, Python with a GIL"),
}
SCRIPTS = str(Path(sys.executable).parent)


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_every_fixed_sentence_ends_as_a_sentence_and_is_printable(name):
    text = SENTENCES[name].replace("\b", "").replace("\n", "")
    assert text.isprintable()
    assert name in {"PROGRAM", "EXIT_CODES", "BY_TIME", "BY_METRIC", "NO_SUCH_COMMAND"} or text[-1] in ".:`"


@pytest.mark.parametrize("say", NEW, ids=lambda say: say.__name__)
def test_a_sentence_says_what_happened(say):
    words, begin = NEW[say]
    assert say(*words).startswith(begin)


def test_every_sentence_is_said_somewhere():
    folder = Path(messages.__file__).parent
    code = "\n".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    names = [*SENTENCES, *(name for name, _ in inspect.getmembers(messages, inspect.isfunction))]
    own = [name for name in names if getattr(messages, name, None) and not name.startswith("_")]
    assert [name for name in own if code.count(name) < 2] == []


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
    assert done.stderr == f"{messages.unsaid('No space left on device')}\n"


@pytest.mark.real
def test_a_shell_can_complete_verbs():
    done = subprocess.run(
        [sys.executable, "-m", "autotune"],
        env={
            **os.environ,
            "_AUTOTUNE_COMPLETE": "bash_complete",
            "COMP_WORDS": "autotune rep",
            "COMP_CWORD": "1",
        },
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
        (
            "bash",
            "",
            "COMP_WORDS=(autotune rep); COMP_CWORD=1; _autotune_completion autotune; echo ${COMPREPLY[@]}",
        ),
        ("zsh", "autoload -Uz compinit; compinit -u -D;", "echo $_comps[autotune]"),
    ],
)
def test_the_documented_line_sets_completion_up(shell, before, after):
    """As docs/shell.md has it. In zsh the completing itself needs a line editor; that it is registered is enough."""
    found = shutil.which(shell)
    if found is None or shutil.which("autotune", path=SCRIPTS) is None:
        pytest.skip(f"needs {shell} and an installed autotune")
    line = f'{before} eval "$(_AUTOTUNE_COMPLETE={shell}_source autotune)"; {after}'
    done = subprocess.run(
        [found, "-c", line],
        env={**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["report" if shell == "bash" else "_autotune_completion"]


@pytest.mark.real
def test_showing_a_profile_a_second_time_does_not_load_numpy(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    folder = tmp_path / "config/autotune/profiles"
    profile_files.write(
        of_this_machine(make_entry("qr", choice={"blas_threads": 1}, m=8, n=8)), folder / "a.yaml"
    )
    code = (
        "import json, sys; from autotune.cli.fitting_profile import applying; found = applying(); "
        "print(json.dumps([str(found), 'numpy' in sys.modules]))"
    )
    said = [
        json.loads(
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120).stdout
        )
        for _ in range(2)
    ]
    assert said == [[str(folder / "a.yaml"), True], [str(folder / "a.yaml"), False]]


def test_a_memo_that_is_no_memo_is_not_believed(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    memo = tmp_path / "cache/autotune/applying.json"
    memo.parent.mkdir(parents=True)
    for text in ("", "[]", '{"circumstances": 1}', "{"):
        memo.write_text(text)
        assert fitting_profile.applying() is None
