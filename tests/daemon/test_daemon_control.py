"""The socket: who may ask what, and what no client can do to the others. Real sockets, no waiting."""

import json
import os
import selectors
import socket
import threading
from contextlib import contextmanager

import pytest

from autotune.daemon import client, control
from autotune.daemon.client import NoDaemon, Refused
from autotune.daemon.control import Control, Peer, may_order, refusal
from autotune.errors import EnvironmentProblem

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="peers cannot be told here")


class Server:
    """A control socket whose loop turns when it is told to."""

    def __init__(self, path, answer=None):
        self.path = path
        self.selector = selectors.DefaultSelector()
        self.peers = []
        self.time = 0.0
        self.control = Control(path, answer or self.echo, self.selector, clock=lambda: self.time)

    def echo(self, asked, who):
        self.peers.append(who)
        return {"ok": True, "asked": asked}

    def turn(self):
        """Serve until nobody wants anything."""
        for _ in range(10_000):
            ready = self.selector.select(0)
            if not ready:
                return
            for key, events in ready:
                self.control.serve(key.fileobj, events)
        raise AssertionError("the loop never rests")

    def connect(self):
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(60.0)
        line.connect(str(self.path))
        self.turn()
        return line

    def ask(self, line, request):
        line.sendall(json.dumps(request).encode() + b"\n")
        self.turn()
        return self.read(line)

    def read(self, line):
        text = b""
        while not text.endswith(b"\n"):
            self.turn()
            part = line.recv(2**16)
            if not part:
                return None
            text += part
        return json.loads(text)


@pytest.fixture
def server(tmp_path):
    found = Server(tmp_path / "control.sock")
    yield found
    found.control.close()


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


def test_a_request_has_its_answer(server):
    assert server.ask(server.connect(), {"verb": "status"}) == {"ok": True, "asked": {"verb": "status"}}


def test_everybody_may_connect(server):
    assert server.path.stat().st_mode & 0o777 == 0o666


def test_the_kernel_says_who_asks(server):
    server.ask(server.connect(), {"verb": "status"})
    assert server.peers == [Peer(os.geteuid(), os.getegid())]


def test_several_requests_in_one_piece_have_their_answers_in_order(server):
    line = server.connect()
    line.sendall(b'{"verb": "a"}\n{"verb": "b"}\n')
    server.turn()
    text = line.recv(2**16).splitlines()
    assert [json.loads(each)["asked"]["verb"] for each in text] == ["a", "b"]


def test_a_request_in_small_pieces_is_one_request(server):
    line = server.connect()
    for letter in b'{"verb": "status"}\n':
        line.sendall(bytes([letter]))
        server.turn()
    assert server.read(line)["ok"]


@pytest.mark.parametrize("request_", [b"{\n", b"[]\n", b"\0\n", b'{"verb": 1}\n', b"[" * 9000 + b"\n", b"\n"])
def test_garbage_is_answered_with_a_sentence_and_the_line_stays(server, request_):
    line = server.connect()
    line.sendall(request_)
    server.turn()
    assert server.read(line)["error"].startswith("A request is")
    assert server.ask(line, {"verb": "status"})["ok"]


def test_a_line_of_a_megabyte_is_cut_off(server):
    line = server.connect()
    line.setblocking(False)
    for _ in range(64):
        try:
            line.send(b"x" * 2**14)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            break
        server.turn()
    assert server.ask(server.connect(), {"verb": "status"})["ok"]
    assert len(server.selector.get_map()) == 2


def test_a_client_that_never_reads_has_one_answer_waiting_and_keeps_nobody_else_waiting(tmp_path):
    asked = []
    server = Server(
        tmp_path / "s", answer=lambda *words: asked.append(words) or {"ok": True, "long": "x" * 10**6}
    )
    line = server.connect()
    line.sendall(b'{"verb": "status"}\n' * 100)
    server.turn()
    assert len(asked) == 1
    assert server.ask(server.connect(), {"verb": "status"})["ok"]
    server.control.close()


