"""Fail for tests that were skipped in every run although scripts/test provides what they need.

    python scripts/check_outcomes.py FILE...

Each FILE is what `pytest --outcomes FILE` wrote, the first one in a run with everything on. A test may be skipped
for what a machine lacks, such as a browser, a second CPU or a right.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

PROVIDED = re.compile(
    r"unconditional skip"
    r"|AUTOTUNE_NATIVE"  # the first run has the C core on
    r"|numpy-autotune\["  # the extras are installed
    r"|dependency group"
    r"|vl-convert"
    r"|dask-jobqueue"
    r"|needs (eventlet|gevent|pandas)\b"
    r"|could not import '(aiohttp|cloudpickle|dask|distributed|greenlet|IPython|moto|s3fs|scipy|sklearn)\b"
)
"""Reasons that no test may give in every run: the environment of scripts/test has what they miss."""


def skipped_everywhere(texts: Iterable[str]) -> dict[str, str]:
    """Return the tests that the first of these runs skipped and none passed, with the first run's reason.

    Tests that only a later run has, such as those of an empty set of parameters, are not judged.
    """
    first, *rest = (text.splitlines() for text in texts)
    passed = {line.removeprefix("passed ") for lines in (first, *rest) for line in lines if line[:1] == "p"}
    skipped = (line.removeprefix("skipped ").partition(": ") for line in first if line[:1] == "s")
    return {name: reason for name, _, reason in skipped if name not in passed}


def main(paths: list[str]) -> int:
    """Print the tests that ran nowhere although what they need is provided; return 1 if there are any."""
    never = skipped_everywhere(Path(path).read_text("utf-8") for path in paths)
    wrong = {name: reason for name, reason in never.items() if PROVIDED.search(reason)}
    for name, reason in sorted(wrong.items()):
        print(f"{name} ran nowhere: {reason}", file=sys.stderr)
    if wrong:
        print(f"{len(wrong)} tests were skipped in every run. Make them run, or remove them.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
