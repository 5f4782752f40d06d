"""The mark that tells a forked child."""

import pytest
from support.programs import printed


@pytest.mark.real
def test_a_program_ends_that_leaves_a_sub_interpreter_with_the_mark():
    """CPython ends such an interpreter when no thread may take Python's lock any more."""
    lines = printed(
        """
        import threading, time
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        number = interpreters.create()
        interpreters.run_string(number, "from autotune.controls import after_fork; after_fork.register(print)")
        print("ends")
        """
    )
    assert lines == "ends\n"
