"""Inspect the user's function in a fresh process: importing it runs the user's code."""

import os

from autotune.bench import trial_job
from autotune.bench.failure_text import shorten
from autotune.bench.trial_process import TrialEnd, TrialProcess, TrialServer
from autotune.bench.user_workload import UserWorkload
from autotune.controls.thread_variables import scrub
from autotune.errors import BadWorkload
from autotune.model.codec import decode


def describe(source: str, *, patience: float = 60.0) -> UserWorkload:
    """Describe the workload of FILE.py:function or package.module:function.

    Importing it may take `patience` seconds. Raises BadWorkload, with file, line and cause, if it cannot be
    imported, ends the process, takes longer, or is no function that can be tuned. Scope of effect: none on
    this process.
    """
    server = TrialServer(environ=scrub(os.environ)[0], preload=False)
    try:
        with TrialProcess(server, trial_job.errand("describe", source=source), patience=patience) as process:
            messages = list(process.messages())
            ending, printed = process.ending, process.output.take()
    finally:
        server.close()
    for message in messages:
        if "refused" in message:
            raise BadWorkload(str(message["refused"]))
        if "workload" in message:
            return decode(UserWorkload, message["workload"])
    if ending is not None and ending.end is TrialEnd.TIME_OUT:
        raise BadWorkload(f"{source} cannot be imported: that took longer than {patience:.3g} s.")
    words = shorten(printed.strip().rpartition("\n")[2]) or "none"
    raise BadWorkload(f"{source} cannot be imported: the process that tried it died. Its last words: {words}")
