"""apply(): each call with its own threads, and nothing left behind."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from support.native import CORE, needs_core
from support.profile_builders import make_entry, of_this_machine
from support.programs import printed

import autotune
from autotune.controls import blas
from autotune.profiles import folders, profile_files
from autotune.runtime.process_state import state

ONE = {"blas_threads": 1}
A = np.random.default_rng(0).random((100, 100))
pytestmark = needs_core
several_threads = pytest.mark.skipif((blas.current() or 1) < 2, reason="BLAS runs with one thread here anyway")


@pytest.fixture(autouse=True)
def profile(fresh, monkeypatch):
    monkeypatch.delenv("AUTOTUNE_RECORD", raising=False)
    saving = make_entry("svd", choice=ONE, safe=(1,), m=200, n=200)
    entries = (
        *(make_entry("qr", choice=ONE, safe=(1,), m=n, n=n) for n in (50, 200)),
        *(make_entry("matmul", choice=ONE, safe=(1,), m=n, k=n, n=n) for n in (50, 200)),
        make_entry("inv", n=100),
        replace(saving, evidence=replace(saving.evidence, cpu_ratio=0.5)),
    )
    profile_files.write(of_this_machine(*entries), folders.user_profiles() / "mine.yaml")
    yield
    state.initial_reductions = False


def counts_inside(call, most=200):
    """The BLAS count that a call runs with, seen by a thread while it runs."""
    seen, over = set(), threading.Event()
    get = blas.loaded_libraries()[0].get

    def look():
        while not over.is_set():
            seen.add(get())

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(most):
        call()
        if 1 in seen:
            break
    over.set()
    thread.join()
    return seen


@several_threads
def test_a_call_runs_with_its_threads_and_the_count_is_back_afterwards():
    before = blas.current()
    large = np.random.default_rng(0).random((200, 200))
    with autotune.apply():
        assert 1 in counts_inside(lambda: np.linalg.qr(large))
        assert 1 in counts_inside(lambda: large @ large)
        assert counts_inside(lambda: np.linalg.inv(A), most=30) == {before}
        assert blas.current() == before
    assert counts_inside(lambda: np.linalg.qr(large), most=30) == {before}


@several_threads
def test_calls_are_switched_unless_the_process_is_to_have_one_count():
    with autotune.apply():
        A @ A
        A.dot(A)
        assert state.per_call.counts() == (2, 2)
        with autotune.apply(per_call=False):
            A @ A
            assert state.per_call is None
        A @ A
        assert state.per_call.counts() == (1, 1)


@pytest.mark.parametrize("entry", [make_entry("log", n=1000), make_entry("qr", m=100, n=100)])
def test_where_no_entry_has_a_choice_for_calls_they_are_met_to_be_counted_alone(tmp_path, entry):
    profile = tmp_path / "profile.yaml"
    profile_files.write(of_this_machine(entry), profile)
    (folders.user_profiles() / "mine.yaml").unlink()
    for record, met in ((False, (0, 0)), (True, (2, 0))):
        with autotune.apply(profile=profile, record=record):
            np.linalg.qr(A)
            assert state.per_call.counts() == met
            assert "run as plain NumPy" in autotune.explain().per_call


def test_without_the_core_calls_run_as_numpy_makes_them(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_NATIVE", "0")
    with autotune.apply(guard=True, record=True):
        np.linalg.qr(A)
        assert state.per_call.counts() == (0, 0)
        assert "AUTOTUNE_NATIVE=0" in autotune.explain().per_call


def test_names_imported_before_are_met_as_well():
    from numpy.linalg import qr

    with autotune.apply():
        qr(A)
        assert state.per_call.counts()[0] == 2


def test_the_guard_lets_a_choice_of_fewer_cpu_seconds_be_as_much_slower_as_its_entry_allows():
    lost = {}
    with autotune.apply(guard=True):
        for operation in ("qr", "svd"):
            calls = CORE.Calls(operation, "float64", {"m": 200, "n": 200}, threads=1)
            watched = state.per_call.guard.watch(calls)
            for _ in range(30):
                watched.took(0.0101, control=False)
                watched.took(0.01, control=True)
                watched.took(0.0101, control=False)
            lost[operation] = watched.has_lost
    assert lost == {"qr": True, "svd": False}


def test_restoring_takes_all_of_it_off():
    applied = autotune.apply(guard=True, record=True)
    np.linalg.qr(A)
    met = state.per_call
    applied.restore()
    before = met.counts()
    np.linalg.qr(A)
    A @ A
    assert met.counts() == before
    assert state.per_call is None
    assert autotune.explain().per_call is None


@several_threads
def test_a_scope_goes_before_single_calls():
    before = blas.current()
    with autotune.apply(), autotune.tuned("matmul", n=100):
        np.linalg.inv(A)
        assert blas.current() == 1
    assert blas.current() == before


@several_threads
def test_a_limit_of_another_library_is_left_alone():
    from threadpoolctl import ThreadpoolController

    before = blas.current()
    with autotune.apply():
        with ThreadpoolController().limit(limits=1):
            np.linalg.inv(A)
            assert blas.current() == 1
        np.linalg.qr(A)
        assert blas.current() == before


def test_reproducible_keeps_one_count_for_everything():
    before = blas.current()
    applied = autotune.apply(reproducible=True)
    np.linalg.qr(A)
    assert (applied.blas_threads, blas.current(), state.per_call.counts()[1]) == (None, before, 0)
    assert autotune.config("qr", n=100) is None
    assert "one count for everything" in str(autotune.explain())
    assert str(applied).startswith("Calls are not switched: one count")


def test_explain_says_what_is_done_for_single_calls():
    autotune.apply()
    np.linalg.qr(A)
    explained = autotune.explain()
    switched = 2 if blas.loaded_libraries() else 0
    assert (explained.calls, explained.switched) == (2, switched)
    assert "Calls of numpy.linalg, matmul and dot run with the threads measured for them" in str(explained)
    assert "2 calls so far" in str(explained)
    assert explained.as_dict()["per_call"]["saved_seconds"] is None


def test_a_numpy_that_is_not_known_is_left_alone_and_explained(monkeypatch):
    monkeypatch.setattr(np, "__version__", "9.9.9")
    autotune.apply()
    np.linalg.qr(A)
    assert state.per_call.counts() == (0, 0)
    assert "NumPy 9.9.9" in autotune.explain().per_call


def test_what_the_start_asked_for_holds_for_later_calls_of_apply():
    from autotune.runtime.apply import apply_from_start

    apply_from_start(reductions=True)
    with autotune.apply():
        assert (state.setting.per_call, state.setting.reductions) == (True, True)


def test_a_profile_that_turns_out_broken_does_not_reach_the_call(monkeypatch):
    autotune.apply()

    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("autotune.profiles.resolve.Resolution.find", broken)
    np.testing.assert_allclose(np.linalg.inv(A) @ A, np.eye(100), atol=1e-8)
    assert autotune.explain().per_call.endswith("matmul runs as without a profile: RuntimeError: a bug")


def test_a_call_goes_on_where_what_it_needs_can_no_longer_be_loaded(monkeypatch):
    """As after autotune was removed, or the process got another user or root folder."""
    autotune.apply()
    with monkeypatch.context() as removed:
        for module in ("autotune.model.operation", "autotune.errors"):
            removed.setitem(sys.modules, module, None)
        np.linalg.qr(A)
    assert "qr runs as without a profile: ModuleNotFoundError" in autotune.explain().per_call


@several_threads
def test_a_watched_call_goes_on_where_what_the_guard_needs_can_no_longer_be_loaded(monkeypatch):
    monkeypatch.setattr("autotune.runtime.guard.LONG_SECONDS", 0.0)
    with autotune.apply(guard=True):
        monkeypatch.setitem(sys.modules, "autotune.model.policy", None)
        np.linalg.qr(A)
        assert "Calls are neither watched nor learned about any more: ModuleNotFoundError" in state.per_call.why


def test_recording_ends_where_what_it_needs_can_no_longer_be_loaded(monkeypatch):
    applied = autotune.apply(record=True)
    np.linalg.qr(A)
    monkeypatch.setitem(sys.modules, "autotune.runtime.naming", None)
    applied.restore()
    assert state.per_call is None


def test_scipy_runs_plain_where_its_interception_is_that_of_another_version(monkeypatch):
    pytest.importorskip("scipy.linalg")
    monkeypatch.setattr("autotune.intercept.scipy_calls.ScipyCalls", lambda: None)
    with autotune.apply():
        assert "Calls of scipy.linalg run as plain NumPy: TypeError" in autotune.explain().per_call


def test_threads_calling_at_once_leave_the_count_as_it_was():
    before = blas.current()
    autotune.apply()

    def often():
        for _ in range(100):
            np.linalg.qr(A)
            A @ A

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blas.current() == before


# --- in processes of their own ----------------------------------------------------------------


def run(code, *command, **environment):
    return printed(code, "-W", "error", command=command, environ={**os.environ, **environment}).split()


@pytest.mark.real
@several_threads
@pytest.mark.parametrize("called", ["numpy", "scipy"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_calls_are_switched_in_the_library_that_they_use(called, when, tmp_path):
    """Also if SciPy is imported before NumPy's calls are met, or after; and restore() leaves SciPy as it was."""
    pytest.importorskip("scipy.linalg")
    profile = tmp_path / "qr.yaml"
    profile_files.write(
        of_this_machine(*(make_entry("qr", choice=ONE, safe=(1,), m=n, n=n) for n in (50, 200))), profile
    )
    late, soon = ("", "import scipy.linalg") if when == "before" else ("import scipy.linalg", "")
    code = f"""
        import threading
        {soon}
        import numpy, autotune
        from autotune.controls import blas
        applied = autotune.apply(strict=True)
        {late}
        library = blas.loaded_libraries()[{0 if called == "numpy" else -1}]
        before, seen, over = library.get(), set(), threading.Event()
        def look():
            while not over.is_set():
                seen.add(library.get())
        thread = threading.Thread(target=look)
        thread.start()
        for _ in range(200):
            {called}.linalg.qr(numpy.random.default_rng(0).random((200, 200)))
            if 1 in seen:
                break
        over.set()
        thread.join()
        print("{called}.libs" in library.path, 1 in seen)
        print(library.get() == before, "scipy.linalg" in autotune.explain().per_call)
        applied.restore()
        print(scipy.linalg._decomp_qr.get_lapack_funcs is scipy.linalg.lapack.get_lapack_funcs)
    """
    assert run(code, AUTOTUNE_PROFILE=str(profile)) == ["True"] * 5


