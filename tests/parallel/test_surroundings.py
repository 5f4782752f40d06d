"""Array work in surroundings of others: servers, frameworks, namespaces, control groups, sub-interpreters."""

import _thread
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from importlib.util import find_spec

import numpy as np
import pytest
from support.namespaces import control_group, unshared
from support.programs import printed

from autotune.parallel import blocks, thread_pool

WORK = """
import os, sys, threading
import numpy as np
from autotune.host.memory_limit import resident_bytes
from autotune.parallel import blocks

seen = set()
def add_one(block):
    seen.add(threading.get_ident())
    return block + 1

def call():
    return blocks.map_blocks(add_one, (np.zeros(1_000_000),), workers=2, chunk=100_000)

def measured():
    '''The threads at work, and the megabytes that 20 calls of 8 MB leave behind.'''
    call()
    before = resident_bytes()
    for _ in range(20):
        call()
    return len(seen), (resident_bytes() - before) // 10**6
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.real
@needs_fork
def test_a_fork_that_python_does_not_make_has_its_own_helpers_and_keeps_no_arrays():
    """uWSGI calls fork(2) itself, and Python's hooks do not run: jobs for the parent's threads would pile up."""
    code = f"""{WORK}
import ctypes
call()
seen.clear()
child = ctypes.PyDLL(None).fork()
if not child:
    threads, grown = measured()
    print(threads, grown < 60, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    assert printed(code) == "2 True\n"


@pytest.mark.real
@pytest.mark.skipif(shutil.which("uwsgi") is None, reason="needs uWSGI")
def test_workers_of_uwsgi_have_their_own_helpers_and_keep_no_arrays(tmp_path):
    (tmp_path / "served.py").write_text(f"""{WORK}
import json
call()
def application(environ, start_response):
    import autotune
    start_response("200 OK", [])
    return [json.dumps([*measured(), autotune.usable_cpus()]).encode()]
""")
    command = ["uwsgi", "--http-socket", "127.0.0.1:0", "--processes", "2", "--enable-threads"]
    command += [
        "--master",
        "--no-orphans",
        "--need-app",
        "--die-on-term",
        "--module",
        "served",
        "--virtualenv",
        sys.prefix,
    ]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stderr=log)
    try:
        threads, grown, usable = json.loads(answer_of(server, tmp_path / "log"))
    finally:
        server.terminate()
        server.wait(60)
    assert (threads, grown < 60) == (2, True)
    assert usable == max(1, len(os.sched_getaffinity(0)) // 2)


def answer_of(server, log):
    """Return what the server answers, as soon as it does."""
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        text = log.read_text()
        if "bound to TCP address" in text:
            address = text.partition("bound to TCP address ")[2].split()[0]
            try:
                return urllib.request.urlopen(f"http://{address}", timeout=60).read()
            except urllib.error.URLError:
                pass
        time.sleep(0.1)
    pytest.fail(log.read_text())


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_where_threads_became_greenlets_after_the_first_call_the_caller_works_alone(name, patch):
    if find_spec(name) is None:
        pytest.skip(f"needs {name}")
    code = f"{WORK}\ncall()\n{patch}\nseen.clear()\nprint(call().sum(), len(seen))"
    assert printed(code) == "1000000.0 1\n"


def test_where_new_threads_are_no_threads_the_caller_works_alone(monkeypatch):
    """As gevent and eventlet leave it."""
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: None)
    monkeypatch.setattr(thread_pool.HelperPool, "call", lambda *_: pytest.fail("helpers were called"))
    seen = set()

    def add_one(block):
        seen.add(threading.get_ident())
        return block + 1

    result = blocks.map_blocks(add_one, (np.zeros(1000),), workers=2, chunk=100)
    assert (result.sum(), seen) == (1000, {threading.get_ident()})


@pytest.mark.real
@needs_fork
def test_a_fork_of_the_program_finds_no_thread_of_ours():
    """From 3.12 on Python warns of each fork of a process with several threads, which fails under -W error."""
    code = f"""
import os, threading
os.register_at_fork(before=lambda: print(threading.active_count(), flush=True))  # runs after all later hooks
{WORK}
import multiprocessing
import autotune
from autotune.controls import allocator
applied = autotune.apply(watch=True)
if allocator.unsupported_reason() is None:
    allocator.retain()
call()
print(threading.active_count() > 1, flush=True)
process = multiprocessing.get_context("fork").Process(target=call)
process.start()
process.join()
seen.clear()
for _ in range(1000):  # on a busy machine the caller may finish before its helper wakes
    call()
    if len(seen) == 2:
        break
print(process.exitcode, len(seen), threading.active_count() > 1)
"""
    assert printed(code, "-W", "error") == "True\n1\n0 2 True\n"


@pytest.mark.real
@pytest.mark.skipif(find_spec("joblib") is None, reason="needs joblib")
def test_workers_of_loky_keep_to_the_one_thread_that_they_were_given():
    code = """
import joblib, threading, time
import numpy as np
def task(_):
    import autotune
    seen = set()
    def root(block):
        seen.add(threading.get_ident())
        return np.sqrt(block)
    autotune.map_blocks(root, np.ones(2_000_000))
    with autotune.executor("batch_matmul", n=10, tasks=10) as pool:
        workers = pool.workers
    negative = autotune.process_map(np.negative, np.ones(50_000))
    return len(seen), workers, float(negative.sum())
print(joblib.Parallel(n_jobs=2)(joblib.delayed(task)(number) for number in range(2)))
"""
    assert printed(code) == "[(1, 1, -50000.0), (1, 1, -50000.0)]\n"


