"""Ctrl-C in the middle of a real calibration."""

import os
import signal
import subprocess
import sys

import pytest

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
