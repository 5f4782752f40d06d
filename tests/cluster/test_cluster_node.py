"""A node with an order, up to where it would measure."""

import json
import subprocess
import sys

import pytest
from support.mutants import mutants
from support.profile_builders import KEY, make_entry, profile

from autotune.bench.selftest import SelfTest
from autotune.bench.user_workload import from_source
from autotune.cluster.cluster_plan import NodeTask
from autotune.cluster.dask_workers import worker_task
from autotune.cluster.node import Order, carry_out, decode_order, encode_order, versions
from autotune.errors import BadDocument, BadSize, BadWorkload
from autotune.profiles.profile_document import decode_profile
from autotune.search.request import Effort, Request


def test_an_order_arrives_as_it_was_sent_and_a_mutant_is_refused(tmp_path):
    (tmp_path / "work.py").write_text("def nap(n, workers=1): ...\n")
    own = from_source(f"{tmp_path / 'work.py'}:nap")
    request = Request(sizes=({"n": 5},), effort=Effort.QUICK, budget_seconds=7.5, seed=3, copies=2, workload=own)
    order = Order(
        task=NodeTask.CONFIRM,
        request=request,
        self_test=SelfTest(resolution=0.01, capacity=1.9),
        choices=profile(make_entry("qr", choice={"blas_threads": 1}, m=5, n=5), key=KEY),
        relatives=(profile(make_entry("svd", m=5, n=5), key=KEY),),
    )
    text = encode_order(order)
    there = decode_order(text)
    assert there == order
    for mutant in mutants(text.encode()):
        try:
            assert isinstance(decode_order(mutant.decode("utf-8", "replace")), Order)
        except BadDocument as refused:
            assert "is no order" in str(refused)  # noqa: PT017 - most are refused


def test_a_node_introduces_itself_with_its_class_and_what_there_is_to_measure(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_HOST_ID", "me")
    said = carry_out(Order(task=NodeTask.INTRODUCE, request=Request(operations=("qr", "log"), effort=Effort.QUICK)))
    assert said["host"] == "me"
    assert decode_profile(said["profile"]).key.usable_cpus >= 1
    assert sorted(unit["name"] for unit in said["units"]) == ["log", "qr"]


def test_a_size_that_does_not_fit_the_node_is_refused_before_anything_is_measured():
    request = Request(operations=("fill",), sizes=({"n": 10**13},))
    with pytest.raises(BadSize):
        carry_out(Order(task=NodeTask.INTRODUCE, request=request))


def test_a_workload_that_the_node_does_not_see_is_refused(tmp_path):
    (tmp_path / "work.py").write_text("def nap(n): ...\n")
    own = from_source(f"{tmp_path / 'work.py'}:nap")
    (tmp_path / "work.py").unlink()
    with pytest.raises(BadWorkload, match="where all nodes see it"):
        carry_out(Order(task=NodeTask.INTRODUCE, request=Request(sizes=({"n": 5},), workload=own)))


def test_what_is_sent_to_a_worker_needs_no_module_of_ours_to_be_read():
    cloudpickle = pytest.importorskip("cloudpickle")
    sent = cloudpickle.dumps(worker_task())
    code = (
        "import sys; sys.modules['autotune'] = None\n"
        "import pickle; print(pickle.loads(sys.stdin.buffer.read()).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=False, timeout=300)
    assert (done.stdout.strip(), done.stderr) == (b"run_order", b"")


@pytest.mark.real
def test_a_refusal_is_an_answer_with_the_versions(tmp_path):
    order = encode_order(Order(task=NodeTask.INTRODUCE, request=Request(operations=("fill",), sizes=({"n": 10**13},))))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "autotune.cluster.node"],
        input=order,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    said = json.loads(done.stdout)
    assert (said["kind"], said["versions"]) == ("usage", versions())
