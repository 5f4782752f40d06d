"""One pool per process: blocks are done once, failures are raised once, threads do not multiply."""

import contextvars
import gc
import os
import threading
import weakref

import numpy as np
import pytest
from support.programs import printed

from autotune.parallel import thread_pool


def done(count, workers):
    seen = []

    def step(block):
        seen.append(block)

    thread_pool.run(lambda: step, count, workers)
    return seen


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_block_is_done_once(workers):
    assert sorted(done(1000, workers)) == list(range(1000))


def test_no_blocks_are_no_work():
    assert done(0, 3) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failure_stops_the_others_and_is_raised_once_naming_its_block(workers):
    seen = []

    def step(block):
        if block == 5:
            raise ValueError("five")
        seen.append(block)

    with pytest.raises(ValueError, match="five") as caught:
        thread_pool.run(lambda: step, 100_000, workers)
    assert caught.value.__notes__ == ["Raised in block 5 of 100000; the result's other blocks may have been written."]
    assert len(seen) < 100_000 - 1


def test_a_keyboard_interrupt_is_raised_as_it_is():
    def step(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        thread_pool.run(lambda: step, 10, 2)
    assert not hasattr(caught.value, "__notes__")


def test_a_pool_works_on_after_a_failure():
    with pytest.raises(ZeroDivisionError):
        thread_pool.run(lambda: lambda _: 1 / 0, 10, 3)
    assert sorted(done(10, 3)) == list(range(10))


def both_threads_at_work(step):
    """Run two blocks on two threads, which wait for each other."""
    meet = threading.Barrier(2, timeout=300)

    def together(block):
        meet.wait()
        return step(block)

    thread_pool.run(lambda: together, 2, 2)


def test_context_variables_are_carried_into_the_helpers():
    variable = contextvars.ContextVar("variable")
    variable.set("carried")
    seen = []
    both_threads_at_work(lambda _: seen.append(variable.get()))
    assert seen == ["carried", "carried"]


def test_the_error_state_of_numpy_is_carried_into_the_helpers():
    seen = []
    with np.errstate(divide="raise", under="ignore"):
        both_threads_at_work(lambda _: seen.append(np.geterr()["divide"]))
    assert seen == ["raise", "raise"]


def test_nested_calls_do_not_multiply_threads():
    threads = [set(), set()]

    def step(block):
        thread_pool.run(lambda: lambda _: threads[block].add(threading.get_ident()), 50, 4)

    both_threads_at_work(step)
    assert [len(seen) for seen in threads] == [1, 1]
    assert not thread_pool.is_inside()


def test_callers_in_several_threads_get_their_own_results():
    results = {}

    def call(number):
        results[number] = sorted(done(200, 3))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[number] == list(range(200)) for number in range(6))


def test_an_idle_helper_keeps_nothing_of_its_last_caller():
    class Payload:
        pass

    payload = Payload()
    gone = weakref.ref(payload)
    both_threads_at_work(lambda _, kept=payload: kept)
    del payload
    for _ in range(100):
        gc.collect()
        if gone() is None:
            break
        threading.Event().wait(0.01)
    assert gone() is None


FORK = """
import os, threading
from autotune.parallel import thread_pool as pool
seen = []
def step(block):
    if block == 3:
        child = os.fork()
        if not child:
            again = []
            pool.run(lambda: again.append, 20, 2)
            os._exit(0 if sorted(again) == list(range(20)) and threading.active_count() == 2 else 1)
        seen.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
pool.run(lambda: step, 10, 2)
print(seen)
"""


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_in_the_middle_of_a_call_has_a_pool_of_its_own():
    assert printed(FORK) == "[0]\n"


INTERRUPT = """
import signal, threading, time
from autotune.parallel import thread_pool as pool
at_work = []
def step(block):
    at_work.append(1)
    if block == 1:
        signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    time.sleep(0.01)
    at_work.pop()
threading.Timer(0.2, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)).start()
try:
    pool.run(lambda: step, 100000, 2)
except KeyboardInterrupt:
    print("interrupted", len(at_work) <= 1)
"""


@pytest.mark.real
@pytest.mark.skipif(not hasattr(__import__("signal"), "pthread_kill"), reason="needs pthread_kill")
def test_ctrl_c_ends_a_call_and_leaves_no_helper_at_work():
    assert printed(INTERRUPT) == "interrupted True\n"
