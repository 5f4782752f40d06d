"""`autotune env` and `autotune run`."""

import errno
import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest
from click.testing import CliRunner
from support.native import needs_core
from support.profile_builders import alone, make_entry, of_this_machine
from support.shown_profiles import SVD

from autotune.cli import messages
from autotune.cli.env import env
from autotune.cli.program import program
from autotune.cli.run import run
from autotune.errors import BadDocument, ProfileError, error_text
from autotune.host.usable_cpus import usable_cpus
from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration, IdleThreads
from autotune.model.entry import Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.profiles import profile_files
from autotune.profiles.resolve import this_site
from autotune.runtime.process_settings import ProcessChoice

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@pytest.fixture(autouse=True)
def no_thread_variables(monkeypatch):
    for name in (
        *VARIABLES,
        "GOTO_NUM_THREADS",
        "OPENBLAS_DEFAULT_NUM_THREADS",
        "OMP_NUM_THREADS",
        "AUTOTUNE_EXPORTED",
    ):
        monkeypatch.delenv(name, raising=False)


def test_env_prints_lines_for_a_shell_and_the_reason_next_to_them():
    done = CliRunner().invoke(env, ["--blas-threads", "3"])
    assert done.stdout.splitlines() == [
        *(f"export {name}=3" for name in VARIABLES),
        f"export AUTOTUNE_EXPORTED={','.join(VARIABLES)}",
    ]
    assert done.stderr == "3 BLAS threads, as asked.\n"


def test_env_as_json_holds_count_reason_and_variables(monkeypatch):
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    done = json.loads(CliRunner().invoke(env, ["--blas-threads", "3", "--json"]).stdout)
    assert (done["blas_threads"], done["reason"]) == (3, "3 BLAS threads, as asked.")
    assert done["variables"]["OPENBLAS_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in done["variables"]


def test_env_prints_nothing_for_the_shell_where_the_count_is_best_left_alone(monkeypatch):
    monkeypatch.setattr("autotune.cli.env.choose", lambda *_: ProcessChoice(None, "No count is safe for all sizes."))
    done = CliRunner().invoke(env, [])
    assert (done.stdout, done.stderr) == ("", "No count is safe for all sizes.\n")


@pytest.mark.parametrize("count", ["0", "-1", "abc", "1.5"])
@pytest.mark.parametrize("verb", [env, run])
def test_a_count_that_is_none_is_wrong_usage(verb, count):
    assert CliRunner().invoke(verb, ["--blas-threads", count, "--", "true"]).exit_code == 2


def test_run_without_a_command_is_wrong_usage():
    assert CliRunner().invoke(run, ["--blas-threads", "1"]).exit_code == 2


def autotune(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "autotune", "run", "--blas-threads", "3", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.real
def test_run_gives_the_command_its_variables_and_arguments_as_they_are():
    code = "import json, os, sys; print(json.dumps([os.environ['OPENBLAS_NUM_THREADS'], sys.argv[1:]]))"
    done = autotune("--", sys.executable, "-c", code, "--json", "--", "a b")
    assert json.loads(done.stdout) == ["3", ["--json", "--", "a b"]]


@pytest.mark.real
def test_run_passes_the_commands_exit_status_on():
    assert autotune(sys.executable, "-c", "raise SystemExit(41)").returncode == 41


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such signals")
@pytest.mark.parametrize("name", ["PIPE", "XFSZ"])
def test_the_command_ignores_no_signal_that_python_does(name):
    assert autotune("--", "sh", "-c", f"kill -{name} $$").returncode == -signal.Signals[f"SIG{name}"]


@pytest.mark.real
@pytest.mark.parametrize("command", ["no-such-command-anywhere", "./no/such/command", ""])
def test_a_command_that_is_not_found_is_127_with_a_sentence(command):
    done = autotune("--", command)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        127,
        f"autotune: {command} cannot be run: there is no such command.",
    )


@pytest.mark.real
def test_a_command_that_cannot_be_executed_is_126_with_a_sentence(tmp_path):
    done = autotune("--", str(tmp_path))
    assert (done.returncode, str(tmp_path) in done.stderr) == (126, True)


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="the system has no interpreter lines")
def test_a_script_whose_interpreter_is_missing_is_126_not_127(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert autotune("--", str(script)).returncode == 126


def test_run_says_in_one_line_what_it_did_and_quiet_leaves_it_out():
    code = "print()"
    assert autotune(sys.executable, "-c", code).stderr == (
        "autotune run: BLAS threads of the process are set to 3. 3 BLAS threads, as asked.\n"
    )
    assert autotune("-q", sys.executable, "-c", code).stderr == ""


SECOND = """
import sys
from autotune.runtime.process_settings import process_choice
from autotune.cli.command_name import tuned_command
if sys.argv[1] == "full":
    import numpy
    from autotune.profiles.resolve import resolve
    resolve()
choice = process_choice()
print(choice.blas_threads, choice.reason, dict(choice.variables), tuned_command(("x",), name="x"))
print("numpy" in sys.modules, file=sys.stderr)
"""


@pytest.mark.real
@pytest.mark.parametrize(("variables", "loads"), [({}, "False"), ({"OMP_NUM_THREADS": "1"}, "True")])
def test_numpy_is_loaded_only_where_its_library_can_change_the_sentence(tmp_path, monkeypatch, variables, loads):
    alone(monkeypatch, tmp_path)
    if usable_cpus()[1] in {Limit.QUOTA, Limit.CAP, Limit.SHARED}:
        loads = "True"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    full, again = (
        subprocess.run([sys.executable, "-c", SECOND, way], capture_output=True, text=True, timeout=60, check=True)
        for way in ("full", "again")
    )
    assert full.stdout == again.stdout
    assert (full.stderr.strip(), again.stderr.strip()) == ("True", loads)


COMMON = """
import os, sys
def replace(*_):
    print(*sorted({"numpy", "dataclasses", "json", "pathlib", "shutil", "subprocess"} & sys.modules.keys()))
    print(*[name for name in sys.modules if name.startswith("autotune.model.") and "entry" in name])
    raise SystemExit
os.execvpe = replace
sys.argv = ["autotune", "run", "-q", "--", "true"]
from autotune.cli.program import main
main()
"""


@pytest.mark.real
def test_the_second_start_of_a_command_that_was_not_tuned_loads_little(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    if usable_cpus()[1] in {Limit.QUOTA, Limit.CAP, Limit.SHARED}:
        pytest.skip("needs CPUs that the BLAS library sees as they are")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", COMMON], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_idle_threads_can_be_asked_to_do_all_that_they_can():
    (option,) = (option for option in run.params if option.name == "wait")
    assert tuple(option.type.choices) == get_args(IdleThreads)


@pytest.fixture
def tuned_here(tmp_path, monkeypatch):
    """This machine with a profile that holds tuned commands; returns how to run one, and what takes its place."""
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "named.yaml"))
    replaced = {}

    def replace_process(words, environ):
        replaced.update(words=words, environ=environ)
        return 0

    monkeypatch.setattr("autotune.cli.run.replace_process", replace_process)

    def invoke(*words, choice, name="command.simulate", status=Status.TUNED):
        replaced.clear()
        entry = replace(SVD, operation=Operation(name=name), status=status, choice=choice)
        profile = Profile(key=this_site(*usable_cpus()).key, entries=(entry,))
        profile_files.write(profile, tmp_path / "named.yaml")
        return CliRunner().invoke(program, ["run", *words]), replaced

    return invoke


