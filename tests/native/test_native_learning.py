"""Long loops that no plan covers, as the C core times them, tells of them and runs them as it is ordered."""

import os
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from support.native import CORE, WHOLE, needs_core
from support.programs import printed

from autotune.intercept.array_loops import ArrayLoops
from autotune.intercept.operations import Layout, Range

pytestmark = needs_core

N = 200_000


class Lessons:
    """Decides that every loop learns, notes what the core tells of, and orders what a test wants."""

    def __init__(self):
        self.calls = {}
        self.told = []
        self.orders = []
        """Functions of the Calls, one for each call that is told."""

    def decide(self, operation, dtype, elements):
        calls = self.calls[operation, dtype, elements] = CORE.Calls(operation, dtype, {"n": elements})
        calls.learns = True
        return calls

    def look(self, calls, seconds, control, trial):
        self.told.append((calls.operation, calls.elements, seconds > 0, bool(control), bool(trial)))
        if self.orders:
            self.orders.pop(0)(calls)


@contextmanager
def learning(cpus=2):
    CORE.configure(cpus)
    array_loops, lessons = ArrayLoops(CORE), Lessons()
    assert array_loops.install() is None
    array_loops.learn(lessons.decide)
    CORE.watch_calls(lessons.look, 1.0, 0.0)
    try:
        yield array_loops, lessons
    finally:
        CORE.watch_calls(None)
        array_loops.remove()


def try_two_workers(calls):
    calls.trial, calls.trial_slices = 2, 4


def choose_two_workers(calls):
    calls.threads, calls.slices = 2, 1


def want_control(calls):
    calls.control = True


def cut():
    return CORE.status()["cut"]


def pause():
    """Let the interpreter run what is pending."""
    for _ in range(3):
        len("")


def test_a_long_loop_is_told_with_the_operation_that_speaks_for_it():
    x = np.linspace(1.0, 2.0, N)
    with learning() as (_, lessons):
        np.log(x)
        pause()
    assert lessons.told == [("loop_exp", N, True, False, False)]
    assert list(lessons.calls) == [("loop_exp", "float64", N)]


