"""`autotune daemon` and its verbs, without a daemon."""

import importlib

import pytest
from click.testing import CliRunner
from support.profile_builders import alone

from autotune.cli.program import program
from autotune.daemon import control_socket, daemon_settings, systemd
from autotune.errors import OrderRefused
from autotune.model import units

daemon = importlib.import_module("autotune.cli.daemon")


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(daemon_settings, "SYSTEM_RUN", tmp_path / "system")
    return lambda *words: CliRunner().invoke(program, ["daemon", *words])


def test_without_a_daemon_every_verb_says_how_to_start_one(invoke, tmp_path):
    done = invoke("status")
    assert done.exit_code == 3
    own = tmp_path / "run" / "autotune" / "control.sock"
    assert done.output == (
        f"autotune: No daemon answers at {own} or {tmp_path}/system/control.sock. `autotune daemon` starts one.\n"
    )


def test_the_system_s_daemon_can_be_meant(invoke, tmp_path):
    assert f"at {tmp_path}/system/control.sock." in invoke("--system", "explain").output


def test_a_refusal_has_exit_code_one(invoke, monkeypatch):
    def refuse(*_, **__):
        raise OrderRefused("Only root may.")

    monkeypatch.setattr(control_socket, "ask_daemon", refuse)
    done = invoke("pause")
    assert (done.exit_code, done.output) == (1, "autotune: Only root may.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pause",), ("pause", {})),
        (("pause", "--for", "2h"), ("pause", {"seconds": 7200.0})),
        (("resume",), ("resume", {})),
        (("reload",), ("reload", {})),
        (("stop",), ("stop", {})),
        (("tune", "det", "n=500"), ("tune", {"operation": "det", "dtype": "float64", "sizes": {"n": 500}})),
        (("tune", "cos"), ("tune", {"operation": "sin", "dtype": "float64", "sizes": {}})),
    ],
)
def test_orders_are_passed_on(invoke, monkeypatch, words, message):
    heard = []
    monkeypatch.setattr(
        control_socket, "ask_daemon", lambda _, verb, **said: heard.append((verb, said)) or {"operation": "", "pid": 7}
    )
    assert invoke(*words).exit_code == 0
    assert heard == [message]


@pytest.mark.parametrize(
    "words",
    [("tune", "no-such"), ("tune", "svd", "n=0"), ("tune", "svd", "k=5"), ("pause", "--for", "soon"), ("nonsense",)],
)
def test_wrong_usage_has_exit_code_two(invoke, words):
    assert invoke(*words).exit_code == 2


def test_the_unit_can_be_printed(invoke):
    assert invoke("install", "--print").output == systemd.system_unit(store=False)
    assert invoke("install", "--user", "--print").output == systemd.user_unit()


STATUS = {
    "version": "1",
    "pid": 7,
    "configuration": "/c.yaml",
    "running": None,
    "waiting": "It is paused.",
    "daily_cpu_seconds": None,
    "spent_cpu_seconds": 61.0,
    "interpreters": [{"name": "/p", "problem": None, "stale": "numpy was 1 and is 2.", "entries": {"this-host": 3}}],
    "store": {"url": "/nfs", "pulled": 0.0, "failures": 1, "staged": 2, "unpublished": 3},
    "demand": 2,
    "orders": 1,
    "doubts": ["svd"],
    "recent": [{"wall": 1_800_000_000.0, "event": "begun", "job": "svd", "why": "It was ordered."}],
}


def test_status_reads_as_sentences():
    assert list(daemon.status_lines(STATUS)) == [
        "autotune 1 runs as process 7, configured by /c.yaml.",
        "Now: nothing. It is paused.",
        "CPU time spent today: 1:01",
        "/p: entries: 3 this-host.",
        "    Stale: numpy was 1 and is 2.",
        "Store /nfs: last pulled: never; failures in a row: 1; pulled profiles to be tested: 2; profiles to be published: 3",
        "Operations called without a profile entry: 2; ordered: 1",
        "In doubt: svd",
        f"  {units.moment(1_800_000_000.0)} begun: svd: It was ordered.",
    ]


def test_a_daemon_without_a_configuration_file_names_none():
    first = next(iter(daemon.status_lines({**STATUS, "configuration": None})))
    assert ("without a configuration file" in first, "None" in first) == (True, False)


def test_what_comes_next_is_numbered():
    job = {"subject": "svd float64 n=5", "cause": "order", "reason": "So."}
    assert list(daemon.queue_lines({"waiting": "", "queue": [job]})) == [
        "The machine is idle.",
        "1. svd float64 n=5 [order] So.",
    ]
    assert list(daemon.queue_lines({"waiting": "Busy.", "queue": []})) == ["Busy.", "Nothing waits to be measured."]


def test_each_size_is_an_order_and_is_repeated(invoke, monkeypatch):
    monkeypatch.setattr(control_socket, "ask_daemon", lambda *_, **said: {"operation": f"svd {said['sizes']['n']}"})
    assert invoke("tune", "svd", "n=200,300").output.startswith("svd 200, svd 300: measured next")
