"""The task that a Dask worker runs: it starts the node's process and ends it in time.

The function is sent by value and imports the standard library only at first: scheduler and worker need no autotune to
receive it, and a worker without autotune answers with a sentence.
"""

from collections.abc import Callable


def worker_task() -> Callable[[str], str]:
    """Return the function to send: cloudpickle sends by value what is defined inside a function."""

    def run_order(order: str) -> str:
        """Carry out an order in a process of its own; return the answer as JSON text.

        The process and its trials are ended if the task is cancelled, as it is when the client goes away, and if this
        worker dies. Scope of effect: one process, started without the thread and allocator variables that a nanny sets.
        """
        import json  # names outside of this function are not sent with it
        import os
        import sys
        import tempfile

        from distributed import get_worker

        try:
            from autotune.controls.supervise import Supervised
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
        with (
            tempfile.TemporaryFile() as orders,
            tempfile.TemporaryFile() as output,
            tempfile.TemporaryFile() as errors,
        ):
            orders.write(order.encode())
            orders.seek(0)
            environ = scrub(os.environ)[0]
            with Supervised(command, stdin=orders, stdout=output, stderr=errors, env=environ) as node:
                while (ending := node.wait(0.2)) is None and is_wanted():
                    pass
            output.seek(0)
            answer = output.read().decode(errors="replace").strip().rpartition("\n")[2]
            if answer:
                return answer
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            status = "none" if ending is None else ending.status
            reason = f"The process that measures ended with status {status}: {words or 'no message'}"
            return json.dumps({"problem": reason, "kind": "other"})

    return run_order
