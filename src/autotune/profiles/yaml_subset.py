"""YAML text -> plain lists, dicts and scalars, within bounds.

The document is built from the parser's events, one by one, so no loader's constructor runs: nothing is expanded
(anchors, aliases, merge keys), nothing is instantiated (tags), and the first event out of bounds ends it. Only what
JSON knows is a number, a truth value or null; everything else is text. YAML 1.1 would read `1_000` as 1000, `no` as
False, `12:30:00` as 45000 and a date as an object, and would keep the last of two equal keys in silence.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, TypeVar

from autotune.errors import BadDocument, BadSettings, ProfileError, UntrustedFile
from autotune.host.trusted_files import FileRule, read_file

MAX_BYTES = 8 * 2**20
"""A profile of 10,000 entries, each with six alternatives, takes about 6 MB."""
MAX_DEPTH = 16
MAX_TEXT = 512
"""Characters of one scalar."""
MAX_NODES = 1_200_000
"""A profile of 10,000 entries, each with six alternatives, has about 900,000; this bounds what a dense hostile file
costs to 2 s."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_TOO_DEEP = re.compile(rf"(?:(?:[\[{{]|[-?][ \t])[ \t]*){{{MAX_DEPTH + 1}}}")
"""More collections opened in a row than allowed. libyaml scans such a row before it yields the first event, and refuses
rows longer than a limit of its own."""
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_MAX_DIGITS = 20
"""2**63 has 19; Python itself refuses to convert more than 4,300."""

_T = TypeVar("_T")


def read_settings(kind: type[_T], path: PathLike[str], rule: FileRule) -> _T:
    """Read a settings file into a dataclass; without one, every field has its default.

    Raises BadSettings with the file and the reason.
    """
    from autotune.model.codec import decode

    try:
        document = parse(read_file(path, rule).data)
        settings: _T = decode(kind, {} if document is None else document)
    except (FileNotFoundError, NotADirectoryError):
        return kind()
    except UntrustedFile as error:
        raise BadSettings(str(error)) from None
    except (BadDocument, ProfileError) as error:
        raise BadSettings(f"{path}: {error}") from None
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror or error}.") from None
    return settings


def parse(data: bytes) -> Any:
    """Return the document in these bytes: dict, list, str, int, float, bool or None.

    Raises ProfileError, with the line, for what is not UTF-8 YAML or is out of bounds.
    """
    if len(data) > MAX_BYTES:
        raise ProfileError(f"it is larger than {MAX_BYTES // 2**20} MiB, the most that a profile may have.")
    if b"\0" in data:
        raise ProfileError("it contains a NUL byte, so it is not text.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ProfileError(f"it is not UTF-8 text (byte {error.start}).") from None
    import yaml

    try:
        with _pause_collector():
            return _build(text)
    except yaml.YAMLError as error:
        if _TOO_DEEP.search(text):
            raise ProfileError(f"it is nested more than {MAX_DEPTH} deep.") from None
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise ProfileError(f"it is not YAML: {problem}{where}.") from None
    except (OverflowError, ValueError):  # where PyYAML has no libyaml: chr() of what an escape says
        raise ProfileError("it is not YAML: an escape stands for no character.") from None


@contextmanager
def _pause_collector() -> Iterator[None]:
    """Pause the cyclic garbage collector: a document has no cycles, and looking for them takes a seventh."""
    import gc

    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _build(text: str) -> Any:
    """Walk the events with a stack of the collections that are open, scalars first: they are most of it."""
    import yaml
    from yaml import events

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    scalar, starts_mapping = events.ScalarEvent, events.MappingStartEvent
    starting, ending = ({starts_mapping, events.SequenceStartEvent}, {events.MappingEndEvent, events.SequenceEndEvent})
    root: list[Any] = []
    node: Any = root
    waiting: str | None = None  # in a mapping, the key that waits for its value
    outer: list[Any] = []
    scalars: dict[str, Any] = {}  # plain scalars as values: most numbers and words stand in many entries
    nodes = 0
    for event in iter(loader.get_event, None):
        kind = type(event)
        if kind is scalar:
            value: Any = event.value
        elif kind in starting:
            value = {} if kind is starts_mapping else []
        elif kind in ending:
            node = outer.pop()
            continue
        else:
            _check_mark(event, first=not root)
            continue
        nodes += 1
        if nodes > MAX_NODES or event.anchor is not None or event.tag is not None:
            raise _forbidden_part(event)
        if waiting is None and type(node) is dict:
            if kind is not scalar:
                raise _refusal(event, "a key must be text")
            if value in node or value == "<<" or len(value) > MAX_TEXT:
                raise _no_key(event)
            waiting = value
            continue
        if kind is scalar:
            if not event.implicit[0]:
                _check_length(event)
            elif value in scalars:
                value = scalars[value]
            else:
                value = scalars[value] = _plain(event)
        if waiting is None:
            node.append(value)
        else:
            node[waiting] = value
            waiting = None
        if kind is not scalar:
            outer.append(node)
            node = value
            if len(outer) > MAX_DEPTH:
                raise _refusal(event, f"it is nested more than {MAX_DEPTH} deep")
    return root[0] if root else None


def _check_mark(event: Any, *, first: bool) -> None:
    """Refuse an alias, and a document after the first."""
    from yaml import events

    if isinstance(event, events.AliasEvent):
        raise _refusal(event, "an alias (*) is not allowed")
    if isinstance(event, events.DocumentStartEvent) and not first:
        raise _refusal(event, "a second document is not allowed")


def _forbidden_part(event: Any) -> ProfileError:
    if event.anchor is not None:
        return _refusal(event, "an anchor (&) is not allowed")
    if event.tag is not None:
        return _refusal(event, "a tag (!) is not allowed")
    return _refusal(event, f"it has more than {MAX_NODES} values")


def _no_key(event: Any) -> ProfileError:
    _check_length(event)
    if event.value == "<<":
        return _refusal(event, "a merge key (<<) is not allowed")
    return _refusal(event, f"the key {event.value!r} stands twice")


def _check_length(event: Any) -> None:
    if len(event.value) > MAX_TEXT:
        raise _refusal(event, f"a text is longer than {MAX_TEXT} characters")


def _plain(event: Any) -> Any:
    """Return the value of a scalar without quotes."""
    _check_length(event)
    value = event.value
    match = _NUMBER.fullmatch(value)
    if match is None:
        return _WORDS.get(value, value)
    if match[1] or match[2]:
        return float(value)
    if len(value) > _MAX_DIGITS:
        raise _refusal(event, f"a whole number has more than {_MAX_DIGITS} digits")
    return int(value)


def _refusal(event: Any, what: str) -> ProfileError:
    return ProfileError(f"{what} (line {event.start_mark.line + 1}).")
