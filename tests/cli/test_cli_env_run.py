"""`autotune env` and `autotune run`."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from autotune.cli.env import env
from autotune.cli.run import run
from autotune.runtime.process_threads import ProcessChoice

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


def test_env_prints_lines_for_a_shell_and_the_reason_beside_them():
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
    monkeypatch.setattr(
        "autotune.cli.env.choose", lambda _: ProcessChoice(None, "No count is safe for all sizes.")
    )
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
@pytest.mark.parametrize("command", ["no-such-command-anywhere", "./no/such/command", ""])
def test_a_command_that_is_not_found_is_127_with_a_sentence(command):
    done = autotune("--", command)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        127,
        f"autotune run: {command} cannot be run: there is no such command.",
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


@pytest.mark.real
def test_run_says_in_one_line_what_it_did_and_quiet_leaves_it_out():
    code = "print()"
    assert autotune(sys.executable, "-c", code).stderr == (
        "autotune run: BLAS threads of the process are 3. 3 BLAS threads, as asked.\n"
    )
    assert autotune("-q", sys.executable, "-c", code).stderr == ""
