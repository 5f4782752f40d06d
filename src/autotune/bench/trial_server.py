"""The child's side of trials: `python -P -m autotune.bench.trial_server SOCKET`.

The server settles its environment and its limits, loads NumPy once, and forks a process for each trial. It never
calls BLAS and never runs a trial itself, so that each trial is a fresh process whose environment was set before NumPy
was loaded; forking costs 3 ms where starting Python and loading NumPy costs 100 to 500 ms of CPU time. OpenBLAS ends
its threads before a fork and starts new ones in the child (pthread_atfork). As the subreaper of its trials the server
ends them with all that they started, when it is told to and when its parent is gone.

A trial answers with JSON lines through the file descriptor that it was given for results, which nothing else writes
to: what the work prints cannot corrupt it.
"""

import faulthandler
import gc
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from autotune.bench import resource_limits
from autotune.controls import supervise

if TYPE_CHECKING:
    from autotune.bench.trial_job import TrialJob

MARK = struct.Struct("=iidd")
"""Task and arm that run, the monotonic clock at the begin of the step, and the seconds that it may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequest:
    """The request that a trial was forked for."""

    errand: Mapping[str, Any]
    began: float
    """Monotonic clock at the fork."""
    results: int
    mark: int
    """File descriptors."""


class Post:
    """Line to the parent.

    Marks go into a file that the parent reads only when a deadline has passed or the process has ended: writing one
    wakes no process, so that the parent does not run during a sample.
    """

    def __init__(self, results: int, mark: int) -> None:
        self._results = results
        self._mark = mark

    def mark(self, task: int, arm: int, seconds: float) -> None:
        """Name the arm that runs from now on, and promise the next mark within this time."""
        os.pwrite(self._mark, MARK.pack(task, arm, monotonic(), seconds), 0)

    def send(self, **message: object) -> None:
        """Send one message."""
        text = json.dumps(message).encode() + b"\n"
        while text:
            text = text[os.write(self._results, text) :]


def main(arguments: list[str]) -> None:
    """Serve trials until the parent is gone."""
    line = socket.socket(fileno=int(arguments[0]))
    settings = json.loads(line.recv(2**16))
    resource_limits.confine(data_bytes=settings["data_bytes"], cpus=settings["cpus"])
    supervise.adopt_orphans()
    if settings["preload"]:
        from autotune.bench import measure, workloads

        assert measure
        workloads.load_all()  # loads NumPy, and calls nothing of it
        gc.freeze()  # the trials' garbage collection leaves the memory alone that they share
    line.sendall(b"ready\n")
    request = _serve(line)
    if request is None:
        os._exit(0)  # nothing is left to be done; taking NumPy down would take 0.1 s
    _run(request)


def _serve(line: socket.socket) -> TrialRequest | None:
    """Fork a process for each request. Return the request in each of them; None in the server, once it may end."""
    server = os.getpid()
    while True:
        text, descriptors, _, _ = socket.recv_fds(line, 2**16, 4)
        if not text:
            return None
        began = monotonic()
        pid = os.fork()
        if not pid:
            line.close()
            return _settle(text, descriptors, began, server)
        for descriptor in descriptors:
            os.close(descriptor)
        line.sendall(f"started {pid}\n".encode())
        if not _watch(line, pid):
            return None


def _settle(text: bytes, descriptors: list[int], began: float, server: int) -> TrialRequest:
    """Give the new process its session, its folder and its input and output."""
    os.setsid()
    supervise.die_with_parent(server)
    settings = json.loads(text)
    errand, output, results, mark = descriptors
    os.dup2(errand, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(errand)
    os.close(output)
    os.environ["TMPDIR"] = settings["folder"]
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # so that a crash loses no text
    with open(0, "rb", closefd=False) as stdin:
        return TrialRequest(errand=json.load(stdin), began=began, results=results, mark=mark)


def _watch(line: socket.socket, pid: int) -> bool:
    """Report the trial's end to the parent, and end all that is left of it; False once the parent is gone."""
    watch = supervise.ChildWatch(pid, line.fileno())
    ended = watch.wait()
    if ended:
        # not reaped before the parent has heard of it: until then the process id is the trial's
        status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert status is not None
        code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
        line.sendall(f"ended {code}\n".encode())
    order = line.recv(16)
    supervise.end_descendants(pid, adopting=True)
    watch.close()
    if order:
        line.sendall(b"gone\n")
    return bool(order)


def _run(request: TrialRequest) -> None:
    errand, post = request.errand, Post(request.results, request.mark)
    match errand["errand"]:
        case "measure":
            _measure(_job(errand), request, post)
        case "pools":
            from autotune.bench.pools_at_work import pools_at_work

            post.send(pools=pools_at_work(_job(errand), post))
            post.send(done=True)
        case "describe":
            from autotune.bench.user_workload import from_source
            from autotune.errors import BadWorkload
            from autotune.model.codec import encode

            try:
                post.send(workload=encode(from_source(errand["source"])))
            except BadWorkload as problem:
                post.send(refused=str(problem))
            post.send(done=True)


def _job(errand: Mapping[str, Any]) -> "TrialJob":
    from autotune.bench.trial_job import TrialJob
    from autotune.model.codec import decode

    return decode(TrialJob, errand["job"])


def _measure(job: "TrialJob", request: TrialRequest, post: Post) -> None:
    from autotune.bench.trial_copies import Copies, follow, fork

    lines = fork(job.copies - 1)
    if not isinstance(lines, list):
        os.close(request.results)
        follow(job, lines)
        return
    from autotune.bench.measure import measure

    measure(job, post, request.began, Copies(lines))
    post.send(done=True)
    if not job.workloads:  # a user's module may have asked for something at the interpreter's exit
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
