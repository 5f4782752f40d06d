"""Asks the daemon over its socket."""

import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autotune.daemon import paths
from autotune.daemon.control import fits, peer
from autotune.errors import AutotuneError, EnvironmentProblem, UnsupportedPlatform

PATIENCE_SECONDS = 10.0
LARGEST_ANSWER = 2**24


class Refused(AutotuneError):
    """The daemon will not do it."""


class NoDaemon(EnvironmentProblem):
    """Nobody answers."""


def ask(sockets: Iterable[Path], verb: str, **words: Any) -> dict[str, Any]:
    """The answer of the first daemon that is there.

    Raises Refused with the daemon's sentence, and NoDaemon if there is none, or if the one that listens runs
    as a user who could be anybody.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise UnsupportedPlatform("The daemon is asked over a UNIX socket, which this system does not have.")
    looked = []
    for path in sockets:
        fits(path)
        line = _connected(path)
        if line is None:
            looked.append(str(path))
            continue
        with line:
            _check(line, path)
            return _answer(line, {"verb": verb, **words})
    raise NoDaemon(f"No daemon answers at {' or '.join(looked)}. `autotune daemon` starts one.")


def _connected(path: Path) -> socket.socket | None:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(PATIENCE_SECONDS)
    try:
        line.connect(str(path))
    except OSError:
        line.close()
        return None
    return line


def _check(line: socket.socket, path: Path) -> None:
    """Is it root's, one's own, or the system user's daemon? Another user could have put a socket there."""
    uid = peer(line).uid
    if uid is not None and uid not in {0, os.geteuid(), _system_user()}:
        raise NoDaemon(f"{path} is served by user {uid}, who is neither you, root, nor {paths.SYSTEM_USER}.")


def _system_user() -> int | None:
    import pwd

    try:
        return pwd.getpwnam(paths.SYSTEM_USER).pw_uid
    except KeyError:
        return None


def _answer(line: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    try:
        line.sendall(json.dumps(request).encode() + b"\n")
        text = bytearray()
        while not text.endswith(b"\n"):
            part = line.recv(2**16)
            if not part or len(text) > LARGEST_ANSWER:
                raise NoDaemon("The daemon ended before it had answered.")
            text += part
        answer = json.loads(text)
    except (OSError, ValueError) as problem:
        raise NoDaemon(f"The daemon gave no answer: {problem}.") from problem
    if not answer.get("ok"):
        raise Refused(str(answer.get("error", "The daemon refused.")))
    return dict(answer)
