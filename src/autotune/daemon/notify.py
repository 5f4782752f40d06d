"""Tells systemd how the daemon is (sd_notify(3)): one datagram a word; nothing where nobody listens."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic


class Notify:
    """The line to the service manager."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")

    def ready(self) -> None:
        """All is set up."""
        self._say("READY=1")

    def alive(self, status: str) -> None:
        """The loop turns; with a line for `systemctl status`."""
        self._say(f"WATCHDOG=1\nSTATUS={status[:200]}")

    def reloading(self) -> None:
        """The configuration is being read; ready() follows."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic() * 1e6)}")

    def stopping(self) -> None:
        """The end begins."""
        self._say("STOPPING=1")

    def _say(self, message: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto(message.encode(), address)