@pytest.mark.real
def test_a_forked_child_goes_on_switching():
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    code = """
        import os, warnings, autotune
        import numpy as np
        from autotune.runtime.process_state import state
        warnings.simplefilter("ignore")
        autotune.apply()
        a = np.eye(100)
        np.linalg.qr(a)
        child = os.fork()
        if not child:
            np.linalg.qr(a) ; a @ a
            os._exit(state.per_call.counts()[0])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(code) == ["3"]


@pytest.mark.real
def test_apply_loads_no_entries_before_a_call_that_they_cover():
    code = """
        import sys
        import numpy as np, autotune
        autotune.apply()
        print("autotune.model.entry" in sys.modules)
        print(sum(name.startswith("autotune") for name in sys.modules) < 50)
        np.linalg.qr(np.eye(100))
        print("autotune.model.entry" in sys.modules)
    """
    run(code)  # compiles the copy
    assert run(code) == ["False", "True", "True"]


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("fork", "expected"),
    [("os.fork", ["True", "False", "0"]), ("ctypes.PyDLL(None).fork", ["False", "True", "0"])],
    ids=["Python's", "C's"],
)
def test_a_fork_next_to_a_call_that_imports_leaves_a_child_that_computes(fork, expected):
    """A child inherits the modules' locks, taken for ever by a thread that it does not have: Python's fork waits, and a
    child of C's imports nothing."""
    code = f"""
        import ctypes, os, sys, threading, warnings
        import numpy as np, autotune
        from autotune.runtime.process_state import state
        warnings.simplefilter("ignore")
        autotune.apply()
        in_import, over = threading.Event(), threading.Event()
        class Finder:  # holds the first import of a call half-way
            def find_spec(name, path=None, target=None):
                if threading.current_thread() is not threading.main_thread() and not in_import.is_set():
                    in_import.set()
                    over.wait(10)
        sys.meta_path.insert(0, Finder)
        a = np.eye(100)
        thread = threading.Thread(target=np.linalg.qr, args=(a,))
        thread.start()
        in_import.wait(10)
        threading.Timer(0.2, over.set).start()
        child = {fork}()
        if not child:
            q, r = np.linalg.qr(a)
            print(over.is_set(), "plain NumPy" in state.per_call.why, flush=True)
            os._exit(0 if (q @ r == a).all() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        thread.join()
    """
    run("import autotune; autotune.apply()")  # compiles the copy, which loads all of it
    assert " ".join(run(code)).split() == expected


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_all_of_it_is_being_taken_off_can_do_so_too():
    code = """
        import os, signal, threading, warnings, autotune
        from autotune.intercept.numpy_calls import NumpyCalls
        from autotune.runtime.process_state import state
        warnings.simplefilter("ignore")
        applied = autotune.apply()
        begun, over, parent, remove = threading.Event(), threading.Event(), os.getpid(), NumpyCalls.remove
        def remove_slowly(tap):
            if os.getpid() == parent:
                begun.set()
                over.wait()
            remove(tap)
        NumpyCalls.remove = remove_slowly
        thread = threading.Thread(target=state.per_call.stop)
        thread.start()
        begun.wait()
        child = os.fork()
        if not child:
            signal.alarm(60)
            applied.restore()
            os._exit(state.per_call is not None)
        print(os.waitpid(child, 0)[1])
        over.set()
        thread.join()
    """
    assert run(code) == ["0"]


