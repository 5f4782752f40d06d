"""What the user's function takes, found out in a fresh process: importing it runs the user's code."""

import os

from autotune.bench import trial_job
from autotune.bench.failure_text import shortened
from autotune.bench.trial_process import Child, End
from autotune.bench.user_workload import UserWorkload
from autotune.controls.thread_variables import scrub
from autotune.errors import BadWorkload


def describe(source: str, *, patience: float = 60.0) -> UserWorkload:
    """The workload of FILE.py:function or package.module:function.

    Importing it may take `patience` seconds. Raises BadWorkload, with file, line and cause, if it cannot be
    imported, ends the process, takes longer, or is no function that can be tuned. Scope of effect: none on
    this process.
    """
    errand = trial_job.dumps("describe", source=source, cpus=(), address_space=None)
    with Child(errand, environ=scrub(os.environ)[0], patience=patience) as child:
        messages = list(child.messages())
        ending, printed = child.ending, child.output.take()
    for message in messages:
        if "refused" in message:
            raise BadWorkload(str(message["refused"]))
        if "workload" in message:
            return UserWorkload.from_dict(message["workload"])
    if ending is not None and ending.end is End.TIME_OUT:
        raise BadWorkload(f"{source} cannot be imported: that took longer than {patience:.3g} s.")
    words = shortened(printed.strip().rpartition("\n")[2]) or "none"
    raise BadWorkload(f"{source} cannot be imported: the process that tried it died. Its last words: {words}")
