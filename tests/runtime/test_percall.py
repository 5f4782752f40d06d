"""apply(per_call=...): each call with its own threads, and nothing left behind."""

import os
import subprocess
import sys
import threading
from importlib.util import find_spec

import numpy as np
import pytest
from support.profile_builders import make_entry, of_this_machine
from support.programs import printed

import autotune
from autotune.controls import blas
from autotune.controls.switch import Switch
from autotune.intercept import matmul_loop
from autotune.profiles import folders, profile_files
from autotune.runtime.process_state import state

ONE = {"blas_threads": 1}
A = np.random.default_rng(0).random((100, 100))
PRIVATE = np.linalg._linalg._umath_linalg
several_threads = pytest.mark.skipif(
    (blas.current() or 1) < 2, reason="BLAS runs with one thread here anyway"
)


@pytest.fixture(autouse=True)
def profile(fresh, monkeypatch):
    for name in ("AUTOTUNE_PER_CALL", "AUTOTUNE_RECORD"):
        monkeypatch.delenv(name, raising=False)
    entries = (
        *(make_entry("qr", choice=ONE, safe=(1,), m=n, n=n) for n in (50, 200)),
        *(make_entry("matmul", choice=ONE, safe=(1,), m=n, k=n, n=n) for n in (50, 200)),
        make_entry("inv", n=100),
    )
    profile_files.write(of_this_machine(*entries), folders.user_profiles() / "mine.yaml")
    yield
    state.initial_per_call = False


@several_threads
def test_a_call_runs_with_its_threads_and_the_count_is_back_afterwards(monkeypatch):
    seen, begin, before = [], Switch.begin, blas.current()

    def noted(self, calls):
        begin(self, calls)
        seen.append(blas.loaded()[0].get())

    monkeypatch.setattr(Switch, "begin", noted)
    with autotune.apply(per_call=True):
        np.linalg.qr(A)
        np.linalg.inv(A)
        assert seen == [1, 1, before]
        assert blas.current() == before
    assert np.linalg._linalg._umath_linalg is PRIVATE


@several_threads
def test_products_are_switched_only_if_all_are_asked_for():
    with autotune.apply(per_call=True):
        A @ A
        assert state.per_call.counts() == (0, 0)
        with autotune.apply(per_call="all"):
            A @ A
            assert state.per_call.counts() == (1, 1)
        A @ A
        assert state.per_call.counts() == (0, 0)


def test_names_imported_before_are_met_as_well():
    from numpy.linalg import qr

    with autotune.apply(per_call=True):
        qr(A)
        assert state.per_call.counts()[0] == 2


def test_restoring_takes_all_of_it_off():
    loops = [matmul_loop._in_force(name) for name in ("float32", "float64")]
    applied = autotune.apply(per_call="all", guard=True, record=True)
    assert np.linalg._linalg._umath_linalg is not PRIVATE
    applied.restore()
    assert np.linalg._linalg._umath_linalg is PRIVATE
    assert [matmul_loop._in_force(name) for name in ("float32", "float64")] == loops
    assert (state.per_call, blas._threads._switches) == (None, ())
    assert autotune.explain().per_call is None


@several_threads
def test_a_scope_goes_before_single_calls():
    before = blas.current()
    with autotune.apply(per_call=True), autotune.tuned("matmul", n=100):
        np.linalg.inv(A)
        assert blas.current() == 1
    assert blas.current() == before


@several_threads
def test_a_limit_of_another_library_is_left_alone():
    from threadpoolctl import ThreadpoolController

    before = blas.current()
    with autotune.apply(per_call=True):
        with ThreadpoolController().limit(limits=1):
            np.linalg.inv(A)
            assert blas.current() == 1
        np.linalg.qr(A)
        assert blas.current() == before


def test_reproducible_keeps_one_count_for_everything():
    before = blas.current()
    applied = autotune.apply(per_call=True, reproducible=True)
    np.linalg.qr(A)
    assert (applied.blas_threads, blas.current(), state.per_call.counts()[1]) == (None, before, 0)
    assert autotune.config("qr", n=100) is None
    assert "one count for everything" in str(autotune.explain())


def test_explain_says_what_is_done_for_single_calls():
    autotune.apply(per_call=True)
    np.linalg.qr(A)
    explained = autotune.explain()
    switched = 2 if blas.loaded() else 0
    assert (explained.calls, explained.switched) == (2, switched)
    assert "Each call of numpy.linalg runs with the threads measured for it." in str(explained)
    assert "2 calls so far" in str(explained)
    assert explained.as_dict()["per_call"]["saved_seconds"] is None


