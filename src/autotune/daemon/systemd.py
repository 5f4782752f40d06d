"""The systemd unit of the daemon, and where it goes.

Without `Nice`, `CPUWeight` or `CPUSchedulingPolicy`: a lowered priority would change what is measured, and the
daemon measures on an idle machine only. Left out on purpose, too: MemoryDenyWriteExecute (ctypes and cffi make
closures), PrivateUsers (peers on the socket would all be nobody), ProcSubset=pid (hides /proc/stat,
/proc/pressure and /proc/cpuinfo), ProtectProc (the daemon has to see which programs run).
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from autotune.daemon.paths import SYSTEM_USER
from autotune.errors import EnvironmentProblem
from autotune.host.trusted_files import replace_file

SYSTEM_UNIT = Path("/etc/systemd/system/autotune.service")
SYSTEM_USERS = Path("/etc/sysusers.d/autotune.conf")

_UNIT = """\
[Unit]
Description=Keeps the NumPy tuning profiles of this machine true
Documentation=man:systemd.service(5)
{after}
[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=60
Restart=on-failure
RestartSec=10
KillMode=mixed
TimeoutStopSec=30
OOMScoreAdjust=500
MemoryMax=50%
UMask=0022
{identity}NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
{fences}
[Install]
WantedBy={target}
"""

_IDENTITY = f"""\
User={SYSTEM_USER}
Group={SYSTEM_USER}
StateDirectory=autotune
StateDirectoryMode=0755
RuntimeDirectory=autotune
RuntimeDirectoryMode=0755
Environment=HOME=/var/lib/autotune
"""

_FENCES = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths=-/run/lock
ProtectHome={home}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
RemoveIPC=yes
RestrictAddressFamilies={families}
{network}"""


def system_unit(*, store: bool, python: str = sys.executable) -> str:
    """The unit of the daemon that serves all users; the network is closed to it unless it has a store."""
    command = f"{_quoted(python)} -P -m autotune daemon --system"
    # an interpreter below a home folder has to be seen, though nothing there may be written
    home = "read-only" if os.path.realpath(python).startswith(("/home/", "/root/")) else "yes"
    network = "IPAddressDeny=any\n" if not store else ""
    families = "AF_UNIX AF_INET AF_INET6" if store else "AF_UNIX"
    return _UNIT.format(
        after="After=network-online.target\nWants=network-online.target\n" if store else "",
        command=command,
        identity=_IDENTITY,
        fences=_FENCES.format(home=home, families=families, network=network),
        target="multi-user.target",
    )


def user_unit(*, python: str = sys.executable) -> str:
    """The unit of a user's own daemon. Fences that need privileges to be put up are left out."""
    return _UNIT.format(
        after="",
        command=f"{_quoted(python)} -P -m autotune daemon",
        identity="",
        fences="",
        target="default.target",
    )


def users() -> str:
    """What systemd-sysusers makes the static user of."""
    return f'u {SYSTEM_USER} - "autotune daemon" /var/lib/autotune\n'


def install(*, user: bool, store: bool) -> tuple[list[Path], str]:
    """Write the unit; the files written, and the command that starts it.

    Raises EnvironmentProblem without systemd, or if a file cannot be written.
    """
    if shutil.which("systemctl") is None:
        raise EnvironmentProblem(
            "There is no systemd here. `autotune daemon` runs in a shell or a container just as well; "
            "`autotune daemon install --print` shows the unit."
        )
    if user:
        files = {_user_folder() / "autotune.service": user_unit()}
    else:
        files = {SYSTEM_USERS: users(), SYSTEM_UNIT: system_unit(store=store)}
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode())
        except OSError as problem:
            raise EnvironmentProblem(
                f"{path} cannot be written: {problem.strerror or problem}. "
                "Root installs it for all; --user installs it for you."
            ) from problem
    if not user:
        _run("systemd-sysusers", str(SYSTEM_USERS))
    own = ["--user"] if user else []
    _run("systemctl", *own, "daemon-reload")
    return list(files), " ".join(["systemctl", *own, "enable --now autotune"])


def _user_folder() -> Path:
    root = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(root) if Path(root).is_absolute() else Path.home() / ".config") / "systemd" / "user"


def _run(*command: str) -> None:
    """Best effort: without a running manager the files are read when it starts."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603 - systemd's own


def _quoted(text: str) -> str:
    """As systemd.service(5) wants it: % and $ doubled, quotes around blanks."""
    plain = text.replace("%", "%%").replace("$", "$$")
    return (
        '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"' if any(map(str.isspace, plain)) else plain
    )
