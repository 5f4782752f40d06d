"""Bad luck, with real processes and file systems: kills at any moment, pulls at once, full disks, dead servers."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from support.profile_builders import KEY, alone
from support.published_profiles import qr, said, store_at

from autotune.errors import StoreProblem
from autotune.profiles import profile_files
from autotune.profiles.folders import Layer, cluster_profiles
from autotune.share.fetch import read_class
from autotune.share.mirror import pull
from autotune.share.publish import publish
from autotune.share.store_settings import open_store
from autotune.share.trust import TrustPolicy

pytestmark = pytest.mark.real

PUBLISHES = """
import sys
from support.published_profiles import qr, said
from autotune.share.publish import publish
from autotune.share.store_settings import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
for number in range(10**6):
    publish(said("a", *(qr(n=n) for n in range(100, 300)), created=f"2026-01-01T00:00:00.{number:06}"), store)
"""
PULLS = """
import sys
from support.profile_builders import KEY
from autotune.share.mirror import pull
from autotune.share.store_settings import open_store
from autotune.share.trust import TrustPolicy
store = open_store(sys.argv[1])
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    pull(store, TrustPolicy(), KEY, fresh=number % 2 == 1)
"""


@pytest.fixture(autouse=True)
def alone_here(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)


def start(code, *words):
    """A process that has begun its work."""
    paths = os.pathsep.join(sys.path)
    started = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout.readline() == "ready\n"
    return started


def kill_somewhere(process, moment):
    with process:
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_publisher_that_is_killed_leaves_nothing_torn_and_loses_nothing(tmp_path):
    moments = random.Random(5)
    for _ in range(3):
        store = store_at(tmp_path / "store")
        kill_somewhere(start(PUBLISHES, tmp_path / "store"), moments.uniform(0.0, 0.3))
        contents = read_class(store, KEY.slug, TrustPolicy())
        assert contents.rejected == ()
        assert {file.host for file in contents.publications} <= {"a"}
    assert publish(said("a", created="2026-02-01"), store).folder == KEY.slug


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_pull_that_is_killed_never_leaves_a_torn_mirror(tmp_path):
    store = store_at(tmp_path / "store")
    mirror = cluster_profiles() / f"{KEY.slug}.yaml"
    moments = random.Random(7)
    for number in range(3):
        publish(said(f"h{number}", *(qr(n=n) for n in range(100, 200))), store)
        kill_somewhere(start(PULLS, tmp_path / "store", 10**6), moments.uniform(0.0, 0.3))
        if mirror.exists():
            assert len(profile_files.read(mirror, Layer.USER).entries) == 100
    pull(store, TrustPolicy(), KEY)
    assert profile_files.read(mirror).entries[0].evidence.hosts == 3


def test_pulls_at_once_leave_the_mirror_that_one_leaves(tmp_path):
    store = store_at(tmp_path / "store")
    for host in "abc":
        publish(said(host), store)
    pulling = [start(PULLS, tmp_path / "store", 10) for _ in range(2)]
    for reader in pulling:
        with reader:
            assert reader.wait(timeout=600) == 0
    mirror = cluster_profiles() / f"{KEY.slug}.yaml"
    assert profile_files.read(mirror).entries[0].evidence.hosts == 3
    assert [path.name for path in mirror.parent.iterdir()] == [mirror.name]


def test_a_server_that_never_answers_is_given_up(tmp_path):
    pytest.importorskip("aiohttp")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_store(f"http://127.0.0.1:{silent.getsockname()[1]}/store", seconds=0.5)
        with pytest.raises(StoreProblem, match=r"did not answer within 0\.5 s"):
            pull(store, TrustPolicy(), KEY)
    assert not cluster_profiles().exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_takes_no_publication_and_keeps_what_it_has(small_disk):
    store = store_at(small_disk / "store")
    publish(said("a"), store)
    with pytest.raises(StoreProblem, match="it is full"):
        publish(said("b", *(qr(n=n) for n in range(100, 600))), store)
    contents = read_class(store, KEY.slug, TrustPolicy())
    assert ([file.host for file in contents.publications], contents.rejected) == (["a"], ())
    assert [path.name for path in (small_disk / "store").rglob(".*")] == []


def test_a_mount_that_can_only_be_read_is_pulled_from(small_disk):
    store = store_at(small_disk / "store")
    publish(said("a"), store)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreProblem, match="it is read-only"):
        publish(said("b"), store)
    assert pull(store, TrustPolicy(), KEY).mirrored[0].hosts == 1


def test_a_mirror_on_a_full_disk_stays_as_it_was(small_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(small_disk))
    store = store_at(tmp_path / "store")
    publish(said("a"), store)
    pull(store, TrustPolicy(), KEY)
    before = (cluster_profiles() / f"{KEY.slug}.yaml").read_bytes()
    publish(said("b", *(qr(n=n) for n in range(100, 600))), store)
    with pytest.raises(OSError, match="No space left"):
        pull(store, TrustPolicy(), KEY)
    assert [path.read_bytes() for path in cluster_profiles().iterdir()] == [before]
