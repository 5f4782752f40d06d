"""Where profiles, state and compiled copies live."""

import os
import sys
from enum import StrEnum
from pathlib import Path

_NOWHERE = Path("/nonexistent")


class Layer(StrEnum):
    """Who put a profile there. Earlier layers go first."""

    NAMED = "named"
    """The user named it: an argument or $AUTOTUNE_PROFILE."""
    USER = "user"
    """The user's own folder, where `autotune calibrate` writes."""
    SYSTEM = "system"
    """The administrator's folder."""
    SHIPPED = "shipped"
    """Came with autotune."""


def state_dir() -> Path:
    """Journals, locks and results that had no better place: $AUTOTUNE_STATE_DIR, else the platform's."""
    named = os.environ.get("AUTOTUNE_STATE_DIR")
    return Path(named) if named else _platform("user_state", "~/.local/state", "XDG_STATE_HOME")


def cache_dir() -> Path:
    """Compiled copies; may be deleted at any time."""
    return _platform("user_cache", "~/.cache", "XDG_CACHE_HOME")


def user_profiles() -> Path:
    """Where `autotune calibrate` writes."""
    return _platform("user_config", "~/.config", "XDG_CONFIG_HOME") / "profiles"


def system_profiles() -> Path:
    """Where an administrator puts profiles for everybody."""
    if sys.platform.startswith("linux"):
        return Path("/etc/autotune/profiles")
    from platformdirs import site_config_path

    return site_config_path("autotune", appauthor=False) / "profiles"


def shipped_profiles() -> Path:
    """The profiles that came with autotune: inside the wheel, or beside src/ in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "profiles"
    return inside if inside.is_dir() else package.parents[1] / "profiles"


def places(named: str | os.PathLike[str] | None = None) -> list[tuple[Layer, Path]]:
    """Files and folders to look for profiles in, nearest first.

    `named` is what the caller names; without it $AUTOTUNE_PROFILE is looked at.
    """
    first = os.fspath(named) if named is not None else os.environ.get("AUTOTUNE_PROFILE", "")
    found = [(Layer.NAMED, Path.cwd() / _expanded(first))] if first else []
    return [
        *found,
        (Layer.USER, user_profiles()),
        (Layer.SYSTEM, system_profiles()),
        (Layer.SHIPPED, shipped_profiles()),
    ]


def _platform(kind: str, linux: str, variable: str) -> Path:
    """A folder of the platform. Linux's are found without platformdirs, which takes 5 ms to load."""
    if not sys.platform.startswith("linux"):
        import platformdirs

        folder: Path = getattr(platformdirs, f"{kind}_path")("autotune", appauthor=False)
        return folder
    named = Path(os.environ.get(variable, ""))
    # The XDG specification: a relative path in the variable is to be ignored.
    root = named if named.is_absolute() else Path(_expanded(linux))
    # Without a home directory "~" stays as it is; nothing is ever read from or written to the current folder.
    return (root if root.is_absolute() else _NOWHERE) / "autotune"


def _expanded(path: str) -> str:
    """The path with its "~" resolved, or as it is where there is no home: Path.expanduser would raise."""
    return os.path.expanduser(path)  # noqa: PTH111
