"""Fails for tests that were skipped in every run, except for want of something that this machine cannot have.

    python scripts/check_outcomes.py FILE...

Each FILE is what `pytest --outcomes FILE` wrote. `scripts/test` calls it with those of its runs.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ALLOWED: Mapping[str, str] = {
    r"needs Python|Python 2\.7": "interpreters that are not installed",
    r"browser|Chromium": "machines without a browser",
    r"package index": "machines without a network",
    r"systemd": "containers without systemd",
    r"root|give files away|owners": "another user",
    r"mounted|unshare|namespace|control groups|others may run": "containers with few rights",
    r"CPUs?\b|one thread here": "machines with few CPUs",
    r"little memory|memory cannot": "machines with little memory",
    r"AVX|instruction set": "other processors",
    r"could not import|needs sklearn|dependency group docs|NumPy comes without": "packages that no test run needs",
    r"AUTOTUNE_ENDURANCE": "runs of hours, on request",
}
"""Reasons (regular expressions) for which a test may be skipped in every run, each with what the machine lacks."""


def skipped_everywhere(texts: Iterable[str]) -> dict[str, str]:
    """Return the tests that were skipped in each of these outcomes where they appear, with their last reason."""
    passed: set[str] = set()
    skipped: dict[str, str] = {}
    for line in (line for text in texts for line in text.splitlines()):
        outcome, _, rest = line.partition(" ")
        name, _, reason = rest.partition(": ") if outcome == "skipped" else (rest, "", "")
        if outcome == "passed":
            passed.add(name)
        else:
            skipped[name] = reason
    return {name: reason for name, reason in skipped.items() if name not in passed}


def main(paths: list[str]) -> int:
    """Print the tests that never ran without a reason that is allowed; 1 if there are any."""
    if not sys.platform.startswith("linux"):
        print(
            "Skipped tests are judged on Linux only: other systems lack much of what is tested.",
            file=sys.stderr,
        )
        return 0
    never = skipped_everywhere(Path(path).read_text("utf-8") for path in paths)
    wrong = {
        name: reason for name, reason in never.items() if not any(re.search(one, reason) for one in ALLOWED)
    }
    for name, reason in sorted(wrong.items()):
        print(f"{name} ran nowhere: {reason}", file=sys.stderr)
    if wrong:
        print(
            f"{len(wrong)} tests were skipped in every run. Make them run, remove them, or add what this machine "
            f"lacks to ALLOWED in {__file__}.",
            file=sys.stderr,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