ONE_THREAD = Configuration(blas_threads=1)


def test_run_says_what_holds_its_choices_down(monkeypatch):
    monkeypatch.setattr("autotune.cli.run.replace_process", lambda *_: 0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "1 thread" in CliRunner().invoke(program, ["run", "--", "true"]).stderr
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("AUTOTUNE_DISABLE", "1")
    off = CliRunner().invoke(program, ["run", "--", "true"]).stderr
    assert off == f"autotune run: {messages.SWITCHED_OFF_FOR_COMMAND}\n"


@pytest.mark.parametrize("verb", [("run", "--", "true"), ("env",), ("run", "--environment-only", "--", "true")])
def test_a_named_profile_that_is_not_there_is_told_before_the_command_runs(tmp_path, monkeypatch, verb):
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("autotune.cli.run.replace_process", lambda *_: 0)
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "missing.yaml"))
    for _ in range(2):  # read, and by the compiled copy
        first, *_ = CliRunner().invoke(program, [*verb]).stderr.splitlines()
        assert first.startswith(f"autotune: The profile {tmp_path / 'missing.yaml'} is not used: it cannot be read")
    assert CliRunner().invoke(program, [verb[0], "-q", *verb[1:]]).stderr == ""


@pytest.mark.parametrize("variables", [{}, {"AUTOTUNE_DISABLE": "1"}])
def test_where_no_profile_is_named_or_all_is_switched_off_none_is_told(tmp_path, monkeypatch, variables):
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("autotune.cli.run.replace_process", lambda *_: 0)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "missing.yaml"))
    assert "is not used" not in CliRunner().invoke(program, ["run", "--", "true"]).stderr


