"""What was pulled, and is not in force yet: it is timed here before programs may read it.

`autotune pull` fills a folder of the daemon's own for each interpreter, since each has a class of its own. What
passes the canary is copied to the mirror, where programs look.
"""

import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.paths import Places
from autotune.host.trusted_files import replace_file


def folder(places: Places, interpreter: Interpreter) -> Path:
    """What `autotune pull` takes for the state folder."""
    return places.state / "pulled" / f"{zlib.crc32(interpreter.name.encode()):08x}"


def staged(places: Places, interpreter: Interpreter) -> list[str]:
    """The profiles that were pulled for an interpreter."""
    return [str(path) for path in sorted((folder(places, interpreter) / "cluster").glob("*.yaml"))]


def is_staged(places: Places, path: str) -> bool:
    """Is it one of them?"""
    return Path(path).is_relative_to(places.state / "pulled")


def in_force(places: Places, path: str) -> bool:
    """Does the mirror say the same?"""
    try:
        return (places.mirror / Path(path).name).read_bytes() == Path(path).read_bytes()
    except OSError:
        return False


def enforce(places: Places, path: Path) -> Path:
    """Put one where programs look; its name there. Raises OSError."""
    target = places.mirror / path.name
    places.mirror.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace_file(target, path.read_bytes())
    return target


def sweep(places: Places, interpreters: Iterable[Interpreter]) -> None:
    """Remove from the mirror what the store stands for no longer; to be called once all have pulled."""
    kept = {path.name for one in interpreters for path in (folder(places, one) / "cluster").glob("*.yaml")}
    for path in [each for each in places.mirror.glob("*.yaml") if each.name not in kept]:
        with suppress(OSError):
            path.unlink()