def test_a_numpy_that_is_not_known_is_left_alone_and_explained(monkeypatch):
    monkeypatch.setattr(np, "__version__", "9.9.9")
    autotune.apply(per_call="all")
    assert np.linalg._linalg._umath_linalg is PRIVATE
    assert blas._threads._switches == ()
    assert "NumPy 9.9.9 is not among the versions" in autotune.explain().per_call


def test_a_wish_that_means_nothing_is_said_and_raises_only_with_strict():
    assert "per_call is True, False" in autotune.apply(per_call="everything").why
    with pytest.raises(ValueError, match="per_call is True"):
        autotune.apply(per_call="everything", strict=True)
    assert np.linalg._linalg._umath_linalg is PRIVATE


def test_what_the_start_asked_for_holds_for_later_calls_of_apply(monkeypatch):
    from autotune.runtime.apply import apply_from_start

    apply_from_start("all")
    with autotune.apply():
        assert state.setting.per_call == "all"
    assert state.setting.per_call == "all"
    state.initial_per_call = False
    monkeypatch.setenv("AUTOTUNE_PER_CALL", "1")
    autotune.apply()
    assert state.setting.per_call is True
    autotune.apply(per_call=False)
    assert state.per_call is None


def test_a_profile_that_turns_out_broken_does_not_reach_the_call(monkeypatch):
    autotune.apply(per_call=True)

    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("autotune.profiles.resolve.Resolution.find", broken)
    np.testing.assert_allclose(np.linalg.inv(A) @ A, np.eye(100), atol=1e-8)
    assert autotune.explain().per_call == "inv runs as without a profile: RuntimeError: a bug"


def test_threads_calling_at_once_leave_the_count_as_it_was():
    before = blas.current()
    autotune.apply(per_call="all")

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
    assert blas._threads._switches[0]._wanted == {}


# --- in processes of their own ----------------------------------------------------------------


def run(code, *command, **environment):
    return printed(code, "-W", "error", command=command, environ={**os.environ, **environment}).split()


@pytest.mark.real
def test_the_library_that_is_switched_is_numpys_also_if_scipys_was_loaded_first():
    pytest.importorskip("scipy.linalg")
    code = """
        import scipy.linalg, autotune
        from autotune.controls import blas
        autotune.apply(per_call=True)
        print("scipy.libs" in blas.loaded()[0].path, blas._threads._switches[0].library is blas.loaded()[0])
    """
    assert run(code) == ["False", "True"]


@pytest.mark.real
@several_threads
@pytest.mark.parametrize("when", ["before", "after"])
def test_scipys_calls_are_switched_in_the_library_that_they_use(when, tmp_path):
    """Also if SciPy is imported after apply(); and restore() leaves SciPy as it was."""
    pytest.importorskip("scipy.linalg")
    profile = tmp_path / "qr.yaml"
    profile_files.write(
        of_this_machine(*(make_entry("qr", choice=ONE, safe=(1,), m=n, n=n) for n in (50, 200))), profile
    )
    late, soon = ("", "import scipy.linalg") if when == "before" else ("import scipy.linalg", "")
    code = f"""
        import numpy as np, autotune
        from autotune.controls import blas, switch
        {soon}
        applied = autotune.apply(per_call=True, strict=True)
        {late}
        seen, bring = [], switch.Switch.bring
        def noted(self, count):
            bring(self, count)
            seen.append(("scipy.libs" in self.library.path, self.library.get()))
        switch.Switch.bring = noted
        theirs = blas._threads._switches[-1].library
        before = theirs.get()
        scipy.linalg.qr(np.eye(100))
        print((theirs is blas.loaded()[-1]) and ("scipy.libs" in theirs.path, 1) in seen)
        print(theirs.get() == before, "scipy.linalg" in autotune.explain().per_call)
        applied.restore()
        print(scipy.linalg._decomp_qr.get_lapack_funcs is scipy.linalg.lapack.get_lapack_funcs)
    """
    assert run(code, AUTOTUNE_PROFILE=str(profile)) == ["True"] * 4


