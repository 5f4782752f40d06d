"""Programs in processes of their own."""

import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path


def printed(
    code: str,
    *options: str,
    command: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Return the output of a program, which has to end well. `options` are the interpreter's, `command` is what starts it.

    The limit is for what hangs: a busy machine may take its time.
    """
    done = subprocess.run(
        [*command, sys.executable, *options, "-c", textwrap.dedent(code)],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
