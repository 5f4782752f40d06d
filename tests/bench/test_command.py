"""A whole command: what a configuration makes of its words, and what its runs come to."""

import math
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import gone, wait_until

from autotune.bench.command_bench import Command, CommandBench, Metric
from autotune.errors import BadWorkload
from autotune.host.numeric_libraries import libraries
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Case, FailureKind, TrialPlan
from autotune.model.operation import Operation

ONE, TWO = Configuration(blas_threads=1), Configuration(blas_threads=2)


# --- its words ----------------------------------------------------------------------------------


def test_the_default_is_the_command_as_it_stands():
    command = Command(words=("solve", "a b", "{x}"))
    assert (command.line(DEFAULT), command.variables(DEFAULT)) == ("solve 'a b' '{x}'", {})


def test_threads_are_set_for_every_library_at_once():
    variables = Command(words=("solve",)).variables(TWO)
    assert set(variables.values()) == {"2"}
    assert {"OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"} <= set(variables)


def test_apart_the_other_libraries_get_what_openmp_threads_says():
    variables = Command(words=("solve",), separate=True).variables(Configuration(blas_threads=1, openmp_threads=4))
    assert (variables["OPENBLAS_NUM_THREADS"], variables["NUMEXPR_NUM_THREADS"]) == ("1", "4")


def test_places_hold_the_usual_value_by_default_and_the_chosen_one_otherwise():
    command = Command(words=("solve", "-j{workers}", "--chunk={chunk}"), workers=3, chunk=10)
    assert command.arguments(DEFAULT) == ["solve", "-j3", "--chunk=10"]
    chosen = Configuration(blas_threads=1, workers=2, chunk=5)
    assert command.arguments(chosen) == ["solve", "-j2", "--chunk=5"]


@given(st.lists(st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8")), min_size=1))
def test_the_printed_line_is_read_by_a_shell_as_the_same_words(words):
    command = Command(words=tuple(words))
    variables = len(command.variables(ONE))
    assert shlex.split(command.line(ONE))[variables:] == words


# --- its metric ---------------------------------------------------------------------------------


def metric(pattern, *, maximize=False):
    return Metric(pattern=re.compile(pattern, re.MULTILINE), maximize=maximize)


@pytest.mark.parametrize(
    ("pattern", "maximize", "printed", "expected"),
    [
        (r"rate: (\S+)", False, "rate: 3\nrate: 4.5\n", 4.5),
        (r"rate: (\S+)", True, "rate: 4", 0.25),
        (r"^\d+$", False, "x\n17\ny", 17.0),
        (r"t=(\S+)", False, "t=1e-3", 0.001),
    ],
)
def test_the_last_match_counts_and_what_is_to_grow_is_inverted(pattern, maximize, printed, expected):
    assert metric(pattern, maximize=maximize).read(printed) == expected


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        ("", "matches"),
        ("rate: fast", "'fast', which the metric matches, is not a number"),
        ("rate: 0", "above zero"),
        ("rate: -1", "above zero"),
        ("rate: nan", "above zero"),
        ("rate: inf", "above zero"),
    ],
)
def test_what_is_no_gain_can_be_taken_of_has_a_sentence(printed, says):
    assert says in metric(r"rate: (\S+)").read(printed)


# --- its runs -----------------------------------------------------------------------------------

LOUD = "import os\nprint('threads', os.environ.get('OPENBLAS_NUM_THREADS', 4))"
BAD_AT_TWO = "import os, sys, time\ntwo = os.environ.get('OPENBLAS_NUM_THREADS') == '2'\n"


def bench(code, *, pattern=None, patience=60.0, **environ):
    return CommandBench(
        Command(words=(sys.executable, "-S", "-c", code)),
        metric=metric(pattern) if pattern else None,
        patience=patience,
        environ={name: value for name, value in os.environ.items() if "THREADS" not in name} | environ,
    )


def measured(command_bench, *configurations, rounds=1):
    case = Case(operation=Operation(name="command.x"), configurations=configurations)
    return command_bench.run(TrialPlan(cases=(case,), rounds=rounds, seconds=0.0))


@pytest.mark.real
def test_every_run_is_a_process_with_its_own_variables():
    session = measured(bench(LOUD, pattern=r"threads (\d)"), ONE, TWO)
    assert [set(trial.seconds) for trial in session.measurements] == [{4.0}, {1.0}, {2.0}]


@pytest.mark.real
def test_the_user_s_own_variables_are_the_default():
    session = measured(bench(LOUD, pattern=r"threads (\d)", OPENBLAS_NUM_THREADS="3"), ONE)
    assert [trial.seconds for trial in session.measurements] == [(3.0,), (1.0,)]


@pytest.mark.real
def test_without_a_metric_the_wall_time_counts():
    command_bench = bench("import time; time.sleep(0.05)")
    session = measured(command_bench, ONE)
    assert all(0.05 <= seconds < math.inf for row in session.measurements for seconds in row.seconds)
    assert session.wall_seconds >= sum(sum(row.seconds) for row in session.measurements)


