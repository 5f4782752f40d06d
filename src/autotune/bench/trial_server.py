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
import sys
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from autotune.bench.trial_job import Post, TrialJob
from autotune.bench.user_workload import from_source
from autotune.controls import supervise
from autotune.errors import BadWorkload
from autotune.model.codec import decode, encode

BASE_BYTES = 2**30
"""Private memory of Python, NumPy and SciPy with one thread (measured: 0.1 to 0.4 GB), rounded up."""
THREAD_BYTES = 256 * 2**20
"""Private memory of a thread: its stack (8 MiB), malloc's arena (64 MiB) and OpenBLAS's buffer (32 to 64 MiB)."""
DATA_FACTOR = 4
"""A workload that takes its quarter of the memory stays far below; one that runs away ends in MemoryError."""


def main(arguments: list[str]) -> None:
    """Serve trials until the parent is gone."""
    line = socket.socket(fileno=int(arguments[0]))
    settings = json.loads(line.recv(2**16))
    confine(settings["data_bytes"])
    supervise.adopt_orphans()
    if settings["preload"]:
        from autotune.bench import measure, workloads

        assert measure
        workloads.load_all()  # loads NumPy, and calls nothing of it
        gc.freeze()  # the trials' garbage collection leaves the memory alone that they share
    line.sendall(b"ready\n")
    trial = _serve(line)
    if trial is None:
        os._exit(0)  # nothing is left to be done; taking NumPy down would take 0.1 s
    request, post = trial
    if not _run(request, post):
        return
    post.send(done=True)
    if settings["preload"]:  # else a user's module may have asked for something at the interpreter's exit
        sys.stdout.flush()
        os._exit(0)


def data_bytes(memory_bytes: int | None, threads: int) -> int | None:
    """Return the bytes that may be mapped for writing in a trial whose workload may take `memory_bytes`; None if that
    is unknown.
    """
    if memory_bytes is None:
        return None
    return BASE_BYTES + THREAD_BYTES * max(threads, 1) + DATA_FACTOR * memory_bytes


def confine(data_bytes: int | None) -> None:
    """Limit this process and its children: private writable memory, no core dumps.

    Not the address space: runtimes that only reserve addresses (CUDA, JVM, WebAssembly, Go) take many times the
    machine's memory of it. RLIMIT_DATA counts what may be written (Linux 4.7, mm/mmap.c is_data_mapping). A limit
    that the system refuses, or does not know, is left out: the parent's time limit still holds.
    """
    if sys.platform == "win32":
        return
    import resource  # not on Windows

    for name, wanted in (("RLIMIT_CORE", 0), ("RLIMIT_DATA", data_bytes)):
        kind = getattr(resource, name, None)
        if kind is None or wanted is None:
            continue
        soft, hard = resource.getrlimit(kind)
        finite = [limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY]
        with suppress(OSError, ValueError):  # some systems refuse RLIMIT_DATA
            resource.setrlimit(kind, (min(finite), hard))


def _serve(line: socket.socket) -> tuple[Mapping[str, Any], Post] | None:
    """Fork a process for each request. Return the request in each of them; None in the server, once it may end."""
    server = os.getpid()
    folder = None
    while True:
        text = b""
        with suppress(ConnectionError):  # the parent is gone: a socket reports by an error what was not read
            text, descriptors, _, _ = socket.recv_fds(line, 2**16, 4)
        if not text:
            if folder is not None and os.path.exists(folder):  # noqa: PTH110 - pathlib takes time to load
                from shutil import rmtree  # loaded only here: a parent that was killed has left the folder

                rmtree(folder, ignore_errors=True)
            return None
        folder = json.loads(text)["folder"]
        began = monotonic()
        pid = os.fork()
        if not pid:
            line.close()
            request, output, results, mark = descriptors
            return _settle(folder, request, output, server), Post(results, mark, began)
        for descriptor in descriptors:
            os.close(descriptor)
        _watch(line, pid)


def _settle(folder: str, request: int, output: int, server: int) -> Mapping[str, Any]:
    """Give the new process its session, its folder and its input and output; return its request."""
    os.setsid()
    supervise.die_with_parent(server)
    os.dup2(request, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(request)
    os.close(output)
    os.environ["TMPDIR"] = folder
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # so that a crash loses no text
    with open(0, "rb", closefd=False) as stdin:
        return dict(json.load(stdin))


def _watch(line: socket.socket, pid: int) -> None:
    """Report the trial's start and end to the parent; end what is left of it when told, and when the parent is gone."""
    watch = supervise.ChildWatch(pid, line.fileno())
    order = b""
    with suppress(ConnectionError):  # the parent is gone: a socket reports by an error what was not read
        line.sendall(f"started {pid}\n".encode())
        if watch.wait():
            # not reaped before the parent has heard of it: until then the process id is the trial's
            status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert status is not None
            code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
            line.sendall(f"ended {code}\n".encode())
        order = line.recv(16)
    supervise.end_descendants(pid, adopting=True)
    watch.close()
    if order:
        with suppress(ConnectionError):
            line.sendall(b"gone\n")


def _run(request: Mapping[str, Any], post: Post) -> bool:
    """Run a request; False at the end of a copy, which answers nothing."""
    match request:
        case {"request": "measure", "job": encoded}:
            from autotune.bench.measure import measure
            from autotune.bench.trial_copies import Copies, follow, fork

            job: TrialJob = decode(TrialJob, encoded)
            lines = fork(job.copies - 1)
            if not isinstance(lines, list):
                post.close()
                follow(job, lines)
                return False
            measure(job, post, Copies(lines))
        case {"request": "pools", "job": encoded}:
            from autotune.bench.thread_activity import pools_at_work

            post.send(pools=pools_at_work(decode(TrialJob, encoded), post))
        case {"request": "describe", "source": source}:
            try:
                post.send(workload=encode(from_source(source)))
            except BadWorkload as problem:
                post.send(refused=str(problem))
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
