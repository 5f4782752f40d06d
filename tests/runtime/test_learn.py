"""apply(learn=True): calls without an entry are learned about, within the rules of the process."""

import gc
import json
import os

import numpy as np
import pytest
from support.native import CORE, needs_core
from support.profile_builders import make_entry, of_this_machine
from support.programs import printed

import autotune
from autotune import usable_cpus
from autotune.controls import blas
from autotune.model.configuration import Configuration
from autotune.profiles import folders, learned_choices, profile_files
from autotune.runtime.applied import write_files_at_exit
from autotune.runtime.guard import Guard
from autotune.runtime.learner import Learner, LearningCalls
from autotune.runtime.process_state import state

pytestmark = [needs_core, pytest.mark.usefixtures("fresh")]
several_threads = pytest.mark.skipif((blas.current() or 1) < 2, reason="BLAS has one thread here")


class Simulation:
    """Calls of one operation, told to a learner and its guard as the C core tells them."""

    def __init__(self, seconds, *, rest=8, calls=None):
        self.seconds = seconds
        self.rest = rest
        self.chosen = []
        self.guard = Guard(default=rest)
        self.learner = Learner(self.guard, rest=rest, most=8, workers=8, on_choice=self.chosen.append)
        self.calls = calls or CORE.Calls("qr", "float64", {"m": 100, "n": 100})
        self.calls.learns = True
        self.ran_with = []

    def run(self, times):
        calls = self.calls
        for _ in range(times):
            trial, calls.trial = calls.trial, 0
            control, calls.control = calls.control, False
            count = self.rest if control else trial or calls.threads or self.rest
            self.ran_with.append(count)
            seconds = self.seconds(count)
            calls.nanoseconds += round(seconds * 1e9)
            if calls.pause and not (trial or control):
                calls.pause -= 1
            elif calls.threads is None and calls.learns:
                self.learner.look(calls, seconds, trial)
            elif calls.threads is not None:
                self.guard.look(calls, seconds, control)
        return self


def faster_alone(count):
    return 0.001 * count


@pytest.mark.skipif(usable_cpus() < 2, reason="one CPU")
def test_loops_that_other_threads_run_while_learning_begins_are_learned_about(monkeypatch):
    begin, x = blas.begin_switching, np.linspace(1.0, 2.0, 1_000_000)

    def log():
        for _ in range(3):
            np.log(x)

    def begin_meanwhile(cpus):
        log()
        return begin(cpus)

    monkeypatch.setattr(blas, "begin_switching", begin_meanwhile)
    with autotune.apply(learn=True):
        log()
        assert [lesson.operation for lesson in state.per_call.learner.lessons()] == ["loop_exp"]


def test_a_proved_choice_is_used_at_once_and_the_guard_watches_it():
    run = Simulation(faster_alone).run(600)
    (learned,) = run.chosen
    assert (learned.choice, run.calls.threads) == ({"blas_threads": 1}, 1)
    assert learned.won == learned.pairs > 0
    assert run.guard.savings(100.0).untold == 1
    run.run(3000)
    assert run.guard.savings(100.0).seconds > 0.0


def test_a_learned_choice_that_begins_to_lose_is_dropped():
    run = Simulation(faster_alone).run(600)
    run.seconds = lambda count: 0.01 if count == 1 else 0.002
    run.run(3000)
    assert run.guard.dropped[0].threads == 1
    assert run.ran_with[-1] == 8


def test_learned_calls_shorter_than_a_millisecond_are_watched_as_well():
    run = Simulation(lambda count: 0.00005 * count).run(20_000)
    assert run.calls.threads == 1
    assert run.guard.savings(100.0).seconds > 0.0


def test_where_nothing_is_faster_the_calls_are_left_alone():
    run = Simulation(lambda count: 0.008 / count).run(20_000)
    assert (run.chosen, run.calls.threads) == ([], None)
    assert run.calls.pause > 10_000
    assert run.ran_with.count(8) > 19_900
    (lesson,) = run.learner.lessons()
    assert "the default is kept" in str(lesson)


def test_a_lesson_that_began_on_a_busy_machine_begins_anew_when_ten_times_its_time_has_passed():
    run = Simulation(lambda count: 0.008 / count).run(1000)
    assert run.calls.threads is None
    run.seconds = faster_alone
    run.run(20_000)
    assert run.calls.threads == 1


def test_what_is_learned_says_its_evidence():
    run = Simulation(faster_alone).run(600)
    (lesson,) = run.learner.lessons()
    assert f"blas_threads=1 was faster in {lesson.won} of {lesson.pairs} pairs" in str(lesson)
    assert lesson.speedup == pytest.approx(8.0)