def test_a_client_with_many_requests_does_not_come_before_one_with_a_single_one(server):
    greedy, modest = server.connect(), server.connect()
    greedy.sendall(b'{"verb": "greedy"}\n' * 1000)
    modest.sendall(b'{"verb": "modest"}\n')
    for _ in range(3):
        for key, events in server.selector.select(0):
            server.control.serve(key.fileobj, events)
    assert server.read(modest)["asked"] == {"verb": "modest"}


def test_a_half_written_request_waits_and_holds_nobody_up(server):
    half = server.connect()
    half.sendall(b'{"verb": "sta')
    server.turn()
    assert server.ask(server.connect(), {"verb": "status"})["ok"]


def test_the_silent_are_sent_away_after_a_while(server):
    server.connect()
    server.time = control.QUIET_SECONDS + 1
    talker = server.connect()
    server.control.sweep()
    assert server.ask(talker, {"verb": "status"})["ok"]
    assert len(server.selector.get_map()) == 2


def test_when_all_places_are_taken_the_one_silent_longest_goes(server, monkeypatch):
    monkeypatch.setattr(server.control, "_most", 3)
    lines = []
    for number in range(4):
        server.time = float(number)
        lines.append(server.connect())
    assert server.read(lines[0]) is None
    assert all(server.ask(line, {"verb": "status"})["ok"] for line in lines[1:])


def test_a_client_that_vanishes_leaves_nothing_behind(server):
    server.connect().close()
    server.turn()
    assert len(server.selector.get_map()) == 1


def test_root_and_the_daemon_s_user_may_order():
    assert may_order(Peer(0, 0), None)
    assert may_order(Peer(os.geteuid(), 0), None)


def test_strangers_may_not_and_whoever_cannot_be_told_neither():
    assert not may_order(Peer(12345, 12345), None)
    assert not may_order(Peer(None), "root")


def test_members_of_the_group_may_order_and_an_unknown_group_has_none():
    assert may_order(Peer(12345, 0), "root")
    assert not may_order(Peer(12345, 12345), "root")
    assert not may_order(Peer(12345, 12345), "no-such-group")


def test_a_path_too_long_for_a_socket_is_said(tmp_path):
    with pytest.raises(EnvironmentProblem, match=r"has \d+ bytes; the system allows 107"):
        Server(tmp_path / ("x" * 200))


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    (tmp_path / "s").write_text("precious", "utf-8")
    with pytest.raises(EnvironmentProblem, match="it is no socket"):
        Server(tmp_path / "s")
    assert (tmp_path / "s").read_text("utf-8") == "precious"


def test_the_socket_of_a_killed_daemon_is_taken_over(tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    server = Server(tmp_path / "s")
    assert server.ask(server.connect(), {"verb": "status"})["ok"]
    server.control.close()
    assert not (tmp_path / "s").exists()


# --- the client -------------------------------------------------------------------------------


def test_the_client_asks_the_first_daemon_that_is_there(server, tmp_path):
    with answering(server):
        answer = client.ask([tmp_path / "none", server.path], "tune", operation="svd")
    assert answer["asked"] == {"verb": "tune", "operation": "svd"}


def test_a_refusal_is_the_daemon_s_sentence(tmp_path):
    server = Server(tmp_path / "s", answer=lambda *_: refusal("Only root may.", denied=True))
    with answering(server), pytest.raises(Refused, match=r"Only root may\."):
        client.ask([server.path], "pause")
    server.control.close()


def test_without_a_daemon_the_client_says_where_it_looked(tmp_path):
    with pytest.raises(NoDaemon, match=f"No daemon answers at {tmp_path}/a or {tmp_path}/b."):
        client.ask([tmp_path / "a", tmp_path / "b"], "status")


def test_a_socket_that_a_stranger_serves_is_not_believed(server, monkeypatch):
    monkeypatch.setattr(client, "peer", lambda _: Peer(12345, 12345))
    with pytest.raises(NoDaemon, match="is served by user 12345, who is neither you, root, nor autotune"):
        client.ask([server.path], "status")
