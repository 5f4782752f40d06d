"""A real daemon with real children: signals, kills, sockets. Few, and tolerant of a slow machine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.daemon_processes import ANY_LOAD, Daemon, descendants_known, refused
from support.processes import PATIENCE, gone

from autotune.cli.program import program
from autotune.controls.supervise import descendants
from autotune.daemon.child_processes import ChildCommand, ChildProcess
from autotune.daemon.state import load_state

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not descendants_known(), reason="the kernel does not list children here"),
]


@pytest.fixture
def daemon(tmp_path):
    process = Daemon(tmp_path)
    yield process
    process.end()


def test_sigterm_in_the_middle_of_a_trial_ends_everything(daemon):
    family = daemon.start().in_a_trial()
    assert daemon.end(signal.SIGTERM) == 0
    assert gone(family)
    assert not daemon.socket.exists()
    assert load_state(daemon.state / "state.json")[0].unfinished is not None


def test_sigkill_leaves_no_child_and_the_next_daemon_goes_on(daemon):
    family = daemon.start().in_a_trial()
    daemon.end(signal.SIGKILL)
    assert gone(family)
    daemon.start()
    daemon.until_measuring()
    assert '"cause": "resume"' in daemon.log


def test_a_second_daemon_is_refused_with_exit_code_three(daemon):
    daemon.start()
    status, words = refused(daemon)
    assert (status, "Another daemon holds" in words) == (3, True)


def test_a_new_configuration_is_read_and_a_broken_one_leaves_the_old(daemon):
    daemon.start()
    daemon.file.write_text(ANY_LOAD + "daily_cpu_seconds: 77\n", "utf-8")  # noticed at the next look
    daemon.until(lambda: daemon.ask("status")["daily_cpu_seconds"] == 77.0)
    daemon.file.write_text("daily_cpu_seconds: many\n", "utf-8")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: "The former configuration stays in force." in daemon.log)
    assert daemon.ask("status")["daily_cpu_seconds"] == 77.0


def test_the_process_is_small_and_holds_neither_numpy_nor_optuna(daemon):
    daemon.start().in_a_trial()
    maps = (daemon.folder / f"/proc/{daemon.process.pid}/maps").read_text("utf-8")
    assert "numpy" not in maps
    assert "openblas" not in maps
    assert daemon.ask("status")["resident_bytes"] <= 40 * 10**6


def test_what_the_command_line_shows_is_what_the_daemon_says(daemon):
    daemon.start()
    environ = {**dict.fromkeys(os.environ), **daemon.environ}

    def said(*verb):
        done = CliRunner().invoke(program, ["daemon", *verb], env=environ)
        return done.exit_code, done.stdout, done.stderr

    assert json.loads(said("status", "--json")[1])["pid"] == daemon.process.pid
    assert f"runs as process {daemon.process.pid}" in said("status")[1]
    began = time.time()
    assert said("pause", "--for", "2h") == (0, "", "The daemon measures nothing for 2h.\n")
    assert began + 7200 <= daemon.ask("status")["paused_until"] <= time.time() + 7200
    assert said("tune", "svd", "n=200")[2].startswith("svd float64 m=200 n=200: measured next")
    assert daemon.ask("status")["orders"] == 1
    ordered = "1. svd float64 m=200 n=200 [order] It was ordered."
    daemon.until(lambda: ordered in said("explain")[1])  # once its interpreter has been asked who it is
    assert said("resume")[0] == 0
    assert said("tune", "no-such-thing")[0] == 2
    assert said("tune", "svd", "k=200")[0] == 2
    assert said("reload")[0] == 0
    assert said("stop") == (0, "", f"The daemon (process {daemon.process.pid}) has ended. Profiles stay in force.\n")
    assert daemon.process.wait(PATIENCE) == 0
    assert said("stop")[0] == 3


def test_a_child_and_all_that_it_started_end_with_their_supervisor(tmp_path):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); time.sleep(600)"
    (tmp_path / "endless.py").write_text(code, "utf-8")
    environ = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    others = set(descendants(os.getpid()) or [])
    child = ChildProcess(sys.executable, ChildCommand(module="endless", arguments=()), environ, state=tmp_path)
    deadline = time.monotonic() + PATIENCE
    while len(family := set(descendants(os.getpid()) or []) - others) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(family) >= 3
    child.kill()
    assert gone(family)
    assert list(tmp_path.glob("job-*")) == []


def test_an_interpreter_that_is_not_there_is_an_answer_and_no_crash(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        ChildProcess("/no/python", ChildCommand(module="autotune", arguments=()), {}, state=tmp_path)
    assert list(tmp_path.glob("job-*")) == []


FOUND_ELSEWHERE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.profile_builders import make_entry, of_this_machine
from autotune.profiles import profile_files
profile_files.write(of_this_machine(make_entry("inv", n=500)), Path(sys.argv[1]))
"""


def test_what_another_host_published_is_pulled_tried_and_in_force(daemon):
    profile, store = daemon.folder / "found.yaml", daemon.folder / "store"
    store.mkdir()
    elsewhere = daemon.environ | {"AUTOTUNE_HOST_ID": "elsewhere"}
    tests = str(Path(__file__).parent.parent)
    for words in (
        ["-c", FOUND_ELSEWHERE, str(profile), tests],
        ["-m", "autotune", "store", "publish", str(profile), "--store", str(store)],
    ):
        subprocess.run([sys.executable, *words], env=elsewhere, check=True, timeout=PATIENCE)
    daemon.file.with_name("config.yaml").write_text("trust: any\n", "utf-8")
    daemon.file.write_text(f"{ANY_LOAD}calibrate: false\nstore: {store}\npull_seconds: 10\n", "utf-8")
    daemon.start()
    mirror = daemon.folder / "state" / "autotune" / "cluster"
    (path,) = daemon.until(lambda: list(mirror.glob("*.yaml")))
    staged = next((daemon.state / "pulled").glob("*/cluster/*.yaml"))
    assert path.read_bytes() == staged.read_bytes()
    assert '"event": "fine"' in daemon.log
