"""The daemon's control socket, and the client that asks it.

A client connects, sends one line of JSON, receives one line, and the connection ends:

    {"verb": "status"}                    {"ok": true, ...}
    {"verb": "pause", "seconds": 7200}    {"ok": false, "error": "..."}

Every user may read; the kernel says who asks (SO_PEERCRED), and `may_order` decides who may give orders. No client
delays the daemon or another client: sockets do not block, requests and the number of clients are limited, answers fit
the kernel's buffer, and a connection that is not over in time is closed. No request runs code or opens a file that a
client names.
"""

import json
import os
import selectors
import socket
import stat
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from autotune.daemon.daemon_settings import SYSTEM_USER
from autotune.errors import EnvironmentProblem, NoDaemon, OrderRefused, UnsupportedPlatform

MAX_SOCKET_PATH = 107
"""Bytes that fit sun_path with its final zero (unix(7))."""
MAX_REQUEST = 2**14
MAX_ANSWER = 2**20
"""Bytes. A larger answer, or one beyond what the system allows for a socket's buffer, is cut off."""
MAX_CLIENTS = 48
"""Connections at a time; one more closes the oldest."""
CLIENT_SECONDS = 10.0
"""Time for a connection, on both sides, and for a daemon to end."""

_CREDENTIALS = struct.Struct("=iII")


@dataclass(frozen=True, slots=True)
class SocketPeer:
    """Id of the process at the other end; None where the kernel does not give it."""

    uid: int | None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class ClientConnection:
    """A client whose request is being received."""

    peer: SocketPeer
    expires: float
    request: bytearray = field(default_factory=bytearray)


Answerer = Callable[[Mapping[str, Any], SocketPeer], dict[str, Any]]


class ControlSocket:
    """The listening socket. It registers with the selector of the daemon's loop, which calls `serve`."""

    def __init__(
        self, path: Path, answer: Answerer, selector: selectors.BaseSelector, *, clock: Callable[[], float] = monotonic
    ) -> None:
        """Raises EnvironmentProblem if the socket cannot be made.

        The caller holds the daemon's lock, so that a socket of this name was left by a daemon that was killed.
        """
        self._path = path
        self._answer = answer
        self._selector = selector
        self._clock = clock
        self._clients: dict[socket.socket, ClientConnection] = {}
        self._listener = _listen(path)
        self._bound = path.lstat().st_ino
        selector.register(self._listener, selectors.EVENT_READ)

    def serve(self, ready: object) -> None:
        """Accept a client, or receive from one, whichever socket is ready."""
        if ready is self._listener:
            self._accept()
        elif isinstance(ready, socket.socket) and ready in self._clients:
            answer = self._receive(ready, self._clients[ready])
            if answer is not None:
                with suppress(OSError):
                    ready.send(answer)
                self._drop(ready)

    def drop_expired(self) -> None:
        now = self._clock()
        for line in [line for line, client in self._clients.items() if client.expires < now]:
            self._drop(line)

    def close(self) -> None:
        for line in list(self._clients):
            self._drop(line)
        self._selector.unregister(self._listener)
        self._listener.close()
        with suppress(OSError):
            if self._path.lstat().st_ino == self._bound:  # else it is a successor's
                self._path.unlink()

    def _accept(self) -> None:
        try:
            line, _ = self._listener.accept()
        except OSError:
            return
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_ANSWER)
        self._clients[line] = ClientConnection(peer_of(line), self._clock() + CLIENT_SECONDS)
        self._selector.register(line, selectors.EVENT_READ)
        if len(self._clients) > MAX_CLIENTS:
            self._drop(next(iter(self._clients)))

    def _receive(self, line: socket.socket, client: ClientConnection) -> bytes | None:
        """Receive more of a request. Return the answer once it is whole, empty if the client has gone."""
        try:
            text = line.recv(MAX_REQUEST + 1)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        client.request.extend(text)
        request, newline, _ = client.request.partition(b"\n")
        if len(request) > MAX_REQUEST:
            answer = refusal(f"A request has at most {MAX_REQUEST} bytes.")
        elif newline:
            answer = self._answer_to(bytes(request), client.peer)
        else:
            return None if text else b""
        return json.dumps(answer).encode() + b"\n"

    def _answer_to(self, request: bytes, peer: SocketPeer) -> dict[str, Any]:
        try:
            document = json.loads(request)
        except (ValueError, RecursionError):
            return refusal("A request is one line of JSON.")
        if not isinstance(document, dict) or not isinstance(document.get("verb"), str):
            return refusal('A request is an object with a "verb".')
        return self._answer(document, peer)

    def _drop(self, line: socket.socket) -> None:
        del self._clients[line]
        self._selector.unregister(line)
        line.close()


