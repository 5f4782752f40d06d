"""Ctrl-C, and signals that stand for it, in the middle of real work."""

import os
import signal
import subprocess
import sys

import pytest
from support.processes import wait_until

from autotune.cli import messages

COMMAND = [sys.executable, "-m", "autotune", "calibrate"]


@pytest.fixture
def environ(tmp_path):
    folders = {f"XDG_{name}_HOME": str(tmp_path) for name in ("CONFIG", "STATE", "CACHE")}
    return {**os.environ, **folders, "AUTOTUNE_STATE_DIR": str(tmp_path / "state")}


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_an_interrupted_calibration_is_saved_and_goes_on_without_repeating_a_trial(tmp_path, environ):
    """It ends with 130, leaves no process behind, and --resume alone brings it to its end."""
    log = tmp_path / "calls"
    source = tmp_path / "simulate.py"
    source.write_text(
        f"import os, time\ndef step(*, n):\n    open({str(log)!r}, 'a').write(f'{{os.getpid()}}\\n')\n    time.sleep(n / 1e3)\n"
    )
    words = ["--workload", f"{source}:step", "n=5,20", "--budget", "8s"]
    process = subprocess.Popen(
        [*COMMAND, *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = ""
    while not line.startswith("[1/1]"):  # the self-test is over and measuring has begun
        line = process.stderr.readline()
        assert line, "the calibration ended before it began"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert messages.RESUME in said
    assert not list(alive(log))

    resumed = subprocess.run(
        [*COMMAND, "--resume"], env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert (resumed.returncode, "step n=20" in resumed.stdout) == (0, True)


def alive(log):
    """Trial processes that called the function and still run."""
    for pid in set(log.read_text().split()) if log.exists() else ():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            continue
        yield pid


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_signals_end_a_verb_as_ctrl_c_does(tmp_path, environ, name):
    """Batch systems and `docker stop` send SIGTERM: no process and no folder is left."""
    log, temporary, number = tmp_path / "pid", tmp_path / "temporary", getattr(signal, name)
    temporary.mkdir()
    code = f"import os, pathlib, time; pathlib.Path({str(log)!r}).write_text(str(os.getpid())); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-m", "autotune", "compare", "--", sys.executable, "-c", code],
        env={**environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - the tests may run under nohup
    )
    wait_until(lambda: log.exists() and log.read_text())
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "Interrupted.\n")
    assert not list(alive(log))
    assert not list(temporary.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_a_signal_that_is_ignored_as_under_nohup_stays_so():
    code = """
import signal, sys
from autotune.cli.program import main
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.argv[1:] = ["--version"]
try:
    main()
finally:
    print(signal.getsignal(signal.SIGHUP).name)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "SIG_IGN"


TWICE = """
import signal, sys
from contextlib import suppress
from autotune.cli.program import main
sys.argv[1:] = [VERB, "--help"]
with suppress(SystemExit):
    main()
try:
    signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    signal.raise_signal(signal.SIGTERM)
    print("goes on")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(("verb", "status", "goes_on"), [("compare", 0, True), ("run", -signal.SIGTERM, False)])
def test_a_signal_that_comes_twice_interrupts_once_and_ends_run_as_it_would_the_command(verb, status, goes_on):
    code = TWICE.replace("VERB", repr(verb))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, "goes on" in ended.stdout) == (status, goes_on)
