"""Claims of one node of a class to measure an operation: `python -P -m autotune.share.claims URL KEY SUBJECT`.

A claim is a file that only one node can create, named for the current hour. It is valid in that hour and the next, and
needs no release: clocks have to agree to an hour only, and a node that died blocks the others for two hours at most. If
a claim is lost, two nodes measure the same, which confirms the entry.
"""

import json
import sys
from contextlib import suppress
from time import time

from autotune.errors import AutotuneError
from autotune.host.identity import host_id
from autotune.host.trusted_files import FileContent
from autotune.share.store import Store
from autotune.share.store_settings import open_store

SECONDS = 3600.0
_LONGEST_HOST = 64


def claim(store: Store, key: str, subject: str, *, host: str, now: float) -> str | None:
    """Claim an operation for the class with this key and return the holder: this host, or the one that came first.

    Returns None if the holder's name cannot be read. `now` is wall-clock time. Raises StoreProblem.
    """
    folder, hour = f"_claims-{key}", int(now // SECONDS)  # not the name of a class: other verbs skip it
    names = {file.name for file in store.files(folder)}
    for name in names:
        if name.partition("-")[0].isdecimal() and int(name.partition("-")[0]) < hour - 1:
            with suppress(AutotuneError):
                store.remove(folder, name)
    previous, current = (f"{each}-{subject}.claim" for each in (hour - 1, hour))
    if previous in names:
        holder = _holder(store, folder, previous)
        if holder != host:
            return holder
    if current not in names and store.add(folder, current, host.encode()):
        return host
    return _holder(store, folder, current)


def _holder(store: Store, folder: str, name: str) -> str | None:
    content = store.read(folder, [name], _LONGEST_HOST).get(name)
    return content.data[:_LONGEST_HOST].decode(errors="replace") if isinstance(content, FileContent) else None


def main(arguments: list[str]) -> None:
    """Claim, and write the holder to stdout: {"holder": ..., "mine": true}, or {"problem": ...}."""
    url, key, subject = arguments
    host = host_id()
    try:
        holder = claim(open_store(url), key, subject, host=host, now=time())
        answer = {"holder": holder, "mine": holder == host}
    except AutotuneError as problem:
        answer = {"problem": str(problem)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