@pytest.mark.real
def test_it_can_be_taken_off_when_the_program_has_dropped_numpys_modules():
    """As a tool does that imports everything anew."""
    code = """
        import sys
        import numpy as np, autotune
        from autotune.runtime.process_state import state
        applied = autotune.apply()
        met = state.per_call
        qr, a = np.linalg.qr, np.eye(100)
        qr(a)
        during = met.counts()[0]
        for name in [name for name in sys.modules if name.partition(".")[0] == "numpy"]:
            del sys.modules[name]
        applied.restore()
        qr(a)
        print(during > 0, met.counts()[0] == during)
    """
    assert run(code) == ["True", "True"]


RUN = (sys.executable, "-m", "autotune", "run")
SAYS = """
    import os, sys, subprocess
    before = "numpy" in sys.modules, "PYTHONPATH" in os.environ, "AUTOTUNE_START" in os.environ
    import numpy as np
    loaded = sys.modules.get("autotune.runtime.process_state")
    print(*map(int, before), int(loaded.state.per_call is not None), np.__spec__.loader.__class__.__name__)
    if len(sys.argv) == 1:
        code = "import sys, numpy as np; print(int('autotune.runtime.process_state' in sys.modules))"
        print(subprocess.check_output([sys.executable, "-c", code], text=True))
"""


