"""Where a daemon keeps what: one for the user who starts it, or one for the whole system."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autotune.profiles.folders import cluster_profiles, state_dir, user_profiles

SYSTEM_CONFIGURATION = Path("/etc/autotune/daemon.yaml")
SYSTEM_STATE = Path("/var/lib/autotune")
SYSTEM_RUN = Path("/run/autotune")
SYSTEM_USER = "autotune"
"""Static, so that programs of other users can tell whose profiles they read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders and files of one daemon."""

    configuration: Path
    state: Path
    """What it remembers."""
    run: Path
    """Lock and socket."""
    profiles: Path
    """Where programs look for what it found."""
    spool: Path
    """Where programs leave what they asked for in vain."""
    shared: bool
    """Is the spool open to every user?"""
    mirror: Path
    """Where programs look for what the cluster's store has."""

    @property
    def measuring(self) -> dict[str, str]:
        """Variables for what measures: journals of the daemon's own, so that nobody's `--resume` is lost."""
        return {"XDG_STATE_HOME": str(self.state / "home")}

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.run / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the kernel for as long as the daemon lives."""
        return self.run / "daemon.lock"


def system() -> Places:
    """Those of the daemon that serves all users; its unit makes them."""
    return Places(
        configuration=SYSTEM_CONFIGURATION,
        state=SYSTEM_STATE / "daemon",
        run=SYSTEM_RUN,
        profiles=SYSTEM_STATE / "profiles",
        spool=SYSTEM_RUN / "spool",
        shared=True,
        mirror=SYSTEM_STATE / "cluster",
    )


def user(environ: Mapping[str, str] = os.environ) -> Places:
    """Those of the daemon that a user runs."""
    state = state_dir()
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    own = state / "daemon"
    return Places(
        configuration=user_profiles().parent / "daemon.yaml",
        state=own,
        # a state folder of one's own asks for a daemon of one's own
        run=Path(runtime) / "autotune" if runtime and "AUTOTUNE_STATE_DIR" not in environ else own / "run",
        profiles=user_profiles(),
        spool=state / "spool",
        shared=False,
        mirror=cluster_profiles(),
    )
