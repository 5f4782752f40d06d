"""The daemon under systemd: its unit, where the unit goes, and what the daemon tells the service manager."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from autotune.daemon.daemon_settings import SYSTEM_USER
from autotune.errors import EnvironmentProblem
from autotune.host.trusted_files import replace_file
from autotune.profiles.folders import NODE_FOLDER

SYSTEM_UNIT = Path("/etc/systemd/system/autotune.service")
SYSTEM_USERS = Path("/etc/sysusers.d/autotune.conf")


def system_unit(*, store: bool, python: str = sys.executable) -> str:
    """Return the unit of the daemon for all users. Without a store, the network is closed to it."""
    # an interpreter below a home folder has to be readable; nothing there may be written
    home = "read-only" if os.path.realpath(python).startswith(("/home/", "/root/")) else "yes"
    if store:
        unit = "After=network-online.target\nWants=network-online.target\n"
        network = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    else:
        unit, network = "", "RestrictAddressFamilies=AF_UNIX\nIPAddressDeny=any"
    return _unit("system.service", PYTHON=_quote(python), UNIT=unit, HOME=home, NETWORK=network)


def user_unit(*, python: str = sys.executable) -> str:
    """Return the unit of the daemon of one user."""
    return _unit("user.service", PYTHON=_quote(python))


def sysusers() -> str:
    """Return the line from which systemd-sysusers makes the daemon's user."""
    return f'u {SYSTEM_USER} - "autotune daemon" {NODE_FOLDER}\n'


def install_unit(*, user: bool, store: bool) -> tuple[list[Path], str]:
    """Write the unit; return the files written and the command that starts it.

    Raises EnvironmentProblem without systemd, or if a file cannot be written.
    """
    if shutil.which("systemctl") is None:
        raise EnvironmentProblem(
            "There is no systemd here. `autotune daemon` runs in a shell or a container as well; "
            "`autotune daemon install --print` shows the unit."
        )
    if user:
        root = Path(os.environ.get("XDG_CONFIG_HOME", ""))
        root = root if root.is_absolute() else Path.home() / ".config"
        texts = {root / "systemd/user/autotune.service": user_unit()}
    else:
        texts = {SYSTEM_USERS: sysusers(), SYSTEM_UNIT: system_unit(store=store)}
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode())
        except OSError as error:
            raise EnvironmentProblem(
                f"{path} cannot be written: {error.strerror or error}. "
                "Root installs it for all users; --user installs it for you."
            ) from error
    if not user:
        _run("systemd-sysusers", str(SYSTEM_USERS))
    own = ["--user"] if user else []
    _run("systemctl", *own, "daemon-reload")
    return list(texts), " ".join(["systemctl", *own, "enable --now autotune"])


def _unit(name: str, **values: str) -> str:
    text = files("autotune.daemon").joinpath(name).read_text("utf-8")
    for word, value in values.items():
        text = text.replace(f"@{word}@", value)
    return text


def _run(*command: str) -> None:
    """Run a command of systemd. If that fails, a service manager reads the files when it starts."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603


def _quote(text: str) -> str:
    """Quote a path for ExecStart (systemd.service(5)): % and $ doubled, quotes around blanks."""
    plain = text.replace("%", "%%").replace("$", "$$")
    if not any(map(str.isspace, plain)):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def notify_systemd(message: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Send a message such as READY=1 to the service manager, if there is one (sd_notify(3))."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract socket, unix(7)
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.sendto(message.encode(), address)
