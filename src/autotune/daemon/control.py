"""The control socket: JSON lines, reading for everyone, orders for those who may give them.

    {"verb": "status"}                    {"ok": true, ...}
    {"verb": "pause", "seconds": 7200}    {"ok": false, "error": "...", "denied": true}

Nothing that a client does can hold the daemon up: all sockets are non-blocking, a line and the number of clients
are bounded, requests take turns, and nothing more is read from a client that has not read its answer. When the
last place is taken, the client that has been silent longest goes. No verb runs code, or opens a path, that a
client names.
"""

import errno
import json
import os
import selectors
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from autotune.errors import EnvironmentProblem

LONGEST_PATH = 107
"""Bytes that fit sun_path with its final zero (unix(7))."""
LONGEST_LINE = 2**14
MOST_CLIENTS = 2000
ACCEPTED_AT_ONCE = 64
SPARE_FILES = 64
"""Descriptors kept for children and state."""
QUIET_SECONDS = 300.0
"""After which a client that never asks is sent away."""

_CREDENTIALS = struct.Struct("=iII")

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel says (SO_PEERCRED); None where it does not."""

    uid: int | None
    gid: int | None = None


@dataclass(slots=True, eq=False)
class Client:
    """One connection."""

    line: socket.socket
    peer: Peer
    heard: float
    asked: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    leaving: bool = False


class Control:
    """Listens, and has `answer` answer. Registers with the loop's selector; the loop calls `serve`."""

    def __init__(
        self,
        path: Path,
        answer: Callable[[Mapping[str, Any], Peer], Answer],
        selector: selectors.BaseSelector,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Raises EnvironmentProblem if the socket cannot be made. The caller holds the daemon's lock, so that
        a socket of that name is left over from one that was killed.
        """
        self._path = path
        self._answer = answer
        self._selector = selector
        self._clock = clock
        self._clients: dict[int, Client] = {}
        self._most = _room()
        self._listener = _listening(path)
        selector.register(self._listener, selectors.EVENT_READ)

    def serve(self, fileobj: object, events: int) -> bool:
        """Do what a ready descriptor asks for; False if it is none of ours."""
        if fileobj is self._listener:
            self._accept()
            return True
        client = self._clients.get(fileobj.fileno()) if isinstance(fileobj, socket.socket) else None
        if client is None:
            return False
        with suppress(OSError):
            if events & selectors.EVENT_READ:
                self._read(client)
            self._work(client)
            self._send(client)
            return True
        self._drop(client)
        return True

    def sweep(self) -> None:
        """Send those away who have not said anything for long."""
        limit = self._clock() - QUIET_SECONDS
        for client in [each for each in self._clients.values() if each.heard < limit]:
            self._drop(client)

    def close(self) -> None:
        """Stop listening, and take the name away."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        with suppress(OSError):
            self._path.unlink()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                line, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno not in {errno.EMFILE, errno.ENFILE} or not self._make_room():
                    return
                continue
            line.setblocking(False)
            client = Client(line, peer(line), self._clock())
            self._clients[line.fileno()] = client
            self._selector.register(line, selectors.EVENT_READ)
            if len(self._clients) > self._most:
                self._make_room()

    def _make_room(self) -> bool:
        if not self._clients:
            return False
        self._drop(min(self._clients.values(), key=lambda client: client.heard))
        return True

    def _read(self, client: Client) -> None:
        """Take in more, unless requests that were taken in already wait for their answers."""
        if b"\n" in client.asked or client.unsent:
            return
        with suppress(BlockingIOError):
            text = client.line.recv(2**16)
            if not text:
                client.leaving = True
                return
            client.heard = self._clock()
            client.asked += text
        if b"\n" not in client.asked and len(client.asked) > LONGEST_LINE:
            self._reply(client, refusal(f"A request has at most {LONGEST_LINE} bytes."))
            client.asked.clear()
            client.leaving = True

    def _work(self, client: Client) -> None:
        """Answer one request; the next has its turn after everybody else's, and once this answer is taken."""
        if not client.unsent and b"\n" in client.asked:
            request, _, rest = client.asked.partition(b"\n")
            client.asked = bytearray(rest)
            self._reply(client, self._answered(bytes(request), client.peer))

    def _answered(self, request: bytes, who: Peer) -> Answer:
        if len(request) > LONGEST_LINE:
            return refusal(f"A request has at most {LONGEST_LINE} bytes.")
        try:
            asked = json.loads(request)
        except (ValueError, RecursionError):
            return refusal("A request is one line of JSON.")
        if not isinstance(asked, dict) or not isinstance(asked.get("verb"), str):
            return refusal('A request is an object with a "verb".')
        return self._answer(asked, who)

    def _reply(self, client: Client, answer: Answer) -> None:
        client.unsent += json.dumps(answer).encode() + b"\n"

    def _send(self, client: Client) -> None:
        with suppress(BlockingIOError):
            while client.unsent:
                del client.unsent[: client.line.send(client.unsent)]
        waits = b"\n" in client.asked
        if client.leaving and not client.unsent and not waits:
            self._drop(client)
            return
        wanted = selectors.EVENT_WRITE if client.unsent or waits else selectors.EVENT_READ
        if self._selector.get_key(client.line).events != wanted:
            self._selector.modify(client.line, wanted)

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.line.fileno(), None) is not None:
            self._selector.unregister(client.line)
            client.line.close()


def refusal(why: str, *, denied: bool = False) -> Answer:
    """The answer to what cannot be done."""
    return {"ok": False, "error": why, **({"denied": True} if denied else {})}


def peer(line: socket.socket) -> Peer:
    """Who is at the other end."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return Peer(None)
    _pid, uid, gid = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return Peer(uid, gid)


def may_order(who: Peer, group: str | None) -> bool:
    """Root, the daemon's own user, and the members of the group."""
    if who.uid is None:
        return False
    if who.uid in {0, os.geteuid()}:
        return True
    if group is None:
        return False
    import grp  # POSIX only, and hardly ever needed
    import pwd

    try:
        wanted = grp.getgrnam(group).gr_gid
        return wanted == who.gid or wanted in os.getgrouplist(pwd.getpwuid(who.uid).pw_name, who.gid or 0)
    except (KeyError, OSError):
        return False


def _room() -> int:
    """Clients that fit the limit of open files, which is raised as far as it may be."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CLIENTS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CLIENTS if soft == resource.RLIM_INFINITY else max(8, min(MOST_CLIENTS, soft - SPARE_FILES))


def fits(path: Path) -> None:
    """Raises EnvironmentProblem if a socket cannot have this path."""
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise EnvironmentProblem(
            f"The socket's path {path} has {length} bytes; the system allows {LONGEST_PATH}. "
            "Name a shorter folder in XDG_RUNTIME_DIR or AUTOTUNE_STATE_DIR."
        )


def _clear(path: Path) -> None:
    """Remove the socket of a daemon that was killed, and nothing else."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise EnvironmentProblem(f"{path} is there already, and it is no socket.")
        path.unlink()


def _listening(path: Path) -> socket.socket:
    fits(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _clear(path)
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(512)
    except OSError as problem:
        listener.close()
        raise EnvironmentProblem(
            f"The socket {path} cannot be made: {problem.strerror or problem}."
        ) from problem
    except BaseException:
        listener.close()
        raise
    return listener
