"""The IPython extension, progress in a cell, and tables of HTML."""

from types import SimpleNamespace

import pytest
from support.profile_builders import alone, make_entry, of_this_machine, profile, with_evidence

import autotune
from autotune.cli import notebook
from autotune.errors import UsageError
from autotune.model.units import html_table
from autotune.profiles import folders, profile_files
from autotune.runtime.applied import refresh
from autotune.search.api import notebook_progress
from autotune.search.events import Exploring


class Shell:
    """Takes the magic as IPython does."""

    def __init__(self):
        cells = ["", "%load_ext autotune", "import numpy as np", "%matplotlib inline\nnp.eye(2)", "%%bash\nls",
                 "%%time\nnp.ones(3)", "%autotune advise"]  # fmt: skip
        self.history_manager = SimpleNamespace(input_hist_raw=cells)

    def register_magic_function(self, function, kind, name):
        assert (kind, name) == ("line_cell", "autotune")
        self.magic = function


@pytest.fixture
def shell(monkeypatch):
    shell = Shell()
    autotune.load_ipython_extension(shell)
    shell.runs = []
    monkeypatch.setattr(notebook, "run_verb", shell.runs.append)
    shell.programs = []
    monkeypatch.setattr(notebook, "run_on_program", lambda words, code: shell.programs.append((words, code)))
    return shell


def test_a_line_runs_a_verb(shell):
    shell.magic("explain svd n=500")
    assert shell.runs == [["explain", "svd", "n=500"]]


def test_a_cell_is_the_program_of_a_verb(shell):
    shell.magic("compare --runs 6", "print(1)")
    assert shell.programs == [(["compare", "--runs", "6"], "print(1)")]


def test_advise_takes_the_cells_so_far_without_what_only_ipython_reads(shell):
    shell.magic("advise")
    assert shell.programs == [(["advise"], "import numpy as np\nnp.eye(2)\nnp.ones(3)")]


@pytest.mark.parametrize(("line", "cell"), [("", None), ("bogus", None), ("explain svd", "x = 1")])
def test_a_line_that_is_no_verb_for_it_is_refused_with_the_verbs(shell, line, cell):
    with pytest.raises(UsageError, match="one of these verbs"):
        shell.magic(line, cell)


def test_a_quotation_without_its_end_is_refused(shell):
    with pytest.raises(UsageError, match="No closing quotation"):
        shell.magic("explain 'svd", None)


@pytest.mark.real
def test_a_cell_runs_in_ipython(tmp_path, monkeypatch, capfd):
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    alone(monkeypatch, tmp_path)
    shell = InteractiveShell.instance()
    try:
        shell.run_cell("%load_ext autotune", store_history=True).raise_error()
        shell.run_cell("%%autotune run\nimport numpy as np\nprint('trace', np.eye(3).trace())").raise_error()
        shell.run_cell("!true\nimport numpy as np\nfor _ in range(3): np.linalg.qr(np.eye(9))", store_history=True)
        shell.run_cell("%autotune advise", store_history=True).raise_error()
        refused = shell.run_cell("%autotune bogus").error_in_exec
    finally:
        InteractiveShell.clear_instance()
    printed = capfd.readouterr().out
    assert "trace 3.0" in printed
    assert "exit status 0" in printed
    assert "qr float64" in printed
    assert type(refused).__module__ == "IPython.core.error"


def test_the_progress_is_drawn_in_a_kernel_only(monkeypatch):
    ipython = pytest.importorskip("IPython")
    display = pytest.importorskip("IPython.display")
    outside, cells = notebook_progress(), []
    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(display, "display", lambda line, **_: cells.append(line.data))
    event = Exploring(name="<lambda>", dtype="float64", index=1, total=2, elapsed=3.0, remaining=27.0)
    for listen in (outside, notebook_progress()):
        listen(event)
    assert cells == ["<pre>autotune: [1/2] exploring &lt;lambda&gt; | 0:03 spent, 0:27 left</pre>"]


def test_a_table_escapes_its_cells():
    assert "<td>&lt;b&gt;</td>" in html_table(("a",), [("<b>",)], caption="one & two")


def test_a_new_profile_is_taken_up_and_restoring_still_restores(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    entry = make_entry("qr", choice={"blas_threads": 1}, m=8, n=8)
    with autotune.apply() as applied:
        assert autotune.config("qr", n=8) is None
        profile_files.write(of_this_machine(entry), folders.user_profiles() / "new.yaml")
        refresh()
        assert autotune.config("qr", n=8) == entry.choice
        assert "qr" in autotune.explain("qr")._repr_html_()
        assert "interval of its speed-up" in autotune.explain("qr")._repr_html_()
        assert "autotune explain loop_exp" in autotune.explain("log")._repr_html_()
        first_sentence = str(applied).partition(". ")[0]
        assert f"<td>{first_sentence}" in applied._repr_html_()
        assert applied.in_force
    assert not applied.in_force
    assert "qr" in of_this_machine(entry)._repr_html_()


def test_a_profile_in_a_cell_shows_the_speed_ups_that_tables_lead_with():
    states = {"expected_speedup": 1.25, "full_capacity_share": 0.1}
    choice = with_evidence(make_entry("qr", choice={"blas_threads": 1}, m=8, n=8), **states)
    refuted = make_entry("svd", status="default-kept", speedup=1.01, m=8, n=8)
    cell = profile(choice, refuted)._repr_html_()
    assert ("<td>1.25x</td>" in cell, "(10% of the time) it is 2.00x (1.82 to 2.22)" in cell, "1.01x" in cell) == (
        True,
        True,
        False,
    )


def test_without_apply_a_new_profile_is_read_too(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    refresh()
    assert autotune.config("qr", n=8) is None
    profile_files.write(
        of_this_machine(make_entry("qr", choice={"blas_threads": 1}, m=8, n=8)), folders.user_profiles() / "a.yaml"
    )
    refresh()
    assert autotune.config("qr", n=8) is not None
