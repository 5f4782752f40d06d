# ruff: noqa: PTH100, PTH111, PTH112, PTH117, PTH118, PTH120 - pathlib takes 4 ms to load
"""Folders of profiles, state and compiled copies.

What apply() asks for is text: loading pathlib takes 4 ms, which NumPy leaves to others.
"""

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NOWHERE = "/nonexistent"
_NODE_SPOOL = "/run/autotune/spool"
NODE_FOLDER = "/var/lib/autotune"
"""Folder of the daemon that serves all users: its profiles, and the mirror of the cluster's store."""


class Layer(StrEnum):
    """Source of a profile, nearest first."""

    NAMED = "named"
    """The user named it: an argument or $AUTOTUNE_PROFILE."""
    USER = "user"
    """The user's own folder, where `autotune calibrate` writes."""
    NODE = "node"
    """Profiles of this computer's own daemon, for all its users."""
    SYSTEM = "system"
    """The administrator's folder."""
    CLUSTER = "cluster"
    """The mirror of the cluster's store, which `autotune store pull` leaves."""
    SHIPPED = "shipped"
    """Came with autotune."""


def layer_of(profile: str) -> Layer:
    """Return the layer of a profile's file."""
    layers = (layer for layer, place in places() if os.path.dirname(profile) == place)
    return next(layers, Layer.NAMED)


def state_dir() -> "Path":
    """Return the folder of journals, locks and other results: $AUTOTUNE_STATE_DIR, else the platform's."""
    return _path(_state_dir())


def user_profiles() -> "Path":
    """Return the folder that `autotune calibrate` writes to."""
    return _path(_user_profiles())


def cluster_profiles() -> "Path":
    """Return the mirror that `autotune store pull` leaves."""
    return _path(_mirrors()[0])


def spool() -> tuple["Path", int]:
    """Return the folder for requests without an entry, and the mode of its files: the spool that this computer's
    daemon keeps open to every user, else the user's own.
    """
    if "AUTOTUNE_STATE_DIR" not in os.environ and os.access(_NODE_SPOOL, os.W_OK | os.X_OK):
        return _path(_NODE_SPOOL), 0o644
    return user_spool(), 0o600


def user_spool() -> "Path":
    """Return the spool of the daemon that a user runs on this host; programs on other hosts leave theirs elsewhere."""
    from autotune.host.identity import short_host_id

    return _path(os.path.join(_state_dir(), f"spool-{short_host_id()}"))


def cache_dir() -> str:
    """Return the folder of compiled copies, which may be deleted at any time."""
    return _platform("user_cache", "XDG_CACHE_HOME", "~/.cache")


def places(named: str | os.PathLike[str] | None = None) -> list[tuple[Layer, str]]:
    """List the files and folders to look for profiles in, nearest first.

    `named` is what the caller names; without it $AUTOTUNE_PROFILE is looked at. Nothing is looked for in the
    current folder, unless one of these says so.
    """
    first = os.fspath(named) if named is not None else os.environ.get("AUTOTUNE_PROFILE", "")
    return [
        *([(Layer.NAMED, _absolute(os.path.expanduser(first)))] if first else []),
        (Layer.USER, _user_profiles()),
        *([(Layer.NODE, os.path.join(NODE_FOLDER, "profiles"))] if sys.platform.startswith("linux") else []),
        (Layer.SYSTEM, system_profiles()),
        *((Layer.CLUSTER, mirror) for mirror in dict.fromkeys(_mirrors())),
        (Layer.SHIPPED, shipped_profiles()),
    ]


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except FileNotFoundError:  # the current folder was deleted, and a relative path names nothing
        return path


def _state_dir() -> str:
    return os.environ.get("AUTOTUNE_STATE_DIR") or _platform("user_state", "XDG_STATE_HOME", "~/.local/state")


def _mirrors() -> list[str]:
    """Return the user's own, and on Linux that of the node, which root or a system's daemon keeps."""
    own = os.path.join(_state_dir(), "cluster")
    return [own, os.path.join(NODE_FOLDER, "cluster")] if sys.platform.startswith("linux") else [own]


def _user_profiles() -> str:
    return os.path.join(_platform("user_config", "XDG_CONFIG_HOME", "~/.config"), "profiles")


def system_profiles() -> str:
    if sys.platform.startswith("linux"):
        return "/etc/autotune/profiles"
    from platformdirs import site_config_dir

    return os.path.join(site_config_dir("autotune", appauthor=False), "profiles")


def shipped_profiles() -> str:
    """Return the folder inside the wheel, or next to src/ in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "profiles", "shipped")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(os.path.dirname(package)), "profiles")


def _platform(kind: str, variable: str, linux: str) -> str:
    """Return a folder of the platform. Linux's are found without platformdirs, which takes 5 ms to load."""
    if not sys.platform.startswith("linux"):
        import platformdirs

        folder: str = getattr(platformdirs, f"{kind}_dir")("autotune", appauthor=False)
        return folder
    named = os.environ.get(variable, "")
    # The XDG specification: a relative path in the variable is to be ignored.
    root = named if os.path.isabs(named) else os.path.expanduser(linux)
    # Without a home "~" stays as it is; nothing is ever read from or written to the current folder.
    return os.path.join(root if os.path.isabs(root) else _NOWHERE, "autotune")


def _path(text: str) -> "Path":
    from pathlib import Path

    return Path(text)
