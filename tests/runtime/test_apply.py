"""apply() puts what was measured into force, and never harms the program that calls it."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.native import needs_core
from support.profile_builders import make_entry, of_this_machine
from support.programs import printed

import autotune
from autotune.controls import blas
from autotune.errors import ProfileError
from autotune.profiles import folders, profile_files
from autotune.runtime.process_state import state

ONE = {"blas_threads": 1}
pytestmark = pytest.mark.usefixtures("fresh")
several_threads = pytest.mark.skipif((blas.current() or 1) < 2, reason="BLAS runs with one thread here anyway")


def write(*entries, path=None):
    path = path or folders.user_profiles() / "mine.yaml"
    profile_files.write(of_this_machine(*entries), path)
    return path


def entry(**more):
    return make_entry(choice=ONE, safe=(1,), m=100, n=100, **more)


class Alarm:
    """A program's handlers of signals, in each form that Python takes."""

    def __call__(self, number, frame):
        raise TimeoutError("the program's alarm")

    def method(self, number, frame):
        self(number, frame)


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs signals")
@pytest.mark.parametrize("handler", [Alarm(), Alarm().method, partial(Alarm().method)])
@pytest.mark.parametrize("call", [autotune.apply, lambda: autotune.config("svd", n=5)])
def test_an_exception_of_the_programs_signal_handler_reaches_the_program(monkeypatch, handler, call):
    for module in ("applied", "process_state"):
        monkeypatch.setattr(f"autotune.runtime.{module}.resolve", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(TimeoutError, match="alarm"):
            call()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs signals")
def test_an_exception_of_a_signal_handler_while_a_line_is_logged_reaches_the_program(monkeypatch, caplog):
    logger = logging.getLogger("autotune")
    monkeypatch.setattr(logger, "filters", [lambda _: signal.raise_signal(signal.SIGINT)])
    before = signal.signal(signal.SIGINT, Alarm())
    try:
        with caplog.at_level(logging.INFO, logger="autotune"), pytest.raises(TimeoutError, match="alarm"):
            autotune.apply()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_timeout_of_a_file_system_changes_nothing(monkeypatch):
    def resolve(*_, **__):
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr("autotune.runtime.applied.resolve", resolve)
    assert "timed out" in autotune.apply().why


def test_without_a_profile_nothing_changes():
    before = blas.current()
    applied = autotune.apply()
    assert (applied.blas_threads, blas.current()) == (None, before)
    assert applied.why == "No BLAS thread count was measured for this machine."


@several_threads
def test_the_count_that_harms_nothing_is_set_and_restored():
    before = blas.current()
    write(entry(), make_entry(safe=(1,), m=2000, n=2000))
    with autotune.apply() as applied:
        assert (applied.blas_threads, blas.current()) == (1, 1)
    assert blas.current() == before


@several_threads
def test_a_count_that_one_size_loses_with_is_not_set():
    before = blas.current()
    write(entry(), make_entry(m=2000, n=2000))
    applied = autotune.apply()
    assert (applied.blas_threads, blas.current()) == (None, before)
    assert "n=2000 rules out the last" in applied.why


@several_threads
def test_applying_twice_is_as_good_as_once_and_the_outer_one_holds_until_its_end():
    before = blas.current()
    write(entry())
    with autotune.apply():
        with autotune.apply():
            assert blas.current() == 1
        assert blas.current() == 1
    assert blas.current() == before


@several_threads
def test_a_profile_that_disappears_is_noticed_at_the_next_call():
    before = blas.current()
    path = write(entry())
    assert autotune.apply().blas_threads == 1
    path.unlink()
    assert autotune.apply().blas_threads is None
    assert blas.current() == before


def test_restoring_after_a_later_call_took_over_does_nothing():
    write(entry())
    first = autotune.apply()
    second = autotune.apply()
    first.restore()
    assert blas.current() == 1
    second.restore()
    second.restore()
    assert blas.current() == 1
    assert state.setting.blas_threads == 1


@several_threads
def test_a_process_that_shares_its_cpus_is_held_to_its_share():
    before = blas.current()
    with autotune.apply(processes=before) as applied:
        assert blas.current() == 1
        assert applied.why.startswith("This process may use 1 CPU (limited by the processes that share them);")
        with autotune.apply(processes=before) as again:
            assert again.blas_threads == 1
    assert blas.current() == before


def test_the_environment_stays_as_it_was_unless_children_are_asked_for():
    write(entry())
    before = dict(os.environ)
    with autotune.apply():
        assert dict(os.environ) == before
    with autotune.apply(children=True):
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
        assert "OMP_NUM_THREADS" not in os.environ.keys() - before.keys()
    assert dict(os.environ) == before


def test_what_other_code_exported_meanwhile_is_left(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    write(entry())
    with autotune.apply(children=True):
        os.environ["OPENBLAS_NUM_THREADS"] = "7"
    assert os.environ.pop("OPENBLAS_NUM_THREADS") == "7"


def test_the_switch_turns_everything_off(monkeypatch):
    write(entry())
    monkeypatch.setenv("AUTOTUNE_DISABLE", "1")
    before = blas.current()
    applied = autotune.apply(strict=True)
    assert (applied.blas_threads, blas.current()) == (None, before)
    assert applied.why == "AUTOTUNE_DISABLE switches autotune off."
    assert autotune.config("qr", n=100) is None
    assert str(applied) == str(autotune.explain()) == f"NumPy runs as it would without autotune: {applied.why}"


def test_a_named_profile_that_is_not_used_is_told_and_warned_of_once(tmp_path, monkeypatch, caplog):
    write(entry())
    named = tmp_path / "missing.yaml"
    for way in (partial(autotune.apply, profile=named), autotune.apply):
        applied = way()
        assert str(applied).startswith(f"The profile {named} is not used: it cannot be read: No such file")
        assert autotune.config("qr", m=100, n=100) is not None
        monkeypatch.setenv("AUTOTUNE_PROFILE", str(named))
    assert [message.partition(" is")[0] for message in caplog.messages] == [f"The profile {named}"]
    with pytest.raises(ProfileError, match="No such file"):
        autotune.apply(strict=True)


def test_of_a_named_folder_that_holds_a_profile_for_this_machine_the_others_are_not_told_of(tmp_path, caplog):
    write(entry(), path=tmp_path / "this.yaml")
    (tmp_path / "other.yaml").write_text("schema: 99\n")
    assert "is not used" not in str(autotune.apply(profile=tmp_path, strict=True))
    (tmp_path / "this.yaml").unlink()
    assert "other.yaml is not used" in str(autotune.apply(profile=tmp_path))
    assert len(caplog.messages) == 1


def test_autotune_run_has_told_of_profiles_that_the_environment_names(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(state, "is_started_by_run", True)
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(tmp_path / "environment.yaml"))
    autotune.apply()
    assert caplog.messages == []
    autotune.apply(profile=tmp_path / "program.yaml")
    assert "program.yaml is not used" in caplog.text


def test_a_named_file_of_the_users_own_folder_that_is_not_used_is_told(tmp_path):
    write(entry(), path=tmp_path / "shipped" / "class.yaml")
    named = write(entry())
    named.write_text("schema: 99\n")
    assert str(autotune.apply(profile=named)).count(f"{named} is not used") == 1
    with pytest.raises(ProfileError) as raised:
        autotune.apply(profile=named, strict=True)
    assert raised.value.path == str(named)


@pytest.mark.parametrize("missing", ["autotune.errors", "signal", "logging"])
def test_a_process_that_can_no_longer_read_pythons_library_runs_on(monkeypatch, missing):
    """After setuid every module that was not loaded before is missing."""

    def fail(*_, **__):
        raise ModuleNotFoundError("No module named 'json'")

    monkeypatch.setattr("autotune.runtime.applied.resolve", fail)
    monkeypatch.setenv("AUTOTUNE_CPUS", "abc")
    monkeypatch.setitem(sys.modules, missing, None)
    applied = autotune.apply()
    assert str(applied).endswith("ModuleNotFoundError: No module named 'json'")
    with pytest.raises(ModuleNotFoundError):
        autotune.apply(strict=True)


def test_one_line_is_logged_for_those_who_listen(caplog):
    with caplog.at_level(logging.INFO, logger="autotune"):
        autotune.apply()
    (message,) = caplog.messages
    assert (
        "BLAS threads of the process stay as they are. No BLAS thread count was measured for this machine." in message
    )


@needs_core
def test_the_text_begins_with_what_is_on():
    write(entry())
    with autotune.apply() as applied:
        assert str(applied).startswith("Per-call switching is on: 1 operation tuned. BLAS threads of the process")
    assert str(applied).startswith("BLAS threads of the process")
    with autotune.apply(per_call=False) as applied:
        assert str(applied).startswith("BLAS threads of the process")


def test_many_threads_may_apply_and_restore_at_once():
    before = blas.current()
    write(entry())

    def often():
        for _ in range(20):
            with autotune.apply():
                autotune.config("qr", n=100)

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    autotune.apply().restore()
    blas.set_threads(None)
    assert blas.current() == before


# --- whatever is wrong with a profile ---------------------------------------------------------


def wrong(tmp_path):
    """Named files that cannot be used, each with a word of its reason."""
    tmp_path = tmp_path / "wrong"
    tmp_path.mkdir()
    made = write(entry(), path=tmp_path / "good.yaml").read_text()
    contents = {
        "empty.yaml": ("", "mapping"),
        "text.yaml": ("hello", "mapping"),
        "binary.yaml": ("\0\1\2", "NUL"),
        "newer.yaml": (made.replace("schema: 2", "schema: 3"), "newer autotune"),
        "no_number.yaml": (made.replace("n: 100", "n: many"), "sizes.n"),
        "other_blas.yaml": (made.replace("blas: ", "blas: not"), "key.software.blas: the profile has not"),
        "bomb.yaml": ("a: &a [1]\nb: [*a, *a]\n", "anchor"),
        "deep.yaml": ("[" * 100_000, "nested"),
        "huge.yaml": ("#" * (9 * 2**20), "larger than"),
        "cut.yaml": (made[:-40], "not YAML"),
    }
    for name, (text, _) in contents.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.yaml").mkdir()
    reasons = {name: word for name, (_, word) in contents.items()}
    return {
        tmp_path / name: word for name, word in {**reasons, "folder.yaml": "folder", "none.yaml": "No such"}.items()
    }


def test_no_profile_that_is_wrong_raises_and_each_is_explained(tmp_path, monkeypatch):
    before = blas.current()
    for path, word in wrong(tmp_path).items():
        monkeypatch.setenv("AUTOTUNE_PROFILE", str(path))
        autotune.apply()
        assert blas.current() == before, path
        (refusal,) = autotune.explain().refusals
        assert (refusal.path, refusal.entry) == (str(path), None)
        assert word in refusal.reason


def test_with_strict_a_named_profile_that_is_wrong_raises(tmp_path):
    for path, word in wrong(tmp_path).items():
        with pytest.raises(ProfileError, match=word):
            autotune.apply(profile=path, strict=True)


def test_with_strict_no_profile_at_all_raises():
    with pytest.raises(ProfileError, match="autotune calibrate"):
        autotune.apply(strict=True)


def test_an_error_of_our_own_does_not_reach_the_program(monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr("autotune.profiles.resolve.usable_cpus", broken)
    assert autotune.apply().why == "RuntimeError: a bug"
    assert autotune.config("qr", n=100) is None
    assert autotune.explain().failure == "RuntimeError: a bug"
    with pytest.raises(RuntimeError):
        autotune.apply(strict=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mutated_profile_raises(tmp_path, data):
    """More of them: HYPOTHESIS_PROFILE with a larger max_examples."""
    path = tmp_path / "mutated.yaml"
    good = write(entry(), make_entry("log", choice={"workers": 2}, n=10), path=path).read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 40)))
    junk = data.draw(
        st.binary(max_size=20) | st.sampled_from([b"[", b"{", b"&a ", b"*a", b"-1", b"1e999", b"\n", b"null", b"'"])
    )
    path.write_bytes(good[:start] + junk + good[end:])
    autotune.apply(profile=path).restore()


# --- in processes of their own ----------------------------------------------------------------


def run(code, **environment):
    environ = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    return printed(code, "-W", "error", environ=environ).split()


@pytest.mark.real
def test_apply_loads_numpy_if_the_program_has_not():
    assert run("import autotune, sys; autotune.apply(); print('numpy' in sys.modules)") == ["True"]


@pytest.mark.real
def test_apply_reaches_neither_the_workshop_nor_the_network():
    run("import autotune; autotune.apply()")  # compiles
    code = """
        import autotune, sys
        autotune.apply()
        forbidden = {"optuna", "rich", "click", "yaml", "psutil", "scipy", "urllib.request", "ssl", "json"}
        own = {"autotune.model.codec", "autotune.model.entry", "autotune.profiles.lookup", "autotune.errors"}
        print(*sorted((forbidden | own) & set(sys.modules)))
    """
    assert run(code) == []


@pytest.mark.real
@pytest.mark.parametrize("home", [None, "", "relative", "/nonexistent", "/proc"])
def test_a_home_that_is_missing_or_cannot_be_written_changes_nothing(home, tmp_path):
    folders_of = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"))
    code = "import os, autotune; os.chdir({!r}); print(autotune.apply(strict=False).blas_threads)"
    assert run(code.format(str(tmp_path)), HOME=home, **folders_of) == ["None"]
    assert not (tmp_path / "~").exists()


@pytest.mark.real
@several_threads
def test_joblib_like_children_see_the_same_environment_and_count_as_without():
    write(entry())
    child = "from autotune.controls import blas; import numpy; print(blas.current())"
    code = f"""
        import subprocess, sys, autotune
        autotune.apply()
        print(subprocess.check_output([sys.executable, "-c", {child!r}], text=True))
    """
    assert run(code) == [str(blas.current())]


@pytest.mark.real
@several_threads
def test_a_limit_that_the_user_set_is_not_raised():
    write(make_entry(choice={"blas_threads": 2}, safe=(2,), m=100, n=100))
    code = "import autotune; from autotune.controls import blas; a = autotune.apply(); print(blas.current(), a.blas_threads)"
    assert run(code, OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", BLIS_NUM_THREADS="1") == ["1", "None"]


@pytest.mark.real
def test_a_forked_child_can_apply_again():
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    code = """
        import os, warnings, autotune
        warnings.simplefilter("ignore")
        autotune.apply()
        child = os.fork()
        if not child:
            autotune.apply()
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(code) == ["0"]


def test_products_are_the_same_afterwards():
    """A smoke test that setting threads leaves a working BLAS."""
    write(entry())
    a = np.arange(6.0).reshape(2, 3)
    with autotune.apply():
        assert (a @ a.T).tolist() == [[5.0, 14.0], [14.0, 50.0]]


@pytest.mark.real
@pytest.mark.parametrize("options", ["", "record=True, guard=True"])
def test_a_program_runs_on_after_autotune_was_uninstalled(tmp_path, options):
    """An upgrade replaces the files of long-running programs, too. The first program compiles the profile."""
    package = Path(autotune.__file__).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    write(entry())
    begin = f"import numpy as np, autotune, shutil; autotune.apply({options})"
    code = f"""
    {begin}
    shutil.rmtree({str(tmp_path / package.name)!r})
    import scipy.linalg
    print(np.linalg.qr(np.eye(100))[1].trace(), scipy.linalg.qr(np.eye(100))[1].trace(), np.exp(np.zeros(10**6)).sum())
    """
    for program, output in ((begin, ""), (code, "100.0 100.0 1000000.0\n")):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, output, "")