@pytest.mark.real
def test_a_forked_child_goes_on_switching():
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    code = """
        import os, warnings, autotune
        import numpy as np
        from autotune.runtime.process_state import state
        warnings.simplefilter("ignore")
        autotune.apply(per_call="all")
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
def test_no_call_imports_anything():
    """A fork while a thread's call imports would leave that module's lock taken in the child for ever."""
    code = """
        import sys
        import numpy as np, autotune
        autotune.apply(per_call="all", guard=True)
        before = set(sys.modules)
        a = np.eye(100)
        np.linalg.qr(a) ; a @ a ; np.dot(a, a) ; np.linalg.inv(a) ; np.linalg.qr(a * 1j)
        print(len(set(sys.modules) - before), autotune.runtime.process_state.state.per_call.counts()[1])
    """
    assert run(code)[0] == "0"


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_all_of_it_is_being_taken_off_can_do_so_too():
    code = """
        import os, signal, threading, warnings, autotune
        from autotune.runtime.process_state import state
        warnings.simplefilter("ignore")
        applied = autotune.apply(per_call="all")
        taken, over = threading.Event(), threading.Event()
        def hold(lock=state.per_call._lock):
            with lock:
                taken.set()
                over.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait()
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
        names = vars(np.linalg._linalg)
        def own():
            return names["_umath_linalg"], np.dot._implementation, matmul_loop._in_force("float64")
        from autotune.intercept import matmul_loop
        before = own()
        applied = autotune.apply(per_call="all")
        during = own()
        for name in [name for name in sys.modules if name.partition(".")[0] == "numpy"]:
            del sys.modules[name]
        applied.restore()
        print(len(set(before) & set(during)), own() == before)
    """
    assert run(code) == ["0", "True"]


RUN = (sys.executable, "-m", "autotune", "run")
SAYS = """
    import os, sys, subprocess
    before = "numpy" in sys.modules, "PYTHONPATH" in os.environ, "AUTOTUNE_PER_CALL" in os.environ
    import numpy as np
    met = np.linalg._linalg._umath_linalg is not np.linalg._umath_linalg
    print(*map(int, before), int(met), np.__spec__.loader.__class__.__name__)
    if len(sys.argv) == 1:
        code = "import numpy as np; print(int(np.linalg._linalg._umath_linalg is not np.linalg._umath_linalg))"
        print(subprocess.check_output([sys.executable, "-c", code], text=True))
"""


@pytest.mark.real
def test_run_switches_the_calls_of_a_program_but_not_of_those_it_starts(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert run(SAYS, *RUN, "--per-call", "--") == ["0", "0", "0", "1", "SourceFileLoader", "0"]


@pytest.mark.real
def test_run_with_children_switches_theirs_too():
    assert run(SAYS, *RUN, "--per-call=all", "--children", "--")[3:] == ["1", "SourceFileLoader", "1"]


@pytest.mark.real
def test_a_sitecustomize_of_the_users_own_runs_as_ever(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.own = __name__")
    code = "import os, sys; print(own, os.environ['PYTHONPATH'], 'startup' in str(sys.path))"
    assert run(code, *RUN, "--per-call", "--", PYTHONPATH=str(tmp_path)) == [
        "sitecustomize",
        str(tmp_path),
        "False",
    ]


@pytest.mark.real
def test_a_python_without_autotune_says_so_and_runs_on(tmp_path):
    (tmp_path / "autotune").mkdir()
    (tmp_path / "autotune" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import numpy; print('on')"
    from autotune.cli.run import from_start

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **from_start("all", os.environ, children=False)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == "on\n"
    assert (
        done.stderr
        == f"autotune run --per-call: {sys.executable} has no autotune, so its calls run as without.\n"
    )


@pytest.mark.real
def test_numpys_own_tests_pass_the_same(tmp_path):
    """A part of them; all of numpy.linalg, ufunc and multiarray take minutes."""
    if find_spec("numpy.linalg.tests") is None:
        pytest.skip("this NumPy comes without its tests")
    profile = tmp_path / "ones.yaml"
    entries = [
        make_entry(op, choice=ONE, safe=(1,), n=n) for op in ("solve", "inv", "det", "eigh") for n in (1, 900)
    ]
    entries += [make_entry("svd", choice=ONE, safe=(1,), m=n, n=n) for n in (1, 900)]
    entries += [make_entry("matmul", choice=ONE, safe=(1,), m=n, k=n, n=n) for n in (1, 900)]
    profile_files.write(of_this_machine(*entries), profile)
    tests = ("numpy.linalg.tests.test_linalg", "numpy._core.tests.test_multiarray")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", *tests]
    command += [
        "-k",
        "TestSolve or TestSVD or TestPinv or TestMatmul or TestEigh",
        "--rootdir",
        str(tmp_path),
    ]

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

    assert outcome(*RUN, "--per-call=all", "--", AUTOTUNE_PROFILE=str(profile)) == outcome()
