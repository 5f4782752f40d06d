"""`autotune cluster calibrate`, with a cluster that has measured already."""

import importlib
import json
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from support.profile_builders import KEY, alone, make_entry, profile

from autotune.cli.cluster_progress import ClusterBoard
from autotune.cli.program import program
from autotune.cluster.calibrate_cluster import (
    ClusterResult,
    JobDone,
    JobFailed,
    JobStarted,
    WorkerJoined,
    WorkerLeft,
    WorkerRejected,
)
from autotune.cluster.cluster_plan import MissingUnit, Node, NodeJob, NodeTask, SearchUnit
from autotune.errors import EnvironmentProblem
from autotune.profiles import folders, profile_files
from autotune.share.store_settings import open_store

cluster = importlib.import_module("autotune.cli.cluster")
UNIT = SearchUnit(name="qr", dtype="float64", seconds=1.0)
NODE = Node(worker="tcp://a:1", host="a", key=KEY, units=(UNIT,))
JOB = NodeJob(task=NodeTask.SEARCH, node=NODE, unit=UNIT, seconds=5.0)
QR = make_entry("qr", choice={"blas_threads": 1}, m=100, n=100)


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """Runs the verb; `hosts` say the same of one class, then comes the outcome."""
    alone(monkeypatch, tmp_path)
    monkeypatch.delenv("AUTOTUNE_STORE", raising=False)

    def run(*words, hosts=("a", "b"), **more):
        class Ready:
            def __init__(self, *, request, report, save, **rest):
                run.request, self.report, self.save = request, report, save

            def run(self):
                said = {}
                self.report(WorkerJoined(node=NODE, is_first=True))
                for host in hosts:
                    said = {**said, host: profile(QR, host=host)}
                    self.save(KEY, said)
                    self.report(JobDone(job=JOB, entries=(QR,), standing=(1, 1, 0)))
                return ClusterResult(classes=((KEY, said),), missing=more.pop("missing", ()), **more)

        @contextmanager
        def connect(address):
            run.address = address
            yield None

        monkeypatch.setattr(cluster, "ClusterCalibration", Ready)
        monkeypatch.setattr(cluster, "connect", connect)
        return CliRunner().invoke(program, ["cluster", "calibrate", "tcp://head:8786", "qr", *words])

    return run


def test_without_a_store_a_profile_of_the_class_is_written(calibrate):
    result = calibrate()
    assert result.exit_code == 0
    (entry,) = profile_files.read(folders.user_profiles() / f"cluster-{KEY.slug}.yaml").entries
    assert (entry.choice, entry.evidence.hosts) == (QR.choice, 2)
    assert "Host a: search of qr: 1 tuned." in result.stderr


def test_a_file_that_is_named_gets_the_first_class(calibrate, tmp_path):
    assert calibrate("--output", str(tmp_path / "nodes.yaml")).exit_code == 0
    assert profile_files.read(tmp_path / "nodes.yaml").key == KEY


def test_with_a_store_each_host_publishes_its_own_words_and_nothing_is_written(calibrate, tmp_path):
    (tmp_path / "store").mkdir()
    result = calibrate("--store", str(tmp_path / "store"))
    assert result.exit_code == 0
    names = [item.name for item in open_store(str(tmp_path / "store")).files(KEY.slug)]
    assert sorted(name[:2] for name in names) == ["a-", "b-"]
    assert not folders.user_profiles().exists()


def test_a_store_that_is_away_is_told_once_and_files_are_written(calibrate, tmp_path):
    result = calibrate("--store", str(tmp_path / "not-there"))
    assert result.exit_code == 1
    assert result.stderr.count("are written to files instead") == 1
    assert (folders.user_profiles() / f"cluster-{KEY.slug}.yaml").exists()


def test_json_names_classes_hosts_and_what_is_missing(calibrate):
    missed = (MissingUnit(key=KEY, unit=UNIT, reason="It broke."),)
    result = calibrate("--json", missing=missed)
    said = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(row["class"], row["hosts"]) for row in said["classes"]] == [(KEY.slug, ["a", "b"])]
    assert said["missing"] == [{"class": KEY.slug, "unit": "qr", "reason": "It broke."}]


@pytest.mark.parametrize(
    ("more", "code"), [({"interrupted": True}, 130), ({"problem": "No worker is left that could go on."}, 3)]
)
def test_what_finished_is_written_when_it_ends_early(calibrate, more, code):
    result = calibrate(hosts=("a",), **more)
    assert result.exit_code == code
    assert (folders.user_profiles() / f"cluster-{KEY.slug}.yaml").exists()
    assert "finished" in result.stderr


@pytest.mark.parametrize("words", [("--resume",), ("--cpus", "1,2")])
def test_options_about_this_machine_are_wrong_usage(calibrate, words):
    assert calibrate(*words).exit_code == 2


def test_no_scheduler_is_a_sentence(calibrate, monkeypatch):
    @contextmanager
    def no_scheduler(address):
        raise EnvironmentProblem(f"No Dask scheduler answers at {address}.")
        yield

    monkeypatch.setattr(cluster, "connect", no_scheduler)
    result = CliRunner().invoke(program, ["cluster", "calibrate", "tcp://x:1"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "No Dask scheduler answers at tcp://x:1." in result.stderr


def test_the_board_says_who_came_who_went_and_what_is_done():
    board = ClusterBoard()
    assert board.take(WorkerJoined(node=NODE, is_first=False)) == "Host a (tcp://a:1) takes part."
    assert board.take(WorkerRejected(worker="tcp://b:1", reason="Too old.")) == "Worker tcp://b:1 is left out: Too old."
    assert board.take(JobStarted(job=JOB)) is None
    assert board.live_line(65.0) == "0/0 searched, 0 to confirm, 1:05 | a: search of qr"
    gone = board.take(WorkerLeft(worker="tcp://a:1", job=JOB))
    assert gone == "Worker tcp://a:1 is gone. Its search of qr goes to another."
    failed = board.take(JobFailed(job=JOB, reason="It broke."))
    assert failed == "Host a: search of qr: It broke. Another host is asked, if there is one."
