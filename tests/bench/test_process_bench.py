"""The real bench with work that crashes, hangs, lies or prints: every end is a Measurement."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.behaving_work import WORKLOADS, behaving, case_of
from support.processes import PATIENCE, alive, gone, wait_until

from autotune.bench.process_bench import ProcessBench
from autotune.bench.user_workload import UserWorkload
from autotune.controls import allocator
from autotune.errors import UnsupportedPlatform
from autotune.host.usable_cpus import usable_cpus
from autotune.model.catalogue import operation
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Case, FailureKind, TrialPlan
from autotune.model.operation import Operation

TWO, THREE = Configuration(workers=2), Configuration(workers=3)

pytestmark = pytest.mark.real


def _run(name, *configurations, patience=60.0, environ=None, rounds=1):
    bench = ProcessBench(workloads=behaving(name), patience=patience, environ={**os.environ, **(environ or {})})
    return bench.run(TrialPlan(cases=(case_of(name, *configurations),), rounds=rounds, seconds=0.0)).measurements


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("killed", FailureKind.KILLED, "SIGKILL"),
        ("raising", FailureKind.ERROR, "ZeroDivisionError: two is too many|behaving.py:"),
        ("leaving", FailureKind.ERROR, "SystemExit: 3"),
        ("vanishing", FailureKind.PROTOCOL, "exit status 0"),
        ("wrong", FailureKind.WRONG_RESULT, "another result"),
        ("greedy", FailureKind.OUT_OF_MEMORY, "128. TiB"),
        ("babbling", FailureKind.PROTOCOL, "cannot be understood"),
    ],
)
def test_each_way_to_fail_has_its_name_and_costs_the_others_nothing(name, kind, words):
    default, failed, other = _run(name, TWO, THREE)

    assert failed.failure.kind is kind
    assert [word for word in words.split("|") if word not in failed.failure.reason] == []
    assert len(default.seconds) == len(other.seconds) == 1


@pytest.mark.parametrize("configurations", [(), (TWO,)])
def test_a_process_is_ended_with_the_time_of_its_plan(configurations):
    bench, case = ProcessBench(workloads=behaving("slow")), case_of("slow", *configurations)
    bench.run(TrialPlan(cases=(case,), rounds=1, seconds=0.0, longest=0.01))  # its server has loaded NumPy
    began = time.monotonic()

    measured = bench.run(TrialPlan(cases=(case,), rounds=1, seconds=0.0, longest=0.5)).measurements

    assert time.monotonic() - began < 5.0
    assert {measurement.failure.kind for measurement in measured} == {FailureKind.NOT_REACHED}
    assert "--budget" in measured[0].failure.reason


def test_a_hang_is_a_time_out_and_its_grandchild_goes_with_it(tmp_path):
    log = tmp_path / "log"

    default, hanging, other = _run("hanging", TWO, THREE, patience=6.0, environ={"AUTOTUNE_TEST_LOG": str(log)})

    assert hanging.failure.kind is FailureKind.TIME_OUT
    assert "1 s" in hanging.failure.reason
    assert len(default.seconds) == len(other.seconds) == 1
    assert not alive(map(int, log.read_text().split()))


def test_what_the_work_prints_disturbs_nothing():
    (noisy,) = _run("noisy")

    assert len(noisy.seconds) == 1


def test_a_crash_is_told_with_its_signal_and_the_line_that_it_arose_in():
    _, crashed = _run("crashing", TWO)

    assert crashed.failure.kind is FailureKind.CRASH
    assert re.search(r'Its last words: File "[^"]+", line \d+', crashed.failure.reason)


def test_work_larger_than_its_allowance_is_refused_before_it_allocates():
    case = Case(operation=operation("add", n=10**9), configurations=(TWO,))

    session = ProcessBench(memory_bytes=2**20).run(TrialPlan(cases=(case,), rounds=1))

    assert session.measurements[0].failure.kind is FailureKind.OUT_OF_MEMORY
    assert "a trial may take 1 MiB" in session.measurements[0].failure.reason


def test_thread_variables_of_the_caller_do_not_reach_the_trial_and_are_told():
    bench = ProcessBench(environ={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "abc"})

    assert bench.scrubbed == ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def test_linear_algebra_of_the_catalogue_is_measured_and_passes_its_check():
    case = Case(operation=operation("cholesky", n=64), configurations=(Configuration(blas_threads=1),))

    session = ProcessBench().run(TrialPlan(cases=(case,), rounds=2, seconds=0.0))

    assert [(trial.failure, len(trial.seconds)) for trial in session.measurements] == [(None, 1), (None, 1)]


@pytest.mark.skipif(usable_cpus()[0] < 2, reason="a single CPU has no capacity to lose")
def test_pairs_are_probed_though_blas_threads_spin_between_them():
    case = Case(operation=operation("qr", n=256), configurations=(Configuration(blas_threads=1),))

    _, single = ProcessBench().run(TrialPlan(cases=(case,), rounds=2)).measurements

    assert all(pair.capacity is not None for pair in single.pairs)


def test_ctrl_c_passes_through_after_all_children_are_gone(tmp_path):
    log = tmp_path / "log"
    process = _asking_for_a_hang(log)
    pids = _pids(log)

    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=300)

    assert "KeyboardInterrupt" in printed
    assert not alive(pids)


def test_nothing_outlives_a_parent_that_was_killed(tmp_path):
    log = tmp_path / "log"
    process = _asking_for_a_hang(log)
    pids = _pids(log)
    (folder,) = _temporary(log).iterdir()

    process.kill()
    process.communicate(timeout=300)

    assert gone(pids)
    wait_until(lambda: not folder.exists())


def test_nothing_outlives_a_parent_that_was_killed_before_it_heard_of_the_end_of_its_trial(tmp_path):
    log = tmp_path / "log"
    process = _asking_for_a_hang(log)
    trial, grandchild = _pids(log)

    process.send_signal(signal.SIGSTOP)
    os.kill(trial, signal.SIGKILL)
    assert gone([trial])
    process.kill()
    process.communicate(timeout=300)

    assert gone([grandchild])


@pytest.mark.parametrize("hears", [False, True])
def test_a_server_whose_parent_is_killed_after_its_last_order_ends_in_order_and_leaves_no_folder(tmp_path, hears):
    parent, child = socket.socketpair()
    words = [sys.executable, "-P", "-m", "autotune.bench.trial_server", str(child.fileno())]
    server = subprocess.Popen(words, pass_fds=[child.fileno()], stderr=subprocess.PIPE)
    child.close()
    folder, request = tmp_path / "trial", tmp_path / "request"
    folder.mkdir()
    request.write_text('{"request": "nothing"}')
    parent.sendall(json.dumps({"data_bytes": None, "preload": False}).encode())
    with parent.makefile("rb") as answers:
        assert answers.readline() == b"ready\n"
        with request.open("rb") as stdin, (tmp_path / "printed").open("wb") as printed:
            descriptors = [stdin.fileno(), *[printed.fileno()] * 3]
            socket.send_fds(parent, [json.dumps({"folder": str(folder)}).encode()], descriptors)
        assert answers.readline().startswith(b"started ")
        assert answers.readline() == b"ended 0\n"

    if not hears:
        parent.shutdown(socket.SHUT_RD)
    parent.sendall(b"end")
    if hears:
        select.select([parent], [], [], PATIENCE)  # and is killed before it reads the answer
    parent.close()

    _, said = server.communicate(timeout=PATIENCE)
    assert (server.returncode, said) == (0, b"")
    assert not folder.exists()


def test_the_default_that_fails_to_load_fails_its_case_with_file_and_line():
    broken = UserWorkload(name="work", source=f"{WORKLOADS / 'broken.py'}:work", sizes=("n",))
    case = Case(operation=Operation(name="work", sizes=(("n", 1),)), configurations=(TWO,))

    session = ProcessBench(workloads={"work": broken}).run(TrialPlan(cases=(case,), rounds=1))

    default, other = session.measurements
    assert default.configuration == DEFAULT
    assert default.failure.kind is FailureKind.ERROR
    assert "broken.py:5" in default.failure.reason
    assert other.failure.kind is FailureKind.NOT_REACHED


def test_an_interpreter_that_cannot_start_is_a_failure(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    (default,) = _run("steady")

    assert default.failure.kind is FailureKind.PROTOCOL
    assert "cannot be started" in default.failure.reason


HANG = """
import sys
from tests_bench import _run, TWO
_run("hanging", TWO, environ={"AUTOTUNE_TEST_LOG": sys.argv[1]})
"""


def _asking_for_a_hang(log):
    code = HANG.replace("tests_bench", Path(__file__).stem)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    _temporary(log).mkdir()
    environ = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(_temporary(log))}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(log)], env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _temporary(log):
    return log.with_name("temporary")


def _pids(log):
    wait_until(lambda: log.exists() and len(log.read_text().split()) == 2)
    return [int(pid) for pid in log.read_text().split()]


def test_what_an_allocator_keeps_in_memory_is_measured_next_to_the_default():
    """Two temporaries of 48 MiB each, which glibc on its own gives back."""
    if (reason := allocator.unsupported_reason()) is not None:
        pytest.skip(reason)
    case = Case(operation=operation("temporaries", n=6 * 2**20), configurations=(Configuration(allocator="retain"),))

    default, retaining = ProcessBench().run(TrialPlan(cases=(case,), rounds=1, seconds=0.0)).measurements

    assert retaining.resident_bytes - default.resident_bytes > 40 * 2**20


def test_where_no_allocator_is_chosen_memory_is_not_looked_at():
    assert [trial.resident_bytes for trial in _run("steady", TWO)] == [None, None]


def test_a_server_that_is_killed_costs_its_trial_and_the_next_plan_gets_another():
    bench = ProcessBench(workloads=behaving("steady"))
    plan = TrialPlan(cases=(case_of("steady", TWO),), rounds=500)

    def kill():
        wait_until(lambda: len(psutil.Process().children(recursive=True)) >= 2)
        _server().kill()

    killer = threading.Thread(target=kill)
    killer.start()
    broken = bench.run(plan)
    killer.join()
    whole = bench.run(replace(plan, rounds=1))

    assert any(trial.failure is not None for trial in broken.measurements)
    assert [trial.failure for trial in whole.measurements] == [None, None]


def _server():
    return next(child for child in psutil.Process().children() if "trial_server" in " ".join(child.cmdline()))


def test_a_server_that_was_killed_between_two_trials_costs_nothing():
    bench = ProcessBench(workloads=behaving("steady"))
    plan = TrialPlan(cases=(case_of("steady", TWO),), rounds=1, seconds=0.0)
    bench.run(plan)
    server = _server()
    server.kill()
    assert gone([server.pid])

    assert [trial.failure for trial in bench.run(plan).measurements] == [None, None]


@pytest.mark.parametrize(("name", "value"), [("frozen", True), ("executable", ""), ("executable", None)])
def test_a_program_that_is_no_python_is_not_started_again_for_trials(monkeypatch, name, value):
    monkeypatch.setattr(sys, name, value, raising=False)
    with pytest.raises(UnsupportedPlatform, match="ordinary Python"):
        _run("killed", TWO)
