"""Fail for tests that were skipped in every run although scripts/test provides what they need.

    python scripts/check_outcomes.py FILE...

Each FILE is what `pytest --outcomes FILE` wrote. `scripts/test` calls it with those of its runs. A test may be skipped
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
    r"|could not import '(aiohttp|cloudpickle|dask|distributed|IPython|moto|s3fs|scipy|sklearn)\b"
)
"""Reasons that no test may give in every run: the environment of scripts/test has what they miss."""


def skipped_everywhere(texts: Iterable[str]) -> dict[str, str]:
    """Return the tests that were skipped in each of these outcomes where they appear, with their first reason."""
    passed: set[str] = set()
    skipped: dict[str, str] = {}
    for line in (line for text in texts for line in text.splitlines()):
        outcome, _, rest = line.partition(" ")
        name, _, reason = rest.partition(": ") if outcome == "skipped" else (rest, "", "")
        if outcome == "passed":
            passed.add(name)
        else:
            skipped.setdefault(name, reason)
    return {name: reason for name, reason in skipped.items() if name not in passed}


def main(paths: list[str]) -> int:
    """Print the tests that ran nowhere although what they need is provided; return 1 if there are any."""
    never = skipped_everywhere(Path(path).read_text("utf-8") for path in paths)
    wrong = {name: reason for name, reason in never.items() if PROVIDED.search(reason)}
    for name, reason in sorted(wrong.items()):
        print(f"{name} ran nowhere: {reason}", file=sys.stderr)
    if wrong:
        print(
            f"{len(wrong)} tests were skipped in every run. Make them run, or remove them.", file=sys.stderr
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
