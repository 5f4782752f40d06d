"""Real Dask workers under their nannies; real trials of a function that sleeps a known time."""

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from autotune.errors import BadSettings, EnvironmentProblem
from autotune.model.entry import Status
from autotune.profiles import profile_files

if not importlib.util.find_spec("distributed"):
    pytest.skip("needs numpy-autotune[share]", allow_module_level=True)

from distributed import Client

from autotune.cluster.dask_workers import DaskWorkers, connect

SLEEPER = """
from time import sleep

def nap(n, workers=1):
    sleep(n / 1000 / workers)
"""
pytestmark = pytest.mark.real


@pytest.fixture
def nodes(tmp_path):
    """A scheduler; `nodes.worker(name)` starts a worker that stands for a host of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTOTUNE_")}
    kept |= {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "STATE", "CACHE", "DATA")}
    with ExitStack() as stack:
        yield Nodes(tmp_path, {**kept, "HOME": str(tmp_path)}, stack)


class Nodes:
    def __init__(self, folder, environ, stack):
        self.folder, self.environ, self._stack, self._workers = folder, environ, stack, 0
        place = folder / "scheduler.json"
        self.start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(place))
        end = monotonic() + 600
        while not (place.exists() and place.read_text()):
            assert monotonic() < end
            sleep(0.1)
        self.address = json.loads(place.read_text())["address"]

    def worker(self, host, **environ):
        self._workers += 1
        (self.folder / host).mkdir(exist_ok=True)
        own = {"AUTOTUNE_HOST_ID": host, "AUTOTUNE_STATE_DIR": str(self.folder / host), **environ}
        words = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder / host))
        return self.start("worker", self.address, *words, **own)

    def start(self, *words, **environ):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**self.environ, **environ},
            start_new_session=True,
        )
        self._stack.callback(killed, process)
        return process

    def calibrate(self, *words):
        """Start the command, once all workers are there, on a function that naps 20 ms, or half of that with two
        workers.
        """
        with Client(self.address, timeout=600, set_as_default=False) as client:
            client.wait_for_workers(self._workers, timeout=600)
        workload = self.folder / "sleeper.py"
        workload.write_text(SLEEPER)
        command = ["cluster", "calibrate", self.address, "n=20", "--workload", f"{workload}:nap"]
        return subprocess.Popen(
            [sys.executable, "-m", "autotune", *command, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environ, "PYTHONUNBUFFERED": "1"},
            cwd=self.folder,
        )


def killed(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)


def trials(folder):
    """Processes of ours that were started for a host in this folder."""
    environments = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, environ = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:
            continue
        if b"autotune.cluster.node" in command and str(folder).encode() in environ:
            environments.append(environ)
    return environments


def test_two_hosts_measure_and_confirm_and_write_a_profile(nodes):
    for name in ("one", "two"):
        nodes.worker(name)
    command = nodes.calibrate("--budget", "6s", "--output", str(nodes.folder / "class.yaml"))
    said, log = command.communicate(timeout=600)
    assert command.returncode == 0, said + log
    made = profile_files.read(nodes.folder / "class.yaml")
    (entry,) = made.entries
    assert entry.operation.name == "nap"
    assert entry.status is not Status.FAILED
    # on a busy machine nothing may have been proved; what was proved, two hosts were asked about
    assert entry.status is not Status.TUNED or "confirmation of nap" in log
    assert "Host one" in log
    assert "Host two" in log


def test_what_measures_sees_nothing_of_the_nanny_and_ends_with_the_command(nodes):
    if not Path("/proc/self/environ").exists():
        pytest.skip("this takes /proc")
    nodes.worker("one", OMP_NUM_THREADS="1", MALLOC_TRIM_THRESHOLD_="65536")
    command = nodes.calibrate("--budget", "60s")
    for line in command.stderr:
        if "self-test" in line:
            break
    end, seen = monotonic() + 600, []
    while not seen and command.poll() is None and monotonic() < end:
        seen = trials(nodes.folder)
        sleep(0.05)
    assert seen
    for name in (b"OMP_NUM_THREADS", b"MKL_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"MALLOC_TRIM_THRESHOLD_"):
        assert not any(name + b"=" in environ for environ in seen)
    command.send_signal(signal.SIGINT)
    said, log = command.communicate(timeout=600)
    assert command.returncode == 130, said + log
    while trials(nodes.folder) and monotonic() < end:
        sleep(0.05)
    assert trials(nodes.folder) == []


def test_a_scheduler_that_no_one_runs_is_a_sentence(monkeypatch):
    monkeypatch.setattr("autotune.cluster.dask_workers.CONNECT_SECONDS", 1.0)
    with pytest.raises(EnvironmentProblem, match="No Dask scheduler answers"), connect("tcp://127.0.0.1:1"):
        pass


@pytest.mark.parametrize("address", ["carrier-pigeon://here", "tcp://:x", "nonsense"])
def test_what_is_no_address_is_a_sentence(address, monkeypatch):
    monkeypatch.setattr("autotune.cluster.dask_workers.CONNECT_SECONDS", 1.0)
    with pytest.raises((BadSettings, EnvironmentProblem)), connect(address):
        pass


class Scheduler:
    """A scheduler and its workers, by the Python that they run; None is one that hangs."""

    def __init__(self, **pythons):
        self._pythons = pythons

    def versions(self, packages):
        return {"host": {"python": platform.python_version()}}

    def broadcast(self, msg, workers, on_error):
        if any(self._pythons[worker] is None for worker in workers):
            raise TimeoutError
        return {worker: {"host": {"python": self._pythons[worker]}} for worker in workers}

    def sync(self, call, callback_timeout=None, **words):
        return call(**words)

    @property
    def scheduler(self):
        return self


@pytest.mark.parametrize(
    ("python", "problem"),
    [("3.1.4", "Python is 3.1 there"), (None, "It did not answer within 20 s")],
    ids=["other", "hangs"],
)
def test_a_worker_that_cannot_take_part_says_why_whatever_another_one_does(python, problem):
    workers = DaskWorkers(Scheduler(new=python, hanging=None))
    ticket = workers.send("new", "an order", "introduce")
    ((answered, answer),) = workers.answers()
    assert (answered, answer["kind"]) == (ticket, "absent")
    assert answer["problem"].startswith(problem)