@pytest.mark.parametrize("problem", [KeyError("n"), BadDocument("it has no sizes"), ProfileError("it has no sizes")])
def test_a_command_runs_as_without_autotune_where_its_preparation_fails(tuned_here, monkeypatch, problem):
    def fails(_blas_threads):
        raise problem

    monkeypatch.setattr("autotune.cli.run.resolve_and_note", fails)
    done, replaced = tuned_here("--", "python", "simulate.py", choice=ONE_THREAD)
    assert replaced["words"] == ("python", "simulate.py")
    assert "AUTOTUNE_START" not in replaced["environ"]
    assert done.stderr == f"autotune run: {messages.command_runs_plain(error_text(problem))}\n"


def test_a_command_runs_as_tuned_though_the_line_about_it_cannot_be_written(tuned_here, monkeypatch):
    def write_error(_sentence):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("autotune.cli.terminal.write_error", write_error)
    _, replaced = tuned_here("--", "python", "simulate.py", choice=ONE_THREAD)
    assert (replaced["words"], replaced["environ"]["OMP_NUM_THREADS"]) == (("python", "simulate.py"), "1")


def test_a_name_that_no_profile_can_hold_is_wrong_usage_and_nothing_runs(tuned_here):
    done, replaced = tuned_here("--name", "Not A Name", "--", "./simulate", choice=ONE_THREAD)
    assert (done.exit_code, replaced) == (2, {})


KEPT = make_entry("svd", m=500, n=500)
LOOPS = [make_entry(name, choice={"workers": 2}, n=n) for name in ("loop_add", "loop_sqrt") for n in (50_000, 500_000)]


@needs_core
@pytest.mark.parametrize(
    ("entries", "variables", "options", "effect"),
    [
        ((SVD, *LOOPS), {}, (), "Calls and loops of its Pythons run as profiles say."),
        ((SVD,), {}, (), "Calls of its Pythons run as profiles say, loops of ufuncs as plain NumPy: no profile"),
        (LOOPS, {}, (), "Long loops of its Pythons run as profiles say, calls of linear algebra as plain NumPy: no"),
        ((SVD, *LOOPS), {"OMP_NUM_THREADS": "1"}, (), "plain NumPy: OMP_NUM_THREADS=1 leaves them one thread."),
        ((), {}, (), "Calls and loops of its Pythons run as plain NumPy: no profile here has a choice for them."),
        ((KEPT,), {}, (), "Calls and loops of its Pythons run as plain NumPy: no profile here has a choice for them."),
        ((KEPT, *LOOPS), {}, (), "calls of linear algebra as plain NumPy: no profile here has a choice for them."),
        ((), {}, ("--learn",), "No profile here has a choice for calls or loops of its Pythons. They are learned."),
        ((SVD, *LOOPS), {}, ("--learn",), "run as profiles say. Others are learned."),
        ((SVD, *LOOPS), {"AUTOTUNE_NATIVE": "0"}, (), "as plain NumPy: AUTOTUNE_NATIVE=0 turns the C core off."),
    ],
)
def test_run_says_what_its_pythons_do_for_calls_and_loops(
    tuned_here, monkeypatch, tmp_path, entries, variables, options, effect
):
    monkeypatch.setattr("autotune.profiles.resolve.usable_cpus", lambda *_: (2, Limit.NONE))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    profile_files.write(of_this_machine(*entries), tmp_path / "named.yaml")
    assert effect in CliRunner().invoke(program, ["run", *options, "--", "true"]).stderr


def test_a_tuned_command_runs_with_what_was_measured_and_says_so(tuned_here):
    done, replaced = tuned_here("--", "python", "simulate.py", choice=ONE_THREAD)
    assert replaced["words"] == ("python", "simulate.py")
    assert replaced["environ"]["OPENBLAS_NUM_THREADS"] == replaced["environ"]["OMP_NUM_THREADS"] == "1"
    assert "AUTOTUNE_START" not in replaced["environ"]
    (line,) = done.stderr.splitlines()
    assert "command.simulate" in line
    assert "blas_threads=1" in line


