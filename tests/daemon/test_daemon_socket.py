"""The control socket: who may ask what, and what no client can do to the others. Real sockets, no waiting."""

import os
import socket
import threading
from contextlib import contextmanager

import pytest
from support.daemon_scenes import Server

from autotune.daemon import control_socket
from autotune.daemon.control_socket import CLIENT_SECONDS, MAX_CLIENTS, SocketPeer, ask_daemon, may_order, refusal
from autotune.errors import EnvironmentProblem, NoDaemon, OrderRefused

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="peers cannot be told here")


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "control.sock")
    yield server
    server.control.close()


@contextmanager
def answering(server):
    """The loop turns in a thread of its own meanwhile."""
    over = threading.Event()

    def turn():
        while not over.is_set():
            server.turn()
            over.wait(0.005)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_request_has_its_answer_and_the_connection_ends(server):
    line = server.send(b'{"verb": "status"}\n')
    assert server.read(line) == {"ok": True, "request": {"verb": "status"}}
    assert line.recv(1) == b""
    assert server.connections == 0


def test_every_user_may_connect(server):
    assert server.path.stat().st_mode & 0o777 == 0o666


def test_the_kernel_says_who_asks(server):
    server.ask({"verb": "status"})
    assert server.peers == [SocketPeer(os.geteuid(), os.getegid())]


def test_a_request_in_small_pieces_is_one_request(server):
    line = server.connect()
    for letter in b'{"verb": "status"}\n':
        line.sendall(bytes([letter]))
        server.turn()
    assert server.read(line)["ok"]


@pytest.mark.parametrize("text", [b"{\n", b"[]\n", b"\0\n", b'{"verb": 1}\n', b"[" * 9000 + b"\n", b"\n"])
def test_garbage_is_answered_with_a_sentence(server, text):
    assert server.read(server.send(text))["error"].startswith("A request is")


def test_of_several_requests_in_one_connection_the_first_is_answered(server):
    line = server.send(b'{"verb": "a"}\n{"verb": "b"}\n' * 100)
    assert server.read(line)["request"] == {"verb": "a"}
    assert len(server.peers) == 1
    assert server.connections == 0


def test_a_line_of_a_megabyte_is_cut_off(server):
    line = server.connect()
    line.setblocking(False)
    for _ in range(64):
        try:
            line.send(b"x" * 2**14)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            break
        server.turn()
    assert server.ask({"verb": "status"})["ok"]
    assert server.connections == 0


def test_a_client_that_never_reads_delays_no_other_and_is_closed_at_once(tmp_path):
    server = Server(tmp_path / "s", answer=lambda *_: {"ok": True, "long": "x" * 10**7})
    silent = server.send(b'{"verb": "status"}\n')
    assert silent.fileno() >= 0
    assert server.connections == 0
    server.control.close()


def test_the_longest_answer_that_the_daemon_gives_arrives_whole(tmp_path):
    server = Server(tmp_path / "s", answer=lambda *_: {"ok": True, "long": "x" * 100_000})
    assert len(server.ask({"verb": "status"})["long"]) == 100_000
    server.control.close()


def test_a_half_written_request_delays_no_other_and_is_closed_in_time(server):
    half = server.send(b'{"verb": "sta')
    assert server.ask({"verb": "status"})["ok"]
    server.time = CLIENT_SECONDS + 1
    server.control.drop_expired()
    assert server.read(half) is None


def test_beyond_the_largest_number_of_clients_the_oldest_is_closed(server):
    lines = [server.connect() for _ in range(MAX_CLIENTS)]
    assert server.ask({"verb": "status"})["ok"]
    assert server.read(lines[0]) is None
    assert server.connections == MAX_CLIENTS - 1


def test_a_client_that_vanishes_leaves_nothing_behind(server):
    server.connect().close()
    server.turn()
    assert server.connections == 0


def test_root_and_the_daemon_s_user_may_order():
    assert may_order(SocketPeer(0, 0), None)
    assert may_order(SocketPeer(os.geteuid(), 0), None)


def test_strangers_may_not_and_a_daemon_that_cannot_be_told_neither():
    assert not may_order(SocketPeer(12345, 12345), None)
    assert not may_order(SocketPeer(None), "root")


def test_members_of_the_group_may_order_and_an_unknown_group_has_none():
    assert may_order(SocketPeer(12345, 0), "root")
    assert not may_order(SocketPeer(12345, 12345), "root")
    assert not may_order(SocketPeer(12345, 12345), "no-such-group")


def test_a_path_too_long_for_a_socket_is_said(tmp_path):
    with pytest.raises(EnvironmentProblem, match=r"has \d+ bytes; the system allows 107"):
        Server(tmp_path / ("x" * 200))


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    (tmp_path / "s").write_text("precious", "utf-8")
    with pytest.raises(EnvironmentProblem, match="that is not a socket"):
        Server(tmp_path / "s")
    assert (tmp_path / "s").read_text("utf-8") == "precious"


def test_the_socket_of_a_killed_daemon_is_taken_over(tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    server = Server(tmp_path / "s")
    assert server.ask({"verb": "status"})["ok"]
    server.control.close()
    assert not (tmp_path / "s").exists()


# --- the client -------------------------------------------------------------------------------


def test_the_client_asks_the_first_daemon_that_is_there(server, tmp_path):
    with answering(server):
        answer = ask_daemon([tmp_path / "none", server.path], "tune", operation="svd")
    assert answer["request"] == {"verb": "tune", "operation": "svd"}


def test_a_refusal_is_the_daemon_s_sentence(tmp_path):
    server = Server(tmp_path / "s", answer=lambda *_: refusal("Only root may."))
    with answering(server), pytest.raises(OrderRefused, match=r"Only root may\."):
        ask_daemon([server.path], "pause")
    server.control.close()


def test_without_a_daemon_the_client_says_where_it_looked(tmp_path):
    with pytest.raises(NoDaemon, match=f"No daemon answers at {tmp_path}/a or {tmp_path}/b."):
        ask_daemon([tmp_path / "a", tmp_path / "b"], "status")


def test_a_socket_that_a_stranger_serves_is_not_believed(server, monkeypatch):
    monkeypatch.setattr(control_socket, "peer_of", lambda _: SocketPeer(12345, 12345))
    with pytest.raises(NoDaemon, match="is served by user 12345, who is neither you, root, nor autotune"):
        ask_daemon([server.path], "status")
