"""Worker processes end with their caller, whatever ends it, and leave the caller as it was."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.namespaces import libgomp_library, needs_root, unshared
from support.programs import printed

from autotune.model.configuration import Method

pytestmark = [pytest.mark.real, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

MAP = """
import multiprocessing, os, sys, time
import numpy as np
from autotune.model.configuration import Method
from autotune.parallel.process_blocks import process_map

def mapped(function, array, out=None, method=Method.MEMFD, **options):
    options = {"workers": 2, "chunk": max(1, array.size // 4), **options}
    return process_map(function, array, out, method=method, **options)
"""


def children_of(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("needs /proc/PID/task/PID/children")
    return [int(child) for child in listed.read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("method", [Method.ARGUMENT, Method.PIPE, Method.MEMFD, Method.QUEUE])
def test_a_caller_that_is_killed_leaves_no_child(method, number):
    code = f"""{MAP}
def large(block):
    time.sleep(0.01)
    return np.ones(block.shape)
print("ready", flush=True)
while True:
    mapped(large, np.zeros((64, 100_000)), method=Method("{method}"), chunk=100_000)
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert program.stdout.readline() == b"ready\n"
    children = []
    while len(children) < 2:
        children = children_of(program.pid)
        time.sleep(0.01)
    time.sleep(0.2)
    children = children_of(program.pid)
    program.send_signal(number)
    program.wait(60)
    deadline = time.monotonic() + 30
    while any(is_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [child for child in children if is_alive(child)] == []


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_caller_that_is_killed_leaves_no_child_that_is_stuck_in_compiled_code():
    code = f"""{MAP}
import ctypes
def stuck(block):
    ctypes.PyDLL(None).sleep(600)  # holds the GIL
print("ready", flush=True)
mapped(stuck, np.zeros(4))
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert program.stdout.readline() == b"ready\n"
    while len(children_of(program.pid)) < 2:
        time.sleep(0.01)
    time.sleep(0.3)
    children = children_of(program.pid)
    program.kill()
    program.wait(60)
    deadline = time.monotonic() + 30
    while any(map(is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, children))


def test_a_function_that_uses_gnu_openmp_ends_at_the_first_call_and_at_later_ones(tmp_path):
    code = f"""{MAP}
import ctypes
library = ctypes.CDLL("{libgomp_library(tmp_path)}")
def inc(block):
    out = np.array(block).ravel()
    library.inc(out.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(out.size))
    return out.reshape(block.shape)
x = np.zeros(100_000)
print(mapped(inc, x).sum())
inc(x)                       # the program itself uses OpenMP: its threads are there when the next call forks
print(mapped(inc, x).sum(), mapped(inc, x, x).sum(), mapped(inc, x, x).sum())
"""
    assert printed(code) == "100000.0\n100000.0 100000.0 200000.0\n"


def test_the_callers_error_state_holds_in_children_that_another_thread_forks(tmp_path):
    code = f"""{MAP}
import ctypes
ctypes.CDLL("{libgomp_library(tmp_path)}")
with np.errstate(divide="raise"):
    try:
        mapped(lambda block: 1 / block, np.zeros(100))
    except FloatingPointError:
        print("raised")
"""
    assert printed(code) == "raised\n"


def test_the_programs_start_method_is_not_fixed():
    code = f"""{MAP}
import autotune
autotune.process_map(np.sqrt, np.zeros(100_000))
for method in Method:
    mapped(np.sqrt, np.zeros(1000), method=method)
with autotune.shared(10, method="array"):
    pass
multiprocessing.set_start_method("spawn")
print(multiprocessing.get_start_method())
"""
    assert printed(code) == "spawn\n"


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_a_process_that_has_dropped_root_shares_arrays_with_its_children(start_method):
    needs_root()
    if start_method != "fork" and not may_be_read_by_all(Path(sys.executable).resolve()):
        pytest.skip("needs an interpreter that others may run")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    program = folder / "program.py"
    program.write_text(f"""{MAP}
def inc(block):
    return block + 1
if __name__ == "__main__":
    x = np.zeros(1000)
    context = multiprocessing.get_context("{start_method}")
    import autotune
    autotune.shared(10).close()
    for method in Method:       # imports all that is needed: the interpreter's files may be root's alone
        if method is not Method.INHERIT or "{start_method}" == "fork":
            mapped(inc, x, method=method, context=context)
    os.setgid(65534)
    os.setuid(65534)
    for method in Method:
        if method is not Method.INHERIT or "{start_method}" == "fork":
            assert (mapped(inc, x, method=method, context=context) == 1).all(), method
            assert (mapped(inc, x, np.empty(1000), method=method, context=context) == 1).all(), method
    with autotune.shared(10) as array:
        print(autotune.attach(array.handle).shape)
""")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300, check=False)
    shutil.rmtree(folder)
    assert (done.returncode, done.stdout) == (0, "(10,)\n"), done.stderr


def may_be_read_by_all(path):
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (path, *path.parents))


def test_without_shared_memory_for_locks_executors_have_threads_and_arrays_are_mapped():
    """AWS Lambda, and pods with a read-only /dev/shm: multiprocessing can make no lock there."""
    code = f"""{MAP}
import autotune
from autotune.parallel.worker_processes import has_semaphores
assert not has_semaphores()
print(autotune.process_map(np.sqrt, np.ones(100_000)).sum())
print(type(autotune.executor("batch_matmul_processes", n=100, processes=True)).__name__)
"""
    command = unshared("--mount", setup="mount -t tmpfs -o ro none /dev/shm")
    assert printed(code, command=command) == "100000.0\nThreadExecutor\n"


def test_children_of_a_program_that_ignores_their_end_are_awaited():
    """SIGCHLD ignored, as some servers do: the kernel forgets a child that ends, and its code is lost."""
    code = f"""{MAP}
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print(mapped(np.sqrt, np.ones(1000)).sum())
try:
    mapped(lambda block: os._exit(3), np.ones(1000))
except OSError as error:
    print(str(error).startswith("A worker process ended before its work was done"))
"""
    assert printed(code) == "1000.0\nTrue\n"


def test_a_handler_of_the_program_does_not_keep_children_alive():
    """gunicorn's workers take SIGTERM for a request to finish; a forked child inherits the handler."""
    code = f"""{MAP}
import signal
signal.signal(signal.SIGTERM, lambda *_: None)
def fail_late(block):
    if block[0]:
        raise KeyError("late")
    time.sleep(600)
began = time.monotonic()
try:
    mapped(fail_late, np.repeat([0.0, 1.0], 50), workers=2, chunk=50)
except KeyError:
    print(time.monotonic() - began < 300)
"""
    assert printed(code) == "True\n"


def test_the_wakeup_descriptor_of_asyncio_stays_the_parents():
    code = f"""{MAP}
import asyncio, signal
async def main():
    loop = asyncio.get_running_loop()
    got = []
    loop.add_signal_handler(signal.SIGUSR1, got.append, 1)
    def send(block):
        signal.signal(signal.SIGUSR1, lambda *_: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        return block
    mapped(send, np.zeros(100))
    await asyncio.sleep(0.1)
    print(got)
asyncio.run(main())
"""
    assert printed(code) == "[]\n"