def refusal(why: str) -> dict[str, Any]:
    return {"ok": False, "error": why}


def peer_of(line: socket.socket) -> SocketPeer:
    """Ask the kernel who is at the other end."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return SocketPeer(None)
    _pid, uid, gid = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return SocketPeer(uid, gid)


def may_order(peer: SocketPeer, group: str | None) -> bool:
    """May this process give orders: is it root's, the daemon's own user's, or of a member of the group?"""
    if peer.uid in {0, os.geteuid()}:
        return True
    if peer.uid is None or group is None:
        return False
    import grp
    import pwd

    try:
        wanted = grp.getgrnam(group).gr_gid
        user = pwd.getpwuid(peer.uid).pw_name if wanted != peer.gid else ""
        return wanted == peer.gid or wanted in os.getgrouplist(user, peer.gid or 0)
    except (KeyError, OSError):
        return False


def _listen(path: Path) -> socket.socket:
    _check_length(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(0, "there is a file of this name that is not a socket")
        path.unlink(missing_ok=True)
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(MAX_CLIENTS)
    except OSError as error:
        listener.close()
        raise EnvironmentProblem(f"The socket {path} cannot be made: {error.strerror or error}.") from error
    return listener


def _check_length(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise EnvironmentProblem(
            f"The socket's path {path} has {length} bytes; the system allows {MAX_SOCKET_PATH}. "
            "Name a shorter folder in XDG_RUNTIME_DIR or AUTOTUNE_STATE_DIR."
        )


# --- the client ---------------------------------------------------------------------------------


def ask_daemon(sockets: Sequence[Path], verb: str, **words: Any) -> dict[str, Any]:
    """Send a request to the first of these sockets that a daemon listens on; return its answer.

    Raises OrderRefused with the daemon's sentence, and NoDaemon if none listens, or one of a user who is not trusted.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise UnsupportedPlatform("The daemon is asked over a UNIX socket, which this system does not have.")
    for path in sockets:
        line = _connect(path)
        if line is not None:
            with line:
                _check_owner(line, path)
                answer = _exchange(line, {"verb": verb, **words})
            if verb == "stop":
                _wait_until_closed(path)
            return answer
    raise NoDaemon(f"No daemon answers at {' or '.join(map(str, sockets))}. `autotune daemon` starts one.")


def _connect(path: Path) -> socket.socket | None:
    _check_length(path)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(CLIENT_SECONDS)
    try:
        line.connect(str(path))
    except OSError:
        line.close()
        return None
    return line


def _check_owner(line: socket.socket, path: Path) -> None:
    """Refuse a socket that another user may have put there."""
    import pwd

    uid, trusted = peer_of(line).uid, {None, 0, os.geteuid()}
    with suppress(KeyError):
        trusted.add(pwd.getpwnam(SYSTEM_USER).pw_uid)
    if uid not in trusted:
        raise NoDaemon(f"{path} is served by user {uid}, who is neither you, root, nor {SYSTEM_USER}.")


def _exchange(line: socket.socket, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        line.sendall(json.dumps(request).encode() + b"\n")
        with line.makefile("rb") as file:
            answer = json.loads(file.readline(MAX_ANSWER))
    except (OSError, ValueError) as error:
        raise NoDaemon(f"The daemon ended, or gave no whole answer ({error}).") from error
    if not answer.get("ok"):
        raise OrderRefused(str(answer.get("error", "The daemon refused.")))
    return dict(answer)


def _wait_until_closed(path: Path) -> None:
    deadline = monotonic() + CLIENT_SECONDS
    while monotonic() < deadline and (line := _connect(path)) is not None:
        line.close()
        sleep(0.05)
