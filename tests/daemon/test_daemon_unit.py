"""Files for systemd and Prometheus."""

import errno
import os
import re
import shutil
import socket
import subprocess

import pytest
from support.daemon_scenes import NOON, SVD, Scene, entry

from autotune.daemon import systemd
from autotune.daemon.daemon_settings import user_paths
from autotune.daemon.metrics import metrics_text
from autotune.daemon.service import hold_lock
from autotune.daemon.systemd import notify_systemd
from autotune.errors import DaemonRuns, EnvironmentProblem

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def analyzed(tmp_path, text, *words):
    path = tmp_path / "autotune.service"
    path.write_text(text, "utf-8")
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}  # it plays a user's manager, who has one
    done = subprocess.run(
        ["systemd-analyze", *words, str(path)], env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


@needs_systemd
@pytest.mark.real
@pytest.mark.parametrize("store", [False, True])
def test_the_unit_is_clean_and_exposed_to_little(tmp_path, store):
    text = systemd.system_unit(store=store, python="/usr/bin/env")
    status, said = analyzed(tmp_path, text, "verify", "--man=no")
    assert (status, said) == (0, "")
    _, said = analyzed(tmp_path, text, "security", "--offline=true", "--no-pager")
    assert float(re.search(r"Overall exposure level.*: ([\d.]+)", said)[1]) <= 2.0


@needs_systemd
@pytest.mark.real
def test_the_user_s_unit_is_clean(tmp_path):
    status, said = analyzed(tmp_path, systemd.user_unit(python="/usr/bin/env"), "verify", "--user", "--man=no")
    assert (status, said) == (0, "")


@pytest.mark.parametrize("text", [systemd.system_unit(store=True), systemd.user_unit()])
def test_trials_run_at_normal_priority(text):
    assert not re.search(r"^(Nice|CPUWeight|CPUSchedulingPolicy|CPUQuota)=", text, re.MULTILINE)


def test_without_a_store_the_network_is_closed():
    assert "IPAddressDeny=any" in systemd.system_unit(store=False)
    assert "RestrictAddressFamilies=AF_UNIX\n" in systemd.system_unit(store=False)
    assert "AF_INET6" in systemd.system_unit(store=True)


def test_blanks_and_percents_in_a_path_mean_themselves():
    assert 'ExecStart="/opt/my %% python" -P' in systemd.user_unit(python="/opt/my % python")


def test_without_systemd_installing_says_what_to_do(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EnvironmentProblem, match=r"There is no systemd here. `autotune daemon` runs in a shell"):
        systemd.install_unit(user=True, store=False)


def test_installing_for_a_user_writes_below_their_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    files, following = systemd.install_unit(user=True, store=False)
    assert files == [tmp_path / "systemd" / "user" / "autotune.service"]
    assert files[0].read_text("utf-8") == systemd.user_unit()
    assert commands == [("systemctl", "--user", "daemon-reload")]
    assert following == "systemctl --user enable --now autotune"


def test_a_place_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "systemd").write_text("a file", "utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        systemd.install_unit(user=True, store=False)


def test_the_service_manager_receives_messages(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60.0)
        notify_systemd("WATCHDOG=1\nSTATUS=Quiet.", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(4096) == b"WATCHDOG=1\nSTATUS=Quiet."


@pytest.mark.parametrize("address", ["", "relative", "/no/socket/there", "@autotune-none"])
def test_without_a_service_manager_nothing_happens(address):
    notify_systemd("READY=1", environ={"NOTIFY_SOCKET": address})


def test_a_second_daemon_is_refused_and_told_whom_to_ask(tmp_path):
    lock = hold_lock(tmp_path / "run" / "lock")
    with pytest.raises(DaemonRuns, match=r"Another daemon holds .*`autotune daemon status` asks it"):
        hold_lock(tmp_path / "run" / "lock")
    os.close(lock)
    os.close(hold_lock(tmp_path / "run" / "lock"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_not_taken_for_another_daemon(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(EnvironmentProblem, match=os.strerror(number)) as caught:
        hold_lock(tmp_path / "lock")
    assert not isinstance(caught.value, DaemonRuns)


def test_hosts_with_one_home_folder_each_have_a_daemon_of_their_own(tmp_path):
    paths = []
    for host in ("a", "b"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AUTOTUNE_HOST_ID", host)
            patch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
            paths.append(user_paths())
    left, right = paths
    assert (left.lock, left.socket, left.state, left.spool) != (right.lock, right.socket, right.state, right.spool)
    assert not {left.lock, left.socket, left.state, left.spool} & {right.lock, right.socket, right.state, right.spool}


def test_a_lock_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "run").write_text("a file", "utf-8")
    with pytest.raises(EnvironmentProblem, match="cannot be taken"):
        hold_lock(tmp_path / "run" / "lock")


@pytest.fixture
def lines(tmp_path):
    scene = Scene(tmp_path).take_inventory(entry("svd"), entry("qr"))
    scene.state.counts |= {"adopted": 2.0, "cpu_seconds": 12.5}
    scene.state.checked["k1"] = {SVD: 1_700_000_000.0}
    return metrics_text(scene.controller).splitlines()


def test_metrics_are_lines_that_prometheus_reads(lines):
    values = [line for line in lines if not line.startswith("#")]
    assert 'autotune_entries{level="this-host"} 2' in values
    assert 'autotune_jobs_total{outcome="adopted"} 2' in values
    assert "autotune_cpu_seconds_total 12.5" in values
    assert "autotune_claimed_speedup 2" in values
    assert "autotune_oldest_check_timestamp_seconds 1700000000" in values
    assert all(re.fullmatch(r'autotune_[a-z_]+(\{[a-z]+="[^"]*"\})? [0-9.e+-]+', line) for line in values)


def test_metrics_say_when_they_were_written_so_that_a_dead_daemon_is_noticed(lines):
    (written,) = (line for line in lines if line.startswith("autotune_written_timestamp_seconds"))
    assert NOON <= float(written.split()[1]) < NOON + 10


def test_every_metric_says_what_it_is_once_and_unknown_ones_are_left_out(lines):
    kinds = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert sorted(set(kinds)) == sorted(kinds)
    assert {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")} == set(kinds)
    assert "autotune_rechecked_speedup" not in kinds
