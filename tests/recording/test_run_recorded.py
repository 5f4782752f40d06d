"""Runs with recording, whose surroundings are not as they should be."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from autotune.errors import NoTemporaryFolder
from autotune.recording import run_recorded as module
from autotune.recording.collect import collect
from autotune.recording.run_recorded import run_recorded


def plain(_folder):
    return {}


def test_without_a_temporary_folder_the_folder_is_to_blame_and_not_the_command(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/no/such/folder")
    with pytest.raises(NoTemporaryFolder, match="TMPDIR"):
        run_recorded(["true"], os.environ, plain)


def test_a_full_file_system_is_told_before_the_command_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    with pytest.raises(NoTemporaryFolder, match="is full"):
        run_recorded(["touch", str(tmp_path / "ran")], os.environ, plain)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [b"/opt/py\xff/bin/python", "/opt/größe/python".encode(), b""])
def test_the_name_of_an_interpreter_without_autotune_may_be_any_bytes(tmp_path, name):
    (tmp_path / "12.missing").write_bytes(name)
    (interpreter,) = collect(tmp_path, 0.0).without_autotune
    assert interpreter.isprintable()


def test_a_note_of_an_interpreter_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "12.missing").mkdir()
    assert collect(tmp_path, 0.0).without_autotune == ()


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_comes_before_the_command_was_started_reaches_it(monkeypatch, number):
    start = subprocess.Popen

    def late(*words, **options):
        os.kill(os.getpid(), number)
        return start(*words, **options)

    monkeypatch.setattr(subprocess, "Popen", late)
    recorded = run_recorded(["sleep", "20"], os.environ, plain)
    assert recorded.status == -number


@pytest.mark.real
def test_a_signal_after_the_command_was_waited_for_goes_to_no_process(monkeypatch):
    sent, wait = [], os.wait4

    def wait_and_signal(pid, options):
        ended = wait(pid, options)
        monkeypatch.setattr(os, "kill", lambda *of: sent.append(of))
        return ended

    def end(forwarder):
        ending(forwarder)
        signal.raise_signal(signal.SIGUSR1)

    ending = module.SignalForwarder.end
    monkeypatch.setattr(os, "wait4", wait_and_signal)
    monkeypatch.setattr(module.SignalForwarder, "end", end)
    assert run_recorded(["true"], os.environ, plain).status == 0
    assert sent == []


@pytest.mark.real
def test_a_signal_between_the_end_of_the_command_and_its_notice_is_no_error(monkeypatch):
    wait = os.wait4

    def wait_and_signal(pid, options):
        ended = wait(pid, options)
        signal.raise_signal(signal.SIGTERM)
        return ended

    monkeypatch.setattr(os, "wait4", wait_and_signal)
    assert run_recorded(["true"], os.environ, plain).status == 0


@pytest.mark.real
def test_another_interpreter_without_autotune_is_named_whatever_its_path_is(tmp_path):
    python = os.fsencode(tmp_path) + b"/py\xff"
    Path(os.fsdecode(python)).symlink_to(sys.executable)
    code = "import sys; sys.modules['autotune'] = None; import numpy; print('ran')"
    script = Path(tmp_path, "run.sh")
    script.write_bytes(b'exec "' + python + b'" -c "' + code.encode() + b'"\n')
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "advise", "--", "sh", script],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "AUTOTUNE_STATE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "py\\xff has no autotune" in " ".join(done.stderr.split())
