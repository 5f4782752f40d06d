"""The child's side of a trial: `python -P -m autotune.bench.trial_worker RESULTS MARK LIFELINE FOLDER`.

Reads its errand from stdin, limits itself before NumPy loads, and answers with JSON lines through the file
descriptor RESULTS, which nothing else writes to: what the work prints cannot corrupt it.
"""

import faulthandler
import json
import os
import signal
import struct
import sys
import threading
from collections.abc import Mapping
from shutil import rmtree
from time import perf_counter
from typing import TYPE_CHECKING, Any

from autotune.bench import resource_limits

if TYPE_CHECKING:
    from socket import socket

MARK = struct.Struct("=ii")
"""Which task and which arm is running."""

GRACE_SECONDS = 10.0
"""How much later than the parent this process ends a step by itself, should the parent be gone."""


class Post:
    """Tells the parent what happens.

    Marks go into a file that the parent reads only after a failure: writing one wakes nobody, so that the
    parent never runs during a sample.
    """

    def __init__(self, results: int, mark: int) -> None:
        self._results = results
        self._mark = mark

    def mark(self, task: int, arm: int) -> None:
        """Name the arm that runs from now on: the culprit, should the process end."""
        os.pwrite(self._mark, MARK.pack(task, arm), 0)

    def expect(self, seconds: float) -> None:
        """Promise the next message within this time; without it the process group is killed."""
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
        self.send(expect=seconds)

    def send(self, **message: object) -> None:
        """Send one message."""
        text = json.dumps(message).encode() + b"\n"
        while text:
            text = text[os.write(self._results, text) :]


def main(arguments: list[str]) -> None:
    """Run the errand on stdin."""
    began = perf_counter()
    *numbers, folder = arguments
    results, mark, lifeline = map(int, numbers)
    for inherited in (results, mark, lifeline):
        os.set_inheritable(inherited, False)
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # so that a crash loses no text
    with open(0, "rb", closefd=False) as stdin:
        errand = json.load(stdin)
    resource_limits.confine(address_space=errand["address_space"], cpus=errand["cpus"])
    lines = _copied(errand.get("copies", 1))
    if isinstance(lines, list):
        _end_with_parent(lifeline, folder)
        _run(errand, Post(results, mark), began, lines)
    else:
        os.close(results)
        os.close(lifeline)
        _follow(errand, lines)


def _copied(copies: int) -> "list[socket] | socket":
    """The lines to the other copies; in one of these, the line to the trial."""
    if copies == 1:
        return []
    from autotune.bench.trial_copies import fork

    return fork(copies - 1)


def _follow(errand: Mapping[str, Any], line: "socket") -> None:
    from autotune.bench.trial_copies import follow
    from autotune.bench.trial_job import load

    follow(load(errand["job"]), line)


def _run(errand: Mapping[str, Any], post: Post, began: float, lines: "list[socket]") -> None:
    match errand["errand"]:
        case "measure":
            from autotune.bench.measure import measure
            from autotune.bench.trial_copies import Copies
            from autotune.bench.trial_job import load

            measure(load(errand["job"]), post, began, Copies(lines))
        case "describe":
            from autotune.bench.user_workload import from_source
            from autotune.errors import BadWorkload

            try:
                post.send(workload=from_source(errand["source"]).as_dict())
            except BadWorkload as problem:
                post.send(refused=str(problem))
    faulthandler.cancel_dump_traceback_later()
    post.send(done=True)


def _end_with_parent(lifeline: int, folder: str) -> None:
    """Remove the trial's folder and kill its process group once the parent, who holds the other end, is gone.

    The kernel's own means, PR_SET_PDEATHSIG, would end this process but leave its children. Native code that
    never lets go of the GIL stops this thread, too; faulthandler's timer, which needs no GIL, ends that.
    """

    def watch() -> None:
        os.read(lifeline, 1)
        rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
