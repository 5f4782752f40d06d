"""Child processes end with their parent, and take with them all that they started."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from support.namespaces import control_group
from support.processes import alive, gone, wait_until

from autotune.controls.supervise import Supervised, descendants

pytestmark = [pytest.mark.real, pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no POSIX processes")]

ESCAPING = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""

PARENT = """
import sys, time
from autotune.controls.supervise import Supervised
with Supervised(sys.argv[1:]):
    time.sleep(600)
"""


def python(code, *arguments):
    return [sys.executable, "-S", "-c", code, *map(str, arguments)]


def pids(file):
    wait_until(lambda: file.exists() and len(file.read_text().split()) == 2)
    return [int(pid) for pid in file.read_text().split()]


def test_a_command_that_ends_by_itself_has_its_status_and_its_seconds():
    with Supervised(python("import time; time.sleep(0.2); raise SystemExit(7)")) as command:
        ending = command.wait(60.0)

    assert ending.status == 7
    assert 0.2 <= ending.seconds < 60.0


def test_a_command_that_is_killed_has_the_signal_as_its_status():
    with Supervised(python("import os; os.kill(os.getpid(), 11)")) as command:
        assert command.wait(60.0).status == -signal.SIGSEGV


def test_a_program_that_ignores_the_ends_of_its_children_gets_the_status():
    """Signals that are ignored stay so in the supervisor, of which the kernel would keep no child's status."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with Supervised(python("raise SystemExit(7)")) as command:
            assert command.wait(60.0).status == 7
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
def test_a_program_that_has_closed_its_standard_streams_gets_the_status(closed, tmp_path):
    code = (
        "import os; from autotune.controls.supervise import Supervised\n"
        f"for each in {closed}: os.close(each)\n"
        "with Supervised(['sh', '-c', 'sleep 0.1; exit 7']) as command: status = command.wait(60.0).status\n"
        f"os.write(os.open({str(tmp_path / 'status')!r}, os.O_CREAT | os.O_WRONLY), str(status).encode())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (tmp_path / "status").read_text() == "7"


def test_a_program_with_more_files_than_select_takes_can_wait():
    files = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while files[-1] < 1100:
            files.append(os.dup(files[0]))
    except OSError:
        pytest.skip("needs 1100 descriptors")
    else:
        with Supervised(python("raise SystemExit(7)")) as command:
            assert command.wait(60.0).status == 7
    finally:
        for file in files:
            os.close(file)


def test_a_command_that_runs_has_no_ending_and_is_gone_after_the_with(tmp_path):
    with Supervised(python(ESCAPING, tmp_path / "pids")) as command:
        started = pids(tmp_path / "pids")
        assert command.poll() is None
        assert command.pid in started
        assert set(started) <= set(command.descendants())

    assert not alive(started)
    assert command.poll().status == -signal.SIGKILL


@pytest.mark.skipif(descendants(os.getpid()) is None, reason="the kernel lists no children")
def test_what_a_command_leaves_behind_ends_with_it(tmp_path):
    code = ESCAPING.replace("time.sleep(600)\n", "").rstrip() + "\n"
    with Supervised(python(code, tmp_path / "pids")) as command:
        _, grandchild = pids(tmp_path / "pids")
        command.wait(60.0)

    assert not alive([grandchild])


def test_nothing_outlives_a_parent_that_was_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *python(ESCAPING, tmp_path / "pids")])
    started = pids(tmp_path / "pids")

    parent.kill()
    parent.wait()

    assert gone(started)


def test_a_command_ends_when_its_supervisor_is_killed(tmp_path):
    with Supervised(python(ESCAPING, tmp_path / "pids")) as command:
        pids(tmp_path / "pids")
        os.kill(psutil.Process(command.pid).ppid(), signal.SIGKILL)
        ending = command.wait(60.0)

    assert (ending.status, ending.seconds) == (-signal.SIGKILL, None)
    assert gone([command.pid])


def test_a_command_may_clean_up_in_its_grace(tmp_path):
    code = """
import signal, sys, time
def leave(*_):
    open(sys.argv[1], "w").write("clean"); sys.exit()
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(600)
"""
    with Supervised(python(code, tmp_path / "state"), stdout=subprocess.PIPE, grace=60.0) as command:
        command.stdout.readline()

    assert (tmp_path / "state").read_text() == "clean"


def test_a_command_that_ignores_its_grace_is_killed():
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    with Supervised(python(code), stdout=subprocess.PIPE, grace=0.2) as command:
        command.stdout.readline()

    assert gone([command.pid])


def test_a_command_that_a_limit_of_processes_forbids_cannot_be_started():
    code = (
        "from autotune.controls.supervise import Supervised\n"
        "try: Supervised(['true'])\n"
        "except BlockingIOError as error: print(error)"
    )
    with control_group("pids", {"pids.max": "2"}, {"pids.max": "2"}) as inside:
        done = subprocess.run([*inside, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[Errno 11] Resource temporarily unavailable\n", "")


def test_a_command_that_is_not_there_cannot_be_started():
    with pytest.raises(FileNotFoundError):
        Supervised(["/no/such/command"])


def test_input_and_output_are_the_commands():
    code = "import sys; print(sys.stdin.read().upper())"
    with Supervised(python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        command.stdin.write(b"words")
        command.stdin.close()
        assert command.stdout.read() == b"WORDS\n"


def test_descriptors_are_passed_on():
    end, other = os.pipe()
    with Supervised(python("import os, sys; os.write(int(sys.argv[1]), b'x')", other), pass_fds=[other]):
        os.close(other)
        assert os.read(end, 2) == b"x"
        assert os.read(end, 2) == b""
    os.close(end)


def test_a_command_leads_a_session_of_its_own():
    with Supervised(python("import time; time.sleep(600)")) as command:
        assert os.getsid(command.pid) == command.pid != os.getsid(0)