@pytest.mark.real
@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("if two: sys.exit('no two')", FailureKind.ERROR, "exit status 1. Its last words: no two"),
        ("if two: os.kill(os.getpid(), 11)", FailureKind.CRASH, "SIGSEGV"),
        ("if two: os.kill(os.getpid(), 9)", FailureKind.KILLED, "SIGKILL"),
        ("if not two: print('rate: 1')", FailureKind.PROTOCOL, "matches"),
    ],
)
def test_each_way_to_fail_has_its_name_and_costs_the_others_nothing(code, kind, says):
    command_bench = bench(BAD_AT_TWO + code + "\nprint('rate: 1') if not two else 0", pattern=r"rate: (\d)")
    default, failed, other = measured(command_bench, TWO, ONE).measurements
    assert (failed.failure.kind, failed.seconds) == (kind, ())
    assert says in failed.failure.reason
    assert (default.seconds, other.seconds) == ((1.0,), (1.0,))


@pytest.mark.real
def test_a_hang_is_a_time_out_and_its_children_go_with_it(tmp_path):
    log = tmp_path / "pid"
    code = (
        BAD_AT_TWO + "if two:\n import subprocess\n"
        f" child = subprocess.Popen(['sleep', '300']); open({str(log)!r}, 'w').write(str(child.pid))\n"
        " time.sleep(300)"
    )
    command_bench = bench(code)
    command_bench.probe()
    default, hanging = measured(command_bench, TWO).measurements
    assert (hanging.failure.kind, len(default.seconds)) == (FailureKind.TIME_OUT, 1)
    assert gone([int(log.read_text())])


@pytest.mark.real
def test_a_child_that_is_left_behind_is_not_waited_for_and_goes_too(tmp_path):
    log = tmp_path / "pid"
    code = (
        f"import subprocess\nchild = subprocess.Popen(['sleep', '300'])\nopen({str(log)!r}, 'w').write(str(child.pid))"
    )
    assert bench(code).probe() < 250
    assert gone([int(log.read_text())])


@pytest.mark.real
def test_without_a_default_nothing_has_timings():
    default, other = measured(bench("import os; os.environ['OPENBLAS_NUM_THREADS']"), ONE).measurements
    assert (default.failure.kind, other.failure.kind) == (FailureKind.ERROR, FailureKind.NOT_REACHED)


@pytest.mark.real
def test_of_much_output_the_end_is_read():
    command_bench = bench("print('x' * 3_000_000)\nprint('rate: 7')", pattern=r"rate: (\d)")
    (default,) = measured(command_bench).measurements
    assert default.seconds == (7.0,)


@pytest.mark.real
def test_bytes_that_are_no_text_disturb_nothing():
    code = "import os\nos.write(1, bytes(range(256)) * 100 + b'\\nrate: 7\\n')"
    assert measured(bench(code, pattern=r"rate: (\d)")).measurements[0].seconds == (7.0,)


@pytest.mark.real
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("no-such-command-anywhere",), "There is no command 'no-such-command-anywhere'."),
        (("/",), "/ cannot be run: Permission denied."),
        (("a\0b",), "null byte"),
        ((sys.executable, "-c", "raise SystemExit(5)"), "exit status 5"),
    ],
)
def test_a_command_that_fails_as_it_stands_is_refused_with_the_reason(words, says):
    with pytest.raises(BadWorkload, match=re.escape(says)):
        CommandBench(Command(words=words), patience=60.0).probe()


@pytest.mark.real
def test_a_command_that_hangs_as_it_stands_is_refused_in_time():
    with pytest.raises(BadWorkload, match="did not end within"):
        CommandBench(Command(words=("sleep", "300")), patience=0.2).probe()


@pytest.mark.real
def test_the_end_is_noticed_where_the_system_cannot_wake_us(monkeypatch):
    def refused(pid):
        raise OSError(pid)

    monkeypatch.setattr(os, "pidfd_open", refused, raising=False)
    assert bench("pass").probe() > 0


@pytest.mark.real
def test_ctrl_c_passes_through_after_the_command_is_gone(tmp_path):
    log = tmp_path / "pid"
    code = (
        "from autotune.bench.command_bench import Command, CommandBench\n"
        f"CommandBench(Command(words=('sh', '-c', 'echo $$ > {log}; sleep 300')), patience=200).probe()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: log.exists() and log.read_text().strip())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert "KeyboardInterrupt" in said
    assert gone([int(log.read_text())])


@pytest.mark.real
def test_the_first_run_tells_which_runtimes_the_command_loads_and_each_run_its_cpu_seconds(monkeypatch):
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)
    code = "import numpy, time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    bench = CommandBench(Command(words=(sys.executable, "-c", code)), patience=60.0)
    bench.probe()
    (measured,) = bench.run(
        TrialPlan(cases=(Case(operation=Operation(name="x"), configurations=()),), rounds=1)
    ).measurements
    assert 0.3 <= measured.cpu_seconds < 10.0
    if any(library.api == "openblas" for library in libraries()):
        assert "openblas" in bench.runtimes
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "20")
    steered = CommandBench(Command(words=(sys.executable, "-c", "import numpy")), patience=60.0)
    steered.probe()
    assert "openblas" not in steered.runtimes
