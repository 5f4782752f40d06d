"""Profile files: whom to trust by layer, reading, writing."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from autotune.errors import ProfileError, UntrustedFile
from autotune.host.trusted_files import FileRule, read_file, replace_file
from autotune.model.profile import Profile
from autotune.profiles.folders import NODE_FOLDER, Layer, state_dir
from autotune.profiles.yaml_subset import MAX_BYTES, parse

_DISPLAY = FileRule(MAX_BYTES, any_owner=True, follow_links=True)
"""For files that are only shown, and for shipped ones: who can write among these can change the program itself."""
_NAMED = FileRule(MAX_BYTES, group_may_write=True, check_folder=True, follow_links=True)
"""For a file that the user names to be applied: the user's own or root's."""
_FOUND = FileRule(MAX_BYTES, check_folder=True, check_folder_owner=True, follow_links=True)
"""For a file that is found in a folder and applied."""


def read(
    path: Path, layer: Layer = Layer.SHIPPED, *, is_wanted: Callable[[Profile, Layer], bool] | None = None
) -> Profile:
    """Read a profile that is to be shown, or, with its layer, applied.

    `is_wanted` is asked about the profile without its entries. If they are not wanted, they are not parsed, and left
    out, unless other hosts or signers confirm some: a home that a hundred hosts share holds a hundred profiles.

    Raises ProfileError with the path and a sentence for whatever is wrong.
    """
    from autotune.profiles.profile_document import decode_profile

    if os.path.isdir(path):  # noqa: PTH112 - False where it cannot be looked at; named where it holds no profile
        raise ProfileError("it is a folder without profiles (*.yaml).", path)
    try:
        data = read_file(path, _rule(path, layer)).data
        if is_wanted is not None and b"hosts" not in data and b"signer" not in data:
            with suppress(ProfileError):
                head = decode_profile(parse(data.partition(b"\noperations:")[0] + b"\noperations: {}"))
                if not is_wanted(head, layer):
                    return head
        return decode_profile(parse(data))
    except (ProfileError, UntrustedFile) as error:
        raise ProfileError(error.reason, path) from None
    except OSError as error:
        raise ProfileError(f"it cannot be read: {error.strerror or error}.", path) from None


def write(profile: Profile, path: Path) -> None:
    """Write a profile so that a reader sees the old file or the new one, and a power cut loses neither.

    Missing folders are made. Raises OSError if the folder cannot be written.
    """
    from autotune.profiles.yaml_writer import text_of

    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace_file(path, text_of(profile).encode())


def refuges(path: Path) -> Iterator[Path]:
    """Yield the places for a profile that cannot be written to its path.

    These are the state folder, then a new folder of this user for temporary files, if one can be made.
    """
    import tempfile

    yield state_dir() / path.name
    with suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="autotune-"))
        yield folder / path.name
        folder.rmdir()  # it could not be written either


def _rule(path: Path, layer: Layer) -> FileRule:
    if layer is Layer.SHIPPED:
        return _DISPLAY
    if layer is Layer.NAMED:
        return _NAMED
    if os.fspath(path.parent.parent) != NODE_FOLDER:
        return _FOUND
    # Only root can make this folder where /var/lib is root's own: its owner is the daemon's user (a static one, see
    # the daemon's unit), whose profiles root has put in place.
    with suppress(OSError):
        return _FOUND.replace(owners=frozenset({Path(NODE_FOLDER).stat().st_uid}))
    return _FOUND
