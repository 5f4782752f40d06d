"""The sentences of the program itself: its help, its exit codes, what ends it."""

from collections.abc import Iterable

PROGRAM = """Find the mix of BLAS threads, workers and chunk sizes that makes NumPy fastest on this machine.

Measure once with `autotune calibrate`; programs that call `autotune.apply()` then run with the measured choices, others
do under `autotune run`. No choice is used that was not proved faster than plain NumPy.
"""
EXIT_CODES = """\b
Exit codes:
    0  done
    1  a check failed, or the output went elsewhere than asked
    2  wrong usage
    3  the machine or the environment does not allow it
  130  interrupted; everything finished is saved
"""
VERBS = {
    "advise": "Record one run of a command, and say what autotune can do for it here.",
    "calibrate": "Measure this machine and write its profile.",
    "run": "Run a command with the measured choices in force.",
    "compare": "Run a command plain and tuned, in pairs of runs, and print the speed-up.",
    "tune": "Find the thread counts at which a whole command runs fastest.",
    "env": "Print shell lines that set BLAS threads as the profile says.",
    "nproc": "Print how many CPUs a program may use, every limit counted.",
    "show": "List the profiles on this machine and the entries in force.",
    "explain": "Say what applies here, from where, and what was refused.",
    "verify": "Measure the choices once more: do they still hold here?",
    "forget": "Remove entries from the profile of this machine.",
    "report": "Write a page of figures about the entries in force, or compare profiles.",
    "doctor": "Describe this machine, its limits, its BLAS and the settings.",
    "store": "Share profiles between the machines of a cluster.",
    "cluster": "Calibrate every kind of node of a cluster.",
    "daemon": "Keep profiles up to date: measure in idle time what programs call and what has changed.",
}
INTERRUPTED = "Interrupted."


def no_such_verb(verb: str, nearest: str | None) -> str:
    hint = f"Did you mean {nearest}?" if nearest else "`autotune --help` lists all."
    return f"There is no verb {verb!r}. {hint}"


def operations(names: Iterable[str]) -> str:
    return f"Operations: {', '.join(names)}."


def unwritten(why: str) -> str:
    return f"autotune: the output could not be written ({why}). The command was carried out; only its output is lost."


def error(text: str) -> str:
    return f"autotune: {text}"
