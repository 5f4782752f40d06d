"""The IPython extension: `%load_ext autotune` adds the magics `%autotune` and `%%autotune`."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.cli import VERBS
from autotune.errors import UsageError

RUN_A_PROGRAM = ("advise", "calibrate", "compare", "run", "tune")
"""Verbs that take a command, which the cell's code becomes."""
AROUND_PYTHON = ("%%time", "%%timeit", "%%capture", "%%prun")
"""Magics whose cells are Python; the cells of others are another language, or programs of their own."""


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to a shell. IPython calls it for `%load_ext autotune`."""
    # IPython's own error is one line, not a traceback
    refusal = getattr(sys.modules.get("IPython.core.error"), "UsageError", UsageError)

    def magic(line: str, cell: str | None = None) -> None:
        """Run a verb, such as `%autotune explain svd`, or on the code of a cell: `%%autotune calibrate`.

        `%%autotune VERB [OPTION]...` runs the verb on the code of the cell, as a program in a fresh process that knows
        nothing of the other cells. `%autotune advise` does so with all cells that were run so far, which are run again.
        """
        try:
            words = shlex.split(line)
        except ValueError as problem:  # a quotation without its end
            raise refusal(f"%autotune cannot read {line!r}: {problem}.") from None
        if not words or words[0] not in VERBS:
            raise refusal(f"%autotune needs one of these verbs: {', '.join(VERBS)}.")
        if cell is not None and words[0] not in RUN_A_PROGRAM:
            raise refusal(f"%%autotune runs a cell with one of these verbs: {', '.join(RUN_A_PROGRAM)}.")
        if cell is None and words == ["advise"]:
            # as typed: In holds magics as calls of IPython
            earlier = shell.history_manager.input_hist_raw[:-1]
            cell = "\n".join(filter(None, map(plain_python, earlier)))
        if cell is None:
            run_verb(words)
        else:
            run_on_program(words, cell)
            if words[0] == "advise":
                print("In this notebook `%%autotune VERB` at the head of a cell stands for `autotune VERB -- CMD`.")
        if words[0] == "calibrate":
            from autotune.runtime.applied import refresh

            refresh()

    shell.register_magic_function(magic, "line_cell", "autotune")


def plain_python(code: str) -> str:
    """Return a cell's code without the lines that only IPython understands: magics, shell commands and questions."""
    if code.startswith("%%") and code.split(maxsplit=1)[0] not in AROUND_PYTHON:
        return ""
    lines = (line for line in code.splitlines() if not line.lstrip().startswith(("%", "!", "?")))
    return "\n".join(line for line in lines if not line.rstrip().endswith("?")).strip("\n")


def run_on_program(words: Sequence[str], code: str) -> None:
    """Run a verb on code as a program of its own."""
    with tempfile.TemporaryDirectory(prefix="autotune-cell-") as folder:
        program = Path(folder) / "cell.py"
        program.write_text(code, "utf-8")
        run_verb([*words, "--", sys.executable, str(program)])


def run_verb(words: Sequence[str]) -> None:
    """Run a verb in a separate process, and show its output in the cell as it arrives."""
    command = [sys.executable, "-m", "autotune", *words]
    environment = {**os.environ, "COLUMNS": "100"}
    with subprocess.Popen(  # noqa: S603 - this Python, with words that the user typed
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="")
        except KeyboardInterrupt:  # the notebook's stop button: finished work is kept
            process.send_signal(signal.SIGINT)
            print(process.stdout.read(), end="")
    if process.returncode:
        print(f"autotune {words[0]} ended with status {process.returncode}.")