@pytest.mark.real
@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_workers_of_xdist_share_the_cpus(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import autotune\n"
        f"def test_share(): assert autotune.usable_cpus() == {max(1, len(os.sched_getaffinity(0)) // 2)}\n"
    )
    code = "import pytest, sys; sys.exit(pytest.main(['-q', '-n2', '-pxdist', '-pno:cacheprovider', 'test_it.py']))"
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    assert "1 passed" in printed(code, folder=tmp_path, environ=alone)


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "setup"),
    [
        (("--pid", "--fork", "--mount-proc"), ""),
        (("--pid", "--fork"), ""),  # /proc tells of other processes
        (("--mount",), "mount -t tmpfs none /proc"),  # and here of none
    ],
    ids=["pid namespace", "pid namespace with the old /proc", "no /proc"],
)
def test_every_way_to_share_works_whatever_proc_shows(options, setup):
    code = """
import numpy as np
import autotune
from autotune.model.configuration import Method
from autotune.parallel.process_blocks import process_map
array = np.ones(1000)
sums = {process_map(np.negative, array, method=method, workers=2, chunk=300).sum() for method in Method}
print({float(each) for each in sums}, autotune.usable_cpus() >= 1, bool(str(autotune.explain())))
"""
    assert printed(code, command=unshared(*options, setup=setup)) == "{-1000.0} True True\n"


@pytest.mark.real
@pytest.mark.skipif(find_spec("_xxsubinterpreters") is None, reason="needs _xxsubinterpreters (Python before 3.13)")
@pytest.mark.parametrize(
    ("first", "said"), [("", "True 1000000.0"), ("import numpy", "True cannot load module more than once per process")]
)
def test_a_sub_interpreter_works_as_far_as_numpy_does(first, said):
    """mod_wsgi and uWSGI serve each application in one. NumPy loads in one interpreter only, since 2.4."""
    inner = """
import autotune
print(bool(str(autotune.apply())) and autotune.usable_cpus() >= 1, end=" ")
try:
    import numpy as np
    from autotune.parallel import blocks
    print(blocks.map_blocks(np.sqrt, (np.ones(1_000_000),), workers=2, chunk=100_000).sum())
except ImportError as error:
    print(error)
"""
    code = f"""
{first}
import _xxsubinterpreters as interpreters
one = interpreters.create()
interpreters.run_string(one, {inner!r})
interpreters.destroy(one)
"""
    printed_there = printed(code, "-W", "ignore")
    assert printed_there in {f"{said}\n", "True 1000000.0\n"}


@pytest.mark.real
def test_in_a_group_with_little_memory_blocks_go_through_pipes():
    """A shared copy of the array and of the result would be charged to the group, and end the program."""
    code = """
import numpy as np
import autotune
from autotune.errors import SharedMemoryError
array = np.zeros(12_000_000)
print(autotune.process_map(np.negative, array).sum() == 0)
try:
    autotune.shared(10**8)
except SharedMemoryError as error:
    print("control group" in str(error))
"""
    with control_group("memory", {"memory.limit_in_bytes": "300M"}, {"memory.max": "300M"}) as command:
        assert printed(code, command=command) == "True\nTrue\n"


@pytest.mark.real
@needs_fork
def test_processes_that_may_have_no_further_thread_do_their_work():
    """OpenBLAS starts its threads anew in a forked child, and sends SIGINT where it cannot."""
    code = """
import multiprocessing
import numpy as np
from autotune.model.configuration import Method
from autotune.parallel.process_blocks import process_map
identity = np.eye(200)

def product(block):
    return block + (identity @ identity)[0, 0]

context = multiprocessing.get_context("fork")
done = process_map(product, np.zeros(4000), method=Method.MEMFD, workers=2, chunk=100, blas_threads=1, context=context)
print(done.sum())
"""
    with control_group("pids", {"pids.max": "3"}, {"pids.max": "3"}) as command:
        assert printed(code, command=command) == "4000.0\n"


@pytest.mark.real
def test_a_quota_of_a_real_group_is_found():
    code = "import autotune; print(autotune.usable_cpus(), autotune.explain().usable_cpus)"
    with control_group("cpu", {"cpu.cfs_quota_us": "50000"}, {"cpu.max": "50000 100000"}) as command:
        assert printed(code, command=command) == "1 1\n"


VERSION_2 = """
mount -t tmpfs none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/pods/pod/app
cd /sys/fs/cgroup/pods
echo 'max 100000' >pod/app/cpu.max
echo '50000 100000' >pod/cpu.max
echo max >pod/app/memory.max
echo 300000000 >pod/memory.max
echo 100000000 >pod/memory.current
echo 0::/pods/pod/app >/sys/fs/cgroup/group
echo '30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw' >/sys/fs/cgroup/mounts
mount --bind /sys/fs/cgroup/group /proc/$$/cgroup
mount --bind /sys/fs/cgroup/mounts /proc/$$/mountinfo
"""
"""A pod with limits of version 2, as the kernel shows it to this process, whichever version the machine has."""


@pytest.mark.real
def test_limits_of_a_group_of_version_2_hold_through_all_of_the_program():
    code = """
import numpy as np
import autotune
from autotune.errors import SharedMemoryError
print(autotune.usable_cpus(), autotune.explain().usable_cpus)
print(autotune.process_map(np.negative, np.zeros(12_000_000)).sum() == 0)
try:
    autotune.shared(10**8)
except SharedMemoryError as error:
    print("control group" in str(error))
"""
    command = unshared("--mount", setup=VERSION_2)
    assert printed(code, command=command) == "1 1\nTrue\nTrue\n"