def test_a_tuned_command_leaves_the_waiting_alone_that_the_user_has_set(tuned_here, monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    sleeping = Configuration(blas_threads=1, wait="sleep")
    _, replaced = tuned_here("--", "python", "simulate.py", choice=sleeping)
    assert "AUTOTUNE_START" not in replaced["environ"]
    assert replaced["environ"]["GOMP_SPINCOUNT"] == "7"
    assert replaced["environ"]["OMP_WAIT_POLICY"] == "passive"


def test_idle_threads_sleep_or_spin_as_asked_but_where_the_user_has_set_it(tuned_here, monkeypatch):
    monkeypatch.setenv("KMP_BLOCKTIME", "3")
    _, replaced = tuned_here("--wait", "spin", "--environment-only", "--", "./simulate", choice=ONE_THREAD)
    environ = replaced["environ"]
    assert (environ["OMP_WAIT_POLICY"], environ["GOMP_SPINCOUNT"]) == ("active", "infinite")
    assert environ["KMP_BLOCKTIME"] == "3"


def test_quiet_leaves_out_the_line_about_a_tuned_command(tuned_here, monkeypatch):
    done, replaced = tuned_here("--", "python", "simulate.py", choice=ONE_THREAD)
    assert done.stderr
    quiet = CliRunner().invoke(program, ["run", "-q", "--", "python", "simulate.py"])
    assert (quiet.stderr, replaced["environ"]["OMP_NUM_THREADS"]) == ("", "1")


def test_places_of_a_tuned_command_are_filled(tuned_here):
    chosen = Configuration(blas_threads=1, workers=1, chunk=500)
    _, replaced = tuned_here("--", "./simulate", "-j{workers}", "--block={chunk}", choice=chosen)
    assert replaced["words"] == ("./simulate", "-j1", "--block=500")


@pytest.mark.parametrize(
    ("words", "choice", "status", "environ", "says"),
    [
        (("--", "./simulate"), Configuration(blas_threads=1, workers=1), Status.TUNED, {}, "{workers}"),
        (("--", "./simulate"), Configuration(), Status.DEFAULT_KEPT, {}, "nothing was proved faster"),
        (("--", "./simulate"), ONE_THREAD, Status.TUNED, {"NUMBA_NUM_THREADS": "2"}, "NUMBA_NUM_THREADS"),
        (("--", "./simulate"), Configuration(blas_threads=4096), Status.TUNED, {}, "more CPUs"),
        (("--name", "other", "--", "./simulate"), ONE_THREAD, Status.TUNED, {}, "command.other"),
    ],
)
def test_a_tuned_command_that_cannot_be_used_runs_as_others_and_says_why(
    tuned_here, monkeypatch, words, choice, status, environ, says
):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    done, replaced = tuned_here(*words, choice=choice, status=status)
    assert replaced["environ"]["AUTOTUNE_START"] == "apply"
    assert says in done.stderr


def test_what_options_ask_for_goes_before_a_tuned_command(tuned_here):
    _, replaced = tuned_here("--reductions", "--", "./simulate", choice=ONE_THREAD)
    assert replaced["environ"]["AUTOTUNE_START"] == "apply+reductions"
    _, replaced = tuned_here("--learn", "--", "./simulate", choice=ONE_THREAD)
    assert replaced["environ"]["AUTOTUNE_START"] == "apply+learn"
    done, _ = tuned_here("--name", "simulate", "--children", "--", "./simulate", choice=ONE_THREAD)
    assert done.exit_code == 2


def test_a_name_finds_the_command_that_was_tuned_under_it(tuned_here):
    _, replaced = tuned_here("--name", "mine", "--", "./x", choice=ONE_THREAD, name="command.mine")
    assert replaced["environ"]["OMP_NUM_THREADS"] == "1"


def test_switched_off_a_tuned_command_runs_as_it_stands(tuned_here, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_DISABLE", "1")
    _, replaced = tuned_here("--", "./simulate", choice=ONE_THREAD)
    assert "OMP_NUM_THREADS" not in replaced["environ"]


@pytest.mark.parametrize(
    "options",
    [
        ("-I",),
        ("-E",),
        ("-S",),
        ("-B", "-uIc"),
        ("-W", "error", "-I"),
        ("-X", "dev", "-bE"),
        ("-Wd", "-uX", "utf8", "-S"),
    ],
)
def test_run_says_that_options_of_python_keep_it_out_and_leaves_nothing_for_its_children(tuned_here, options):
    words = ("--", "/usr/bin/python3.12", *options, "other.py")
    done, replaced = tuned_here(*words, choice=ONE_THREAD)
    assert "plain NumPy" in done.stderr
    assert "as profiles say" not in done.stderr
    assert "AUTOTUNE_START" not in replaced["environ"]
    _, replaced = tuned_here("--children", *words, choice=ONE_THREAD)
    assert replaced["environ"]["AUTOTUNE_START"] == "apply"


@pytest.mark.parametrize(
    "words",
    [
        ("python", "x.py", "-I"),
        ("grep", "-I", "x"),
        ("python", "-m", "x", "-E"),
        ("python", "-W", "-I", "x.py"),
        ("python", "-cx", "-I"),
        ("python", "-", "-I"),
    ],
)
def test_options_of_others_keep_nothing_out(tuned_here, words):
    _, replaced = tuned_here("--", *words, choice=ONE_THREAD)
    assert replaced["environ"]["AUTOTUNE_START"] == "apply"
