"""Runs with recording, whose surroundings are not as they should be."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.namespaces import needs_root, unshared

from autotune.errors import NoTemporaryFolder
from autotune.host.identity import short_host_id
from autotune.recording import run_recorded as module
from autotune.recording.collect import collect
from autotune.recording.run_recorded import run_recorded
from autotune.recording.temporary_folder import temporary_folder


def plain(_folder):
    return {}


def test_without_a_temporary_folder_the_folder_is_to_blame_and_not_the_command(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/no/such/folder")
    with pytest.raises(NoTemporaryFolder, match="TMPDIR"):
        run_recorded(["true"], os.environ, plain)


def test_a_full_file_system_is_told_before_the_command_runs(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    with pytest.raises(NoTemporaryFolder, match="is full"):
        run_recorded(["touch", str(tmp_path / "ran")], os.environ, plain)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_the_command_was_started_keeps_it_from_being_started(monkeypatch, tmp_path):
    room = SimpleNamespace(free=2**40)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: signal.raise_signal(signal.SIGINT) or room)
    with pytest.raises(KeyboardInterrupt):
        run_recorded(["touch", str(tmp_path / "ran")], os.environ, plain)
    assert list(tmp_path.iterdir()) == []


def leftover(folder, *, age, host):
    left = folder / f"autotune-recording-{short_host_id(host)}-left"
    left.mkdir()
    (left / "12.json").touch()
    os.utime(left, (time.time() - age, time.time() - age))


@pytest.mark.parametrize(
    ("prefix", "age", "host", "left"),
    [("recording", 3600.0, None, 0), ("recording", 1.0, None, 1), ("compare", 3600.0, None, 1),
     ("recording", 3600.0, "another", 1)],
)  # fmt: skip
def test_old_folders_that_processes_of_this_host_left_are_removed(monkeypatch, tmp_path, prefix, age, host, left):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    leftover(tmp_path, age=age, host=host)
    with temporary_folder(f"autotune-{prefix}-"):
        assert len(list(tmp_path.iterdir())) == 1 + left
    assert len(list(tmp_path.iterdir())) == left


def test_the_folder_of_a_living_process_stays(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder("autotune-recording-") as name:
        os.utime(name, (0, 0))
        with temporary_folder("autotune-recording-"):
            assert Path(name).is_dir()


TERMINATED = """
import os, shutil, signal, sys, tempfile
from autotune.recording import run_recorded as module
before = shutil.disk_usage
def early(path):
    os.kill(os.getpid(), signal.SIGTERM)
    return before(path)
if sys.argv[1] == "early":
    shutil.disk_usage = early
code = "kill -TERM $PPID; exec sleep 60" if sys.argv[1] == "late" else "exec sleep 60"
print(module.run_recorded(["sh", "-c", code], os.environ, lambda folder: {}).status, os.listdir(tempfile.gettempdir()))
"""


@pytest.mark.real
@pytest.mark.parametrize("moment", ["early", "late"])
def test_a_process_that_is_terminated_ends_its_command_and_removes_its_folder(tmp_path, moment):
    words = [sys.executable, "-c", TERMINATED, moment]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.stdout == "-15 []\n"


def test_a_command_whose_ends_of_children_an_ancestor_ignores_has_its_status():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run_recorded(["false"], os.environ, plain).status == 1
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_here_is_ignored_by_the_command(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert run_recorded(["sh", "-c", f"kill -{number} $$; exit 7"], os.environ, plain).status == 7
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("name", [b"/opt/py\xff/bin/python", "/opt/größe/python".encode(), b""])
def test_the_name_of_an_interpreter_without_autotune_may_be_any_bytes(tmp_path, name):
    (tmp_path / "12.missing").write_bytes(name)
    (interpreter,) = collect(tmp_path, 0.0).without_autotune
    assert interpreter.isprintable()


def test_a_note_of_an_interpreter_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "12.missing").mkdir()
    assert collect(tmp_path, 0.0).without_autotune == ()


def test_a_process_that_found_no_room_for_its_recording_is_told_with_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    (tmp_path / "12-345.json.new").touch()
    (process,) = collect(tmp_path, 0.0).processes
    (why,) = process.unseen
    assert process.pid == 12
    assert f"the file system of {tmp_path.parent} is full" in why


def test_an_empty_file_that_a_later_note_left_is_no_process_without_a_recording(tmp_path):
    (tmp_path / "12-345.json.new").touch()
    (tmp_path / "12-345.json").write_text('{"pid": 12, "parent": 1, "native": null}')
    (tmp_path / "x.json.new").touch()
    assert collect(tmp_path, 0.0).processes == ()


FILLED = """
import os, sys
with open(os.environ["TMPDIR"] + "/fill", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        file.truncate(os.fstat(file.fileno()).st_size - int(sys.argv[1]))
import numpy as np
np.ones((300, 300)) @ np.ones((300, 300))
"""


@pytest.mark.real
@pytest.mark.parametrize("left", [0, 8192])
def test_a_command_that_fills_the_folder_of_its_recording_gets_no_verdict(tmp_path, left):
    needs_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "fill.py").write_text(FILLED)
    words = ["-m", "autotune", "advise", "--", sys.executable, str(tmp_path / "fill.py"), str(left)]
    done = subprocess.run(
        [*unshared("--mount", setup=f"mount -t tmpfs -o size=2m none {disk}"), sys.executable, *words],
        env={**os.environ, "TMPDIR": str(disk)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    printed = " ".join(done.stderr.split())
    assert "recording could not be written" in printed
    assert str(disk) in printed.replace(" ", "")
    assert "no process of this command" not in printed
    assert "Nothing to gain" not in printed
    assert done.returncode == 0


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
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


def test_a_command_that_removes_the_folder_of_its_recording_goes_on_when_that_ends():
    stopped = []
    ended = run_recorded(
        ["sh", "-c", 'rm -r "$FOLDER"; sleep 0.6'],
        os.environ,
        lambda folder: {"FOLDER": folder},
        stop_after=0.3,
        when_stopped=stopped.append,
    )
    assert (ended.status, len(stopped)) == (0, 1)