def test_a_choice_proved_of_one_function_of_an_operation_is_tried_in_the_other_that_gave_up():
    run = Simulation(lambda count: 0.008 / count).run(20_000)
    assert run.calls.pause
    other = Simulation(faster_alone)
    other.guard, other.learner = run.guard, run.learner
    other.run(600)
    run.seconds = faster_alone
    run.run(200)
    assert (other.calls.threads, run.calls.threads) == (1, 1)


def test_the_two_functions_of_one_operation_are_one_lesson_to_a_reader():
    run = Simulation(faster_alone).run(600)
    run.calls = CORE.Calls("qr", "float64", {"m": 100, "n": 100})
    run.calls.learns = True
    (lesson,) = run.run(1).learner.lessons()
    assert lesson.choice == {"blas_threads": 1}


def test_a_forked_child_goes_on_from_what_is_known_without_the_pair_under_way():
    run = Simulation(faster_alone).run(101)
    while not run.calls.trial:
        run.run(1)
    run.learner.forget_calls_in_flight()
    assert run.calls.trial == 0
    assert run.run(600).calls.threads == 1


# --- in force ------------------------------------------------------------------------------------


def learning():
    return {calls.operation for calls in state.per_call.met_calls() if calls.learns}


@several_threads
def test_calls_learn_that_no_entry_covers():
    covered = make_entry("solve", n=6)
    open_question = make_entry("inv", status="undecided", n=6)
    profile_files.write(of_this_machine(covered, open_question), folders.user_profiles() / "mine.yaml")
    with autotune.apply(learn=True):
        matrix = np.eye(6)
        np.linalg.qr(matrix)
        np.linalg.solve(matrix, np.ones(6))
        np.linalg.inv(matrix)
        assert learning() == {"qr", "inv"}


@several_threads
def test_calls_that_raise_tell_nothing_of_their_time():
    trials = []
    with autotune.apply(learn=True):
        np.linalg.cholesky(np.eye(60))
        (calls,) = [counter for counter in state.per_call.met_calls() if counter.operation == "cholesky"]
        CORE.watch_calls(lambda _calls, seconds, _control, trial: trials.append((seconds > 0, trial)), 1.0, 0.0)
        calls.trial, calls.pause = 1, 0
        with pytest.raises(np.linalg.LinAlgError):
            np.linalg.cholesky(-np.eye(60))
        np.linalg.cholesky(np.eye(60))
    assert trials == [(False, 1), (True, 0)]


def loop_calls():
    calls = CORE.Calls("loop_exp", "float64", {"n": 1_000_000})
    calls.learns = True
    return calls


def test_a_loop_gets_workers_and_chunk_and_is_dropped_again_if_it_begins_to_lose():
    run = Simulation(lambda workers: 0.008 / workers, rest=1, calls=loop_calls()).run(1500)
    (learned,) = run.chosen
    assert (learned.choice["workers"], run.calls.threads) == (8, 8)
    assert learned.choice["chunk"] == 1_000_000 // (8 * run.calls.slices)
    run.seconds = lambda workers: 0.001 * workers
    run.run(6000)
    assert "the default was faster than 8 workers" in str(run.guard.dropped[0])
    assert run.calls.threads is None


@pytest.mark.skipif(usable_cpus() < 2, reason="one CPU runs no loop in slices")
def test_long_loops_learn_that_no_entry_decides():
    kept = make_entry("loop_exp", status="default-kept", n=400_000)
    profile_files.write(of_this_machine(kept), folders.user_profiles() / "mine.yaml")
    x = np.linspace(1.0, 2.0, 400_000)
    with autotune.apply(learn=True):
        for _ in range(2):
            np.log(x)
            np.add(x, x)
            len("")  # the interpreter runs what is pending
        assert learning() == {"loop_add"}
        assert "loops that no entry covers are learned about" in state.per_call.why
        assert "loop_add float64 n=400000" in " ".join(str(autotune.explain()).split())
    assert np.log(x).size == x.size


@pytest.mark.skipif(usable_cpus() < 2, reason="one CPU runs no loop in slices")
def test_what_was_learned_of_loops_is_left_for_calibrations():
    with autotune.apply(learn=True):
        simulation = Simulation(lambda workers: 0.008 / workers, rest=1, calls=loop_calls()).run(1500)
        state.per_call.learner = simulation.learner
        state.per_call.take_over(simulation.chosen[0])
        assert autotune.config("loop_exp", n=1_000_000).workers == 8 or usable_cpus() < 8
    write_files_at_exit()
    (profile,) = learned_choices.read()
    assert [(str(entry.operation), entry.choice.workers) for entry in profile.entries] == [
        ("loop_exp float64 n=1000000", 8)
    ]


