"""`python -m autotune.bench.spin BEGIN END ...`: keeps a CPU busy between moments of the monotonic clock.

Prints how many steps were done in each of the spans, one line a span. Standard library only: `selftest`
starts one of these for every CPU.
"""

import sys
from time import monotonic, sleep

STEPS = range(1000)


def spin(begin: float, end: float) -> int:
    """Steps of work done between two moments, divided by 1000."""
    sleep(max(0.0, begin - monotonic()))
    count = 0
    while monotonic() < end:
        for _ in STEPS:
            pass
        count += 1
    return count


if __name__ == "__main__":
    moments = [float(text) for text in sys.argv[1:]]
    for span in zip(moments[::2], moments[1::2], strict=True):
        sys.stdout.write(f"{spin(*span)}\n")
