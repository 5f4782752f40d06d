"""Which node of a class measures what all of them need: `python -P -m autotune.share.claims URL KEY SUBJECT`.

A claim is a file that only one node can make, named for the hour it was made in. It holds through that hour and
the next, and then ends by itself: nobody has to give it back, no clock is compared to better than an hour, and a
node that died blocks the others for two hours at most. The worst that a lost claim leads to is that two nodes
measure the same, which is what confirms an entry.
"""

import json
import sys
from contextlib import suppress
from time import time

from autotune.errors import AutotuneError
from autotune.host.identity import host_id
from autotune.share.store import Content, Store, reach

SECONDS = 3600.0
_LONGEST_HOST = 64


def claim(store: Store, key: str, subject: str, *, host: str, now: float) -> str | None:
    """Who measures this for the class with this key: this host from now on, unless another one said so before.

    None if that one's name cannot be read. `now` is wall-clock time. Raises StoreProblem.
    """
    folder, hour = f"_claims-{key}", int(now // SECONDS)  # no class is called so: other verbs pass it by
    names = {item.name for item in store.items(folder)}
    for name in names:
        if name.partition("-")[0].isdecimal() and int(name.partition("-")[0]) < hour - 1:
            with suppress(AutotuneError):
                store.remove(folder, name)
    before, mine = (f"{each}-{subject}.claim" for each in (hour - 1, hour))
    if before in names:
        holder = _holder(store, folder, before)
        if holder != host:
            return holder
    if mine not in names and store.add(folder, mine, host.encode()):
        return host
    return _holder(store, folder, mine)


def _holder(store: Store, folder: str, name: str) -> str | None:
    content = store.read(folder, [name], _LONGEST_HOST).get(name)
    return content.data[:_LONGEST_HOST].decode(errors="replace") if isinstance(content, Content) else None


def main(arguments: list[str]) -> None:
    """Claim, and say on stdout who holds it: {"holder": ..., "mine": true}, or {"problem": ...}."""
    url, key, subject = arguments
    host = host_id()
    try:
        holder = claim(reach(url), key, subject, host=host, now=time())
        answer = {"holder": holder, "mine": holder == host}
    except AutotuneError as problem:
        answer = {"problem": str(problem)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