def with_sources(path=""):
    """Path in which a started Python finds this autotune, if it is not installed."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [path, *(p for p in sys.path if p.endswith("src"))]))}


@pytest.mark.real
def test_run_switches_the_calls_of_a_program_but_not_of_those_it_starts():
    said = run(SAYS, *RUN, "--", **with_sources())
    assert (said[0], *said[2:]) == ("0", "0", "1", "SourceFileLoader", "0")


@pytest.mark.real
def test_run_with_children_switches_theirs_too():
    assert run(SAYS, *RUN, "--reductions", "--children", "--", **with_sources())[3:] == ["1", "SourceFileLoader", "1"]


@pytest.mark.real
def test_run_with_the_environment_only_starts_no_autotune_in_the_program():
    code = "import sys, numpy; print('autotune' in sys.modules)"
    assert run(code, *RUN, "--environment-only", "--", **with_sources()) == ["False"]


@pytest.mark.real
def test_a_sitecustomize_of_the_users_own_runs_as_ever(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.own = __name__")
    code = "import os, sys; print(own, os.environ['PYTHONPATH'], 'startup' in str(sys.path))"
    environment = with_sources(str(tmp_path))
    assert run(code, *RUN, "--", **environment) == ["sitecustomize", environment["PYTHONPATH"], "False"]


@pytest.mark.real
def test_a_python_without_autotune_says_so_and_runs_on(tmp_path):
    (tmp_path / "autotune").mkdir()
    (tmp_path / "autotune" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import numpy; print('on')"
    from autotune.cli.run import startup_variables

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **startup_variables(os.environ, reductions=False, children=False)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == "on\n"
    assert done.stderr == f"autotune run: {sys.executable} has no autotune, so its calls run as without.\n"


@pytest.mark.real
def test_numpys_own_tests_pass_the_same(tmp_path):
    """A part of them; all of numpy.linalg, ufunc and multiarray take minutes."""
    if find_spec("numpy.linalg.tests") is None:
        pytest.skip("this NumPy comes without its tests")
    profile = tmp_path / "ones.yaml"
    entries = [make_entry(op, choice=ONE, safe=(1,), n=n) for op in ("solve", "inv", "det", "eigh") for n in (1, 900)]
    entries += [make_entry("svd", choice=ONE, safe=(1,), m=n, n=n) for n in (1, 900)]
    entries += [make_entry("matmul", choice=ONE, safe=(1,), m=n, k=n, n=n) for n in (1, 900)]
    profile_files.write(of_this_machine(*entries), profile)
    linalg = ("Solve", "SVD", "SVDHermitian", "Pinv", "PinvHermitian", "Eigh", "EighCases")
    tests = [f"numpy.linalg.tests.test_linalg::Test{name}" for name in linalg]
    tests += [f"numpy._core.tests.test_multiarray::TestMatmul{name}" for name in ("", "Operator", "Inplace")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", *tests]
    command += ["-k", "not (TestPinv and generalized)", "--rootdir", str(tmp_path)]

    def outcome(*before, **environment):
        done = subprocess.run(
            [*before, *command],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        last = done.stdout.splitlines()[-1]
        return done.returncode, last.rpartition(" in ")[0]

    tuned = outcome(*RUN, "--", AUTOTUNE_PROFILE=str(profile), **with_sources())
    all_passed = tuned[0] == 0 and "skipped" not in tuned[1]
    assert all_passed or tuned == outcome()  # plain NumPy may have failures of its own
