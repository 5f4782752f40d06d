"""What runs inside a Dask worker: it starts a process of ours, and sees to it that this ends in time.

The function travels by value, and needs nothing but the standard library until it has looked around: neither the
scheduler nor a worker must have autotune for it to arrive, and a worker without autotune says so in a sentence.
"""

from collections.abc import Callable


def visitor() -> Callable[[str], str]:
    """The function to send. Made here, since cloudpickle sends what is defined in a function by value."""

    def visit(order: str) -> str:
        """Have an order done; returns the answer as JSON text.

        The task may be cancelled, by a client that goes away as well: then the process is ended. Scope of effect:
        one process, started without the thread and allocator variables that a nanny sets.
        """
        import json  # what is outside of this function does not travel with it
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

        def wanted() -> bool:
            known = worker.state.tasks.get(task)
            dropped = known is None or known.state in {"cancelled", "released", "forgotten"}
            return not dropped and worker.status.name not in {"closing", "closed", "failed"}

        command = [sys.executable, "-P", "-m", "autotune.cluster.node"]
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
            child = subprocess.Popen(  # noqa: S603  # our own module
                command,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=complained,
                env=scrub(os.environ)[0],
                start_new_session=True,
            )
            assert child.stdin is not None
            try:
                with suppress(OSError):  # it ended before it read: its last words say why
                    child.stdin.write(order.encode() + b"\n")
                    child.stdin.flush()
                while child.poll() is None and wanted():
                    sleep(0.2)
            finally:
                with suppress(OSError):
                    child.stdin.close()
                try:
                    child.wait(15.0)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            said.seek(0)
            answer = said.read().decode(errors="replace").strip().rpartition("\n")[2]
            if answer:
                return answer
            complained.seek(0)
            words = complained.read().decode(errors="replace").strip().rpartition("\n")[2]
            reason = f"The process that measures ended with status {child.returncode}: {words or 'no words'}"
            return json.dumps({"problem": reason, "kind": "other"})

    return visit
