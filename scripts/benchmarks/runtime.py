"""Gains and costs of the runtime's calls, each against what a careful user could write instead.

Prints a table, with --json JSON. A ratio is the other program's time / the time with autotune: above 1
autotune is faster. `*_share` is how much of the machine's bandwidth or of its flops is reached, found in the same
run by `hardware_bounds`. Microseconds are what a call costs on top of the plain one. A row that needs a
package, or an entry that the profile lacks, says so. docs/benchmarks.md tells what each row compares.

    scripts/benchmarks/run runtime --rows log_out,log_hand --profile mine.yaml
"""

import sys

from benchmarks import runtime_calls, runtime_expression, runtime_large, runtime_tasks
from benchmarks.paired_runs import main

PROGRAMS = {**runtime_large.PROGRAMS, **runtime_expression.PROGRAMS, **runtime_tasks.PROGRAMS, **runtime_calls.PROGRAMS}

if __name__ == "__main__":
    sys.exit(main("benchmarks.runtime", __doc__, PROGRAMS, ask=True))
