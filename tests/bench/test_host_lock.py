"""The host-wide lock."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.bench import host_lock
from autotune.errors import EnvironmentProblem, HostBusy, NoTemporaryFolder

HOLD = """
import sys
from pathlib import Path
from autotune.bench.host_lock import host_lock
with host_lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "AUTOTUNE_STATE_DIR": str(tmp_path / "state"), "AUTOTUNE_HOST_ID": "a/../host"}


def test_without_a_temporary_folder_nothing_is_measured_and_the_folder_is_to_blame(environ, monkeypatch):
    """As in a container with a read-only root file system: trials need one."""

    def fail():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")  # as tempfile does

    monkeypatch.setattr("tempfile.gettempdir", fail)
    with pytest.raises(NoTemporaryFolder, match="TMPDIR"), host_lock.host_lock(environ=environ):
        pytest.fail("the lock is held")


def test_a_free_lock_is_taken_and_can_be_taken_again(environ):
    with host_lock.host_lock(environ=environ):
        pass
    with host_lock.host_lock(environ=environ):
        assert host_lock.lock_path(environ).exists()


def test_a_second_bench_of_the_same_process_is_refused(environ):
    with host_lock.host_lock(environ=environ), pytest.raises(HostBusy), host_lock.host_lock(environ=environ):
        pass


def test_two_hosts_of_one_folder_do_not_wait_for_each_other(environ, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_HOST_ID", "first")
    first = host_lock.lock_path(environ)
    monkeypatch.setenv("AUTOTUNE_HOST_ID", "../second")  # which is no part of a path

    assert host_lock.lock_path(environ).parent == first.parent
    assert host_lock.lock_path(environ) != first


def test_all_users_share_the_lock_unless_they_name_a_folder(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/somewhere/else")

    assert str(host_lock.lock_path({}).parent) in {"/run/lock", "/tmp"}


def test_a_folder_that_cannot_be_made_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(EnvironmentProblem, match="AUTOTUNE_STATE_DIR"),
        host_lock.host_lock(environ={"AUTOTUNE_STATE_DIR": str(tmp_path / "file" / "folder")}),
    ):
        pass


def test_a_link_in_the_lock_s_place_is_not_followed(environ, tmp_path):
    path = host_lock.lock_path(environ)
    path.parent.mkdir()
    (tmp_path / "precious").write_text("kept")
    path.symlink_to(tmp_path / "precious")

    with pytest.raises(EnvironmentProblem), host_lock.host_lock(environ=environ):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.real
def test_the_message_names_the_holder_and_its_death_frees_the_lock(environ, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_HOST_ID", environ["AUTOTUNE_HOST_ID"])
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HostBusy) as refused, host_lock.host_lock(environ=environ):
            pass
        if Path("/proc/locks").exists():
            assert f"process {other.pid} of " in refused.value.holder
        other.kill()
        other.wait()
        with host_lock.host_lock(environ=environ):
            pass
    finally:
        other.kill()
        other.communicate()