@pytest.mark.parametrize(
    ("call", "operation", "dtype"),
    [
        (lambda x: np.exp(x.astype(np.float32)), "loop_exp", "float32"),
        (lambda x: np.sqrt(x[::2]), "loop_strided", "float64"),
        (lambda x: np.divide(x, 3.0), "loop_scale", "float64"),
        (lambda x: x.reshape(4, -1) - x[: len(x) // 4], "loop_rows", "float64"),
        *([(lambda x: x.view(np.int64).max(), "loop_max", "float64")] if WHOLE else []),
        (lambda x: np.sin(x + 1j), "loop_exp", "complex128"),
    ],
)
def test_lessons_are_those_of_the_catalogue_by_layout_type_and_reduction(call, operation, dtype):
    x = np.tile(np.linspace(1.0, 2.0, N), 4)
    with learning() as (_, lessons):
        call(x)
        pause()
    assert (operation, dtype) in {(name, kind) for name, kind, _ in lessons.calls}


def test_a_trial_is_one_call_in_slices_and_a_choice_all_that_follow():
    x = np.linspace(1.0, 2.0, N)
    with learning() as (_, lessons):
        plain = np.log(x)
        lessons.orders = [try_two_workers, lambda _: None, lambda _: None, choose_two_workers]
        counts, results = [], []
        for _ in range(6):
            before = cut()
            results.append(np.log(x))
            pause()
            counts.append(cut() - before)
    assert counts == [0, 1, 0, 0, 1, 1]
    assert all(result.tobytes() == plain.tobytes() for result in results)
    assert [trial for *_, trial in lessons.told] == [False, False, True, False, False, False, False]


def test_a_control_of_a_choice_runs_as_numpy_would():
    x = np.linspace(1.0, 2.0, N)
    with learning() as (_, lessons):
        lessons.orders = [choose_two_workers, want_control]
        counts = []
        for _ in range(4):
            before = cut()
            np.log(x)
            pause()
            counts.append(cut() - before)
    assert counts == [0, 1, 0, 1]
    assert [control for *_, control, _ in lessons.told] == [False, False, True, False]


def test_sizes_between_two_powers_of_two_share_a_lesson_and_others_do_not():
    x = np.linspace(1.0, 2.0, 300_000)
    with learning() as (_, lessons):
        for n in (150_000, 200_000, 300_000):
            np.log(x[:n])
            pause()
    assert [n for _, _, n in lessons.calls] == [150_000, 300_000]


def test_two_ufuncs_have_lessons_of_their_own():
    x = np.linspace(1.0, 2.0, N)
    with learning() as (_, lessons):
        lessons.orders = [choose_two_workers]
        np.log(x)
        pause()
        before = cut()
        np.exp(x)
        pause()
        assert cut() == before


def test_a_loop_that_a_plan_covers_is_not_told():
    x = np.linspace(1.0, 2.0, N)
    with learning() as (array_loops, lessons):
        array_loops.plan("functions", "float64", Layout.CONTIGUOUS, [Range(100_000, 50_000, 2)])
        np.log(x)
        pause()
        np.log(x[:50_000])
        pause()
    assert [lesson[1] for lesson in lessons.told] == [50_000]


def test_loops_shorter_than_20_microseconds_are_not_told():
    x = np.ones(17_000, np.int8)
    with learning() as (_, lessons):
        CORE.learn_from(0, 1000)
        for _ in range(1000):
            np.add(x, x)
        pause()
        assert len(lessons.told) < 20  # a busy machine makes a few of them long
        lessons.told.clear()
        for _ in range(1000):
            np.add(x, x)
        pause()
        assert lessons.told == []


def test_a_lesson_that_is_given_up_is_told_no_more():
    x = np.linspace(1.0, 2.0, N)

    def give_up(calls):
        calls.learns = False

    with learning() as (_, lessons):
        lessons.orders = [give_up]
        for _ in range(4):
            np.log(x)
            pause()
    assert len(lessons.told) == 1


def test_calls_that_run_at_once_in_several_threads_are_disturbed_and_right():
    x = np.linspace(1.0, 2.0, 4 * N)
    plain = np.log(x).tobytes()
    wrong = []
    with learning() as (_, lessons):

        def work():
            wrong.extend(np.log(x).tobytes() != plain for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pause()
    assert not any(wrong)
    assert not all(lesson[2] for lesson in lessons.told)


def test_learning_that_comes_and_goes_while_loops_are_in_flight_tells_nothing_of_former_ones():
    x = np.linspace(1.0, 2.0, N)
    plain, over, wrong = np.log(x).tobytes(), threading.Event(), []

    def work():
        while not over.is_set():
            wrong.extend([1] * (np.log(x).tobytes() != plain))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    former = []
    for turn in range(12):
        with learning() as (_, lessons):
            lessons.orders = [try_two_workers] * (turn % 3)
            np.log(x)
            pause()
            former.append(lessons)
        counts = [len(log.told) for log in former]
        pause()
        assert [len(log.told) for log in former] == counts
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_exception_of_a_signal_handler_while_news_are_told_reaches_the_program():
    x = np.linspace(1.0, 2.0, N)

    def interrupt(_calls):
        raise KeyboardInterrupt

    def work(x):
        for _ in range(3):
            np.log(x)
            pause()

    with learning() as (_, lessons):
        lessons.orders = [interrupt]
        with pytest.raises(KeyboardInterrupt):
            work(x)
        assert np.log(x[:10]).size == 10


def test_news_that_an_exception_of_another_lesson_left_untold_are_told_with_the_next_call():
    x = np.linspace(1.0, 2.0, N)
    single = x.astype(np.float32)

    def interrupt(_calls):
        raise KeyboardInterrupt

    def log_both():  # no bytecode between the two calls: both lessons have news at once
        list(map(np.log, (x, single)))
        pause()

    with learning() as (_, lessons):
        lessons.orders = [interrupt]
        with pytest.raises(KeyboardInterrupt):
            log_both()
        assert len(lessons.told) == 1
        log_both()
    assert {dtype for _, dtype, _ in lessons.calls} == {"float32", "float64"}


def test_calls_decided_for_learning_that_has_ended_meanwhile_are_not_kept():
    x = np.linspace(1.0, 2.0, N)
    with learning() as (array_loops, former):
        latter = Lessons()

        def decide_late(operation, dtype, elements):
            array_loops.learn(latter.decide)  # as apply() of another thread would
            return former.decide(operation, dtype, elements)

        array_loops.learn(decide_late)
        np.log(x)
        pause()
        np.log(x)
        pause()
        assert len(latter.calls) == 1
        assert [calls.count for calls in former.calls.values()] == [0]


def test_exhaustion_of_the_stack_while_news_are_told_loses_a_lesson_and_no_result():
    x = np.linspace(1.0, 2.0, N)

    def exhausted(_calls):
        raise RecursionError

    with learning() as (_, lessons):
        lessons.orders = [exhausted]
        for _ in range(3):
            assert np.log(x).size == N
            pause()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.real
@pytest.mark.unsanitized
def test_a_forked_child_goes_on_learning_from_a_copy():
    code = """
        import os, sys, threading
        import numpy as np
        from autotune.native import core
        from autotune.intercept.array_loops import ArrayLoops
        core().configure(2)
        loops, told, x = ArrayLoops(core()), [], np.linspace(1.0, 2.0, 200_000)
        loops.install()

        def decide(operation, dtype, elements):
            calls = core().Calls(operation, dtype, {"n": elements})
            calls.learns = True
            return calls

        def look(calls, seconds, control, trial):
            told.append(trial)
            calls.trial = 0 if trial else 2

        loops.learn(decide)
        core().watch_calls(look, 1.0, 0.0)
        for _ in range(3):
            np.log(x)
        pid = os.fork()
        told.clear()
        for _ in range(4):
            np.log(x)
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        assert 0 in told and (1 in told), told
        print(len(told))
        sys.stdout.flush()
        if not pid:
            os._exit(0)
        """
    assert printed(code).split() == ["4", "4"]
