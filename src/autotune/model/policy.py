"""Policy constants that several packages follow, each defined once with its reason.

Every tuned program loads this file.
"""

TIE = 0.01
"""Log-ratio below which two configurations count as equal: one proved at a neighbour goes before one that exploration
measured, and fewer CPUs before more."""
LEAST_BUDGET_SECONDS = 3.0
"""Shortest budget of one operation: two processes and a few timings of the default."""
AGREEING_HOSTS = 2
"""Distinct hosts that must agree before their entry counts for a class. TUNA (EuroSys '25) and MLOS: what one host
measured of unstable settings did not carry over to its equals."""
CREDIBLE_L3_BYTES = 32 * 2**20
"""Part of the last cache that one program can use. Guests in a cloud report the L3 of the whole socket, 480 MiB on one
of two CPUs."""
CPU_SLACK = 0.02
"""Share of the time that fewer CPU seconds may cost where they are the objective: against the fastest configuration,
and against the default."""
SMALL_GAIN = 0.1
"""The default stays when the time is over if the upper bound of a candidate's gain is smaller: there was no time to
find so small a gain."""
COMMANDS = "command."
"""Prefix of the names of whole commands. Their entries say nothing of single calls into BLAS."""
MEMORY_SHARE = 0.25
"""Share of the memory that a process may use which one workload, or memory kept for reuse, may take."""


def memory_allowance(usable_bytes: int | None) -> int | None:
    """Return the most bytes that one workload may take; None where the memory is unknown."""
    return None if usable_bytes is None else int(usable_bytes * MEMORY_SHARE)
