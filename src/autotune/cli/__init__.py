"""Command line: one verb per file; the only package that prints or exits."""

VERBS = {
    "advise": "Record one run of a command, and say what autotune can do for it here.",
    "calibrate": "Measure this machine and write its profile.",
    "run": "Run a command with the measured choices in force.",
    "compare": "Run a command plain and tuned, in pairs of runs, and print the speed-up.",
    "tune": "Find the thread counts at which a whole command runs fastest.",
    "env": "Print shell lines that set BLAS threads as the profile says.",
    "nproc": "Print how many CPUs a program may use, every limit counted.",
    "show": "List the profiles on this machine, the entries in force, and those that are open.",
    "explain": "Say what applies here, from where, and what was refused.",
    "verify": "Measure the choices once more: do they still hold here?",
    "forget": "Remove entries from the profile of this machine.",
    "report": "Write a page of figures about the entries in force, or compare profiles.",
    "doctor": "Describe this machine, its limits, its BLAS and the settings.",
    "store": "Share profiles between the machines of a cluster.",
    "cluster": "Calibrate every kind of node of a cluster.",
    "daemon": "Keep profiles up to date: measure in idle time what programs call and what has changed.",
}