def test_loops_of_reproducible_programs_are_not_learned_about():
    x = np.linspace(1.0, 2.0, 400_000)
    with autotune.apply(learn=True, reproducible=True):
        np.log(x)
        len("")
        assert learning() == set()


def test_a_disturbed_long_call_does_not_put_off_the_next_look():
    run = Simulation(lambda _count: 0.01)
    run.learner.look(run.calls, -0.01, 0)
    assert run.calls.pause == 0


@several_threads
def test_what_is_learned_is_what_config_and_explain_say():
    with autotune.apply(learn=True):
        assert autotune.config("qr", n=6) is None
        np.linalg.qr(np.eye(6))
        simulation = Simulation(faster_alone).run(600)
        state.per_call.take_over(simulation.chosen[0])
        assert autotune.config("qr", n=100) == Configuration(blas_threads=1)
        assert "learned it while it ran" in str(autotune.explain("qr", n=100))
        assert "Seconds spent on slower candidates" in " ".join(str(autotune.explain()).split())
        assert autotune.explain().as_dict()["per_call"]["spent_seconds"] == 0.0
    assert autotune.config("qr", n=100) is None


@several_threads
def test_what_the_guard_drops_is_no_longer_what_config_says():
    entry = make_entry(choice={"blas_threads": 1}, m=6, n=6)
    profile_files.write(of_this_machine(entry), folders.user_profiles() / "mine.yaml")
    with autotune.apply(guard=True):
        assert autotune.config("qr", n=6) == Configuration(blas_threads=1)
        np.linalg.qr(np.eye(6))
        (calls, *_) = [counter for counter in state.per_call.met_calls() if counter.threads == 1]
        for _ in range(5000):
            if calls.threads != 1:
                break
            control, calls.control = calls.control, False
            calls.pause = 0
            state.per_call.guard.look(calls, 0.001 if control else 0.002, control)
        assert calls.threads == state.setting.initial_threads
        assert autotune.config("qr", n=6) is None
        (row,) = autotune.explain("qr").operations
        assert row.choice.is_default
        assert "the live guard dropped the choice" in row.reason


def test_reproducible_programs_learn_nothing():
    with autotune.apply(learn=True, reproducible=True):
        assert state.per_call.learner is None
        assert "Nothing is learned" in state.per_call.why


def test_without_learn_no_call_is_timed_for_it():
    with autotune.apply():
        np.linalg.qr(np.eye(6))
        assert learning() == set()


@pytest.mark.real
@several_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_program_learns_and_its_forked_child_goes_on():
    code = """
        import os
        import numpy as np, autotune
        from autotune.runtime.process_state import state
        autotune.apply(learn=True)
        matrix = np.eye(100, dtype=np.float32)  # of no shipped profile
        for _ in range(20):
            np.linalg.inv(matrix)
        pid = os.fork()
        np.linalg.inv(matrix)
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        print(len(state.per_call.learner.lessons()))
        """
    assert set(printed(code).split()) == {"1"}


@pytest.mark.real
@several_threads
def test_run_learn_reaches_a_program_that_knows_nothing_of_it():
    code = """
        import subprocess, sys
        program = "import numpy, autotune; print(autotune.explain().learned is not None)"
        run = [sys.executable, "-m", "autotune", "run", "--learn", "--", sys.executable, "-c", program]
        print(subprocess.run(run, capture_output=True, text=True).stdout)
        """
    assert printed(code).split() == ["True"]


@several_threads
def test_what_was_learned_is_left_for_calibrations_and_the_daemon():
    with autotune.apply(learn=True):
        simulation = Simulation(faster_alone).run(600)
        state.per_call.learner = simulation.learner
    write_files_at_exit()
    (profile,) = learned_choices.read()
    assert [entry.choice for entry in profile.entries] == [Configuration(blas_threads=1)]
    (file,) = folders.spool()[0].iterdir()
    assert [operation["name"] for operation, _ in json.loads(file.read_text())["calls"]] == ["qr"]
    assert state.learned == []


@several_threads
def test_what_was_learned_about_is_let_go_when_learning_ends():
    def alive():
        gc.collect()
        return sum(isinstance(each, LearningCalls) for each in gc.get_objects())

    before, large = alive(), np.ones((200, 200))
    for _ in range(3):
        with autotune.apply(learn=True):
            for _ in range(3):
                large @ large
            assert alive() > before
    assert alive() == before
