"""A real daemon under real harm: full and read-only disks, signals at the worst moment, kills, long paths."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from support.daemon_processes import NEVER_IDLE, Daemon, daemon_host, descendants_known, refused
from support.processes import gone
from support.spool_files import spool_text

from autotune.controls.supervise import descendants
from autotune.host.identity import short_host_id
from autotune.model.catalogue import operation

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not descendants_known(), reason="the kernel does not list children here"),
]


def can_mount(tmp_path_factory):
    place = tmp_path_factory.mktemp("mount")
    done = subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", place], check=True)
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path, tmp_path_factory):
    """The daemon's state folder is a small disk of its own."""
    if os.name != "posix" or os.geteuid() != 0 or not can_mount(tmp_path_factory):
        pytest.skip("nothing can be mounted here")
    place = tmp_path / "state" / "autotune" / f"daemon-{short_host_id(daemon_host())}"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def daemon(tmp_path):
    process = Daemon(tmp_path)
    yield process
    process.end()


@pytest.fixture
def waiting(tmp_path):
    """A daemon that never measures."""
    process = Daemon(tmp_path, NEVER_IDLE)
    yield process
    process.end()


def test_a_full_disk_is_said_and_the_daemon_goes_on_and_recovers(disk, waiting):
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while True:
            try:
                os.write(file.fileno(), bytes(4096))
            except OSError:
                break
    waiting.start()
    waiting.ask("tune", operation="svd", sizes={"n": 64})
    waiting.until(lambda: "state.json cannot be written (No space left on device)" in waiting.log)
    assert waiting.ask("status")["orders"] == 1
    ballast.unlink()
    waiting.ask("tune", operation="qr", sizes={"n": 64})
    waiting.until(lambda: "state.json can be written again." in waiting.log)
    assert len(json.loads((disk / "state.json").read_text("utf-8"))["orders"]) == 2
    assert waiting.end(signal.SIGTERM) == 0


def test_a_read_only_disk_is_said_and_the_daemon_goes_on(disk, waiting):
    (disk / "candidate.yaml").write_text("left over", "utf-8")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    waiting.start()
    waiting.ask("tune", operation="svd", sizes={"n": 64})
    waiting.until(lambda: "state.json cannot be written (Read-only file system)" in waiting.log)
    waiting.until(lambda: waiting.ask("status")["interpreters"][0]["problem"])
    assert "Read-only file system" in waiting.ask("status")["interpreters"][0]["problem"]
    assert waiting.end(signal.SIGTERM) == 0


ENDLESS_END = """
import time
from autotune.daemon.daemon_settings import user_paths
from autotune.daemon.service import DaemonService
found = DaemonService(user_paths())
def stop():
    found.controller.context.log.write("hangs")
    time.sleep(3600)
found.controller.stop = stop
found.run()
"""


def test_a_second_sigterm_ends_the_daemon_at_once_and_the_kernel_its_children(daemon):
    daemon.words = ["-c", ENDLESS_END]
    family = daemon.start().in_a_trial()
    daemon.process.send_signal(signal.SIGTERM)
    daemon.until(lambda: '"event": "hangs"' in daemon.log)
    assert daemon.end(signal.SIGTERM) == -signal.SIGTERM
    assert gone(family)


def test_kills_at_random_moments_tear_nothing_and_it_always_starts_again(daemon):
    for number in range(2):
        daemon.start()
        daemon.ask("tune", operation="qr", sizes={"n": 64 + number})
        time.sleep(random.uniform(0.0, 2.0))
        family = descendants(daemon.process.pid) or []
        daemon.end(signal.SIGKILL)
        assert gone(family)
        orders = json.loads((daemon.state / "state.json").read_text("utf-8"))["orders"]
        sizes = {"m": 64 + number, "n": 64 + number}
        assert [{"name": "qr", "sizes": sizes}, []] in orders
    assert "cannot be used" not in daemon.log


def test_a_socket_path_too_long_is_refused_with_a_sentence(tmp_path):
    daemon = Daemon(tmp_path)
    daemon.environ["XDG_RUNTIME_DIR"] = str(tmp_path / ("long" * 40))
    status, said = refused(daemon)
    assert status == 3
    assert "the system allows 107. Name a shorter folder in XDG_RUNTIME_DIR" in said


def test_a_broken_configuration_keeps_the_daemon_from_starting_with_its_place(tmp_path):
    status, said = refused(Daemon(tmp_path, "idle: {quiet_seconds: soon}\n"))
    assert status == 2
    assert "daemon.yaml: idle.quiet_seconds: expected a number" in said


def test_a_spool_full_of_harm_is_emptied(waiting):
    spool = waiting.spool
    spool.mkdir(parents=True)
    (spool / "0-good.json").write_text(spool_text({operation("svd", n=9): 5}), "utf-8")
    (spool / "1-link.json").symlink_to("/etc/passwd")
    os.mkfifo(spool / "2-pipe.json")
    with (spool / "3-huge.json").open("wb") as file:
        file.truncate(2**40)
    (spool / "4-deep.json").write_text("[" * 200_000, "utf-8")
    waiting.start()
    waiting.until(lambda: waiting.ask("status")["demand"] == 1)
    waiting.until(lambda: not list(spool.iterdir()))
    assert "1 more files were refused." in waiting.log
    assert os.path.exists("/etc/passwd")  # noqa: PTH110
