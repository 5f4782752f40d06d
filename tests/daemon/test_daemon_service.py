"""Answers of the daemon. A service that is not running: no signals, no children, a socket without clients."""

import io
import json
import os
import shutil
import signal
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon_scenes import Server
from support.mutants import mutants

from autotune.daemon import control_socket
from autotune.daemon.context import DaemonLog
from autotune.daemon.control_socket import CLIENT_SECONDS, SocketPeer
from autotune.daemon.daemon_settings import DaemonPaths
from autotune.daemon.service import ORDERING_VERBS, READING_VERBS, DaemonService
from autotune.daemon.state import load_state, save_state
from autotune.errors import DaemonRuns, EnvironmentProblem

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the daemon needs POSIX signals and sockets")

ROOT, STRANGER = SocketPeer(0, 0), SocketPeer(12345, 12345)


def paths_in(folder):
    return DaemonPaths(
        settings=folder / "daemon.yaml",
        state=folder / "state",
        run=folder / "run",
        profiles=folder / "profiles",
        spool=folder / "spool",
        mirror=folder / "mirror",
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = DaemonService(paths_in(tmp_path_factory.mktemp("d")), log=DaemonLog(io.StringIO()))
    yield running
    running.close()


@pytest.mark.parametrize("verb", ORDERING_VERBS)
def test_a_stranger_may_order_nothing(service, verb):
    answer = service.answer({"verb": verb, "operation": "svd"}, STRANGER)
    assert not answer["ok"]
    assert answer["error"] == f"Only root and the daemon's own user may order {verb}."


@pytest.mark.parametrize("verb", READING_VERBS)
def test_a_stranger_may_read(service, verb):
    assert service.answer({"verb": verb}, STRANGER)["ok"]


def test_a_configuration_file_is_named_once_it_has_been_read(service):
    def named():
        return service.answer({"verb": "status"}, STRANGER)["configuration"]

    assert named() is None
    service.paths.settings.touch(0o600)
    service.paths.settings.write_text("nonsense: 1\n")
    assert not service.answer({"verb": "reload"}, ROOT)["ok"]
    assert named() is None
    service.paths.settings.write_text("")
    service.answer({"verb": "reload"}, ROOT)
    assert named() == str(service.paths.settings)
    service.paths.settings.unlink()
    service.answer({"verb": "reload"}, ROOT)
    assert named() is None


def test_an_order_waits_until_it_has_been_measured(service):
    before = service.answer({"verb": "status"}, STRANGER)["orders"]
    assert service.answer({"verb": "tune", "operation": "cos", "sizes": {"n": 77}}, ROOT) == {
        "ok": True,
        "operation": "sin float64 n=77",
    }
    assert service.answer({"verb": "status"}, STRANGER)["orders"] == before + 1


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"verb": "run"}, "There is no verb 'run'; there are status, explain, pause, resume, tune, reload, stop."),
        ({"verb": "pause", "seconds": -1}, "seconds: expected a number above 0"),
        ({"verb": "pause", "seconds": float("nan")}, "seconds: expected a number above 0"),
        ({"verb": "tune", "operation": "../svd"}, "An operation is named as in the catalogue, such as svd."),
        ({"verb": "tune", "operation": "svd", "sizes": {"dtype": 1}}, "The sizes of svd are m, n, with whole"),
        ({"verb": "tune", "operation": "svd", "sizes": {"n": "1"}}, "svd: n must be a whole number from 1"),
        ({"verb": "tune", "operation": "svd", "dtype": "int8"}, "svd: dtype must be one of float64"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(service, message, said):
    answer = service.answer(message, ROOT)
    assert not answer["ok"]
    assert answer["error"].startswith(said)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["svd", "qr"])
WORDS = st.dictionaries(
    st.sampled_from(["seconds", "operation", "dtype", "sizes", "m", "n", "self", "name"]),
    VALUES | st.dictionaries(st.sampled_from(["m", "n", "k", "dtype", "name"]), VALUES) | st.lists(VALUES),
)


@given(verb=st.sampled_from([*READING_VERBS, *ORDERING_VERBS]) | st.text(max_size=5), words=WORDS)
def test_whatever_is_asked_has_an_answer(service, verb, words):
    answer = service.answer({**words, "verb": verb}, ROOT)
    assert answer["ok"] or answer["error"].endswith((".", "?"))


MESSAGES = [
    {"verb": "tune", "operation": "svd", "dtype": "float64", "sizes": {"m": 100, "n": 50}},
    {"verb": "pause", "seconds": 3600},
    {"verb": "status"},
    {"verb": "stop"},
]


@pytest.fixture
def server(service, tmp_path, monkeypatch):
    """A socket in front of the service, whose client is a stranger."""
    monkeypatch.setattr(control_socket, "peer_of", lambda _: STRANGER)
    return Server(tmp_path / "socket", service.answer)


def answer_to(server, message):
    """Send a message that may never end; return the answer, if there is one."""
    with server.connect() as line:
        with suppress(ConnectionError):
            line.sendall(message)
        server.turn()
        server.time += CLIENT_SECONDS + 1
        server.control.drop_expired()
        try:
            return server.read(line)
        except ConnectionError:  # closed with part of the message unread
            return None


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message["verb"])
def test_a_mutant_of_a_message_has_an_answer_and_orders_nothing_for_a_stranger(message, server, service):
    def state():
        return {
            name: value for name, value in service.answer({"verb": "status"}, ROOT).items() if name != "resident_bytes"
        }

    before = state()
    for mutant in mutants(json.dumps(message).encode() + b"\n"):
        answer = answer_to(server, mutant)
        assert answer is None or answer.get("error") or {"version", "queue"} & answer.keys()
    assert state() == before
    assert server.connections == 0


def test_a_mutant_of_an_order_is_refused_or_names_an_operation_of_the_catalogue(server, service, tmp_path, monkeypatch):
    monkeypatch.setattr(control_socket, "peer_of", lambda _: ROOT)
    state = service.controller.context.state
    for mutant in mutants(json.dumps(MESSAGES[0]).encode() + b"\n"):
        state.orders.clear()
        answer = answer_to(server, mutant)
        is_obeyed = answer is not None and answer["ok"] and "operation" in answer
        assert len(state.orders) == is_obeyed
    save_state(tmp_path / "state.json", state)
    assert load_state(tmp_path / "state.json")[1] is None


def test_a_second_service_of_the_same_places_is_refused(service):
    with pytest.raises(DaemonRuns, match="Another daemon holds"):
        DaemonService(service.paths, log=DaemonLog(io.StringIO()))


def test_a_service_whose_folder_was_removed_ends_with_a_sentence(tmp_path_factory):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    folder = tmp_path_factory.mktemp("d")
    service = DaemonService(paths_in(folder), log=DaemonLog(io.StringIO()))
    shutil.rmtree(folder)
    try:
        with pytest.raises(EnvironmentProblem, match=r"daemon\.lock was removed"):
            service.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not folder.exists()
