"""The task that a Dask worker runs: it starts the node's process and ends it in time.

The function is sent by value and imports the standard library only at first: scheduler and worker need no autotune to
receive it, and a worker without autotune answers with a sentence.
"""

from collections.abc import Callable


def worker_task() -> Callable[[str], str]:
    """Return the function to send: cloudpickle sends by value what is defined inside a function."""

    def run_order(order: str) -> str:
        """Carry out an order in a process of its own; return the answer as JSON text.

        The process is ended if the task is cancelled, as it is when the client goes away. Scope of effect: one process,
        started without the thread and allocator variables that a nanny sets.
        """
        import json  # names outside of this function are not sent with it
        import os
        import subprocess
        import sys
        import tempfile
        from contextlib import suppress
        from time import sleep

        from distributed import get_worker

        try:
            from autotune.controls.thread_variables import scrub
        except ImportError as problem:
            return json.dumps({"problem": f"autotune is not installed there ({problem}).", "kind": "absent"})
        worker = get_worker()
        task = worker.get_current_task()

        def is_wanted() -> bool:
            state = worker.state.tasks.get(task)
            dropped = state is None or state.state in {"cancelled", "released", "forgotten"}
            return not dropped and worker.status.name not in {"closing", "closed", "failed"}

        command = [sys.executable, "-P", "-m", "autotune.cluster.node"]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(  # noqa: S603  # our own module
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                env=scrub(os.environ)[0],
                start_new_session=True,
            )
            assert child.stdin is not None
            try:
                with suppress(OSError):  # it ended before it read: stderr says why
                    child.stdin.write(order.encode() + b"\n")
                    child.stdin.flush()
                while child.poll() is None and is_wanted():
                    sleep(0.2)
            finally:
                with suppress(OSError):
                    child.stdin.close()
                try:
                    child.wait(15.0)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            output.seek(0)
            answer = output.read().decode(errors="replace").strip().rpartition("\n")[2]
            if answer:
                return answer
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            reason = (
                f"The process that measures ended with status {child.returncode}: {words or 'no message'}"
            )
            return json.dumps({"problem": reason, "kind": "other"})

    return run_order
