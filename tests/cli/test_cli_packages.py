"""The command line with the required packages only: the extras [calibrate] and [share] are not installed."""

import json

import pytest
from support.profile_builders import alone, make_entry, of_this_machine
from support.programs import printed

from autotune.profiles import profile_files

WITHOUT_EXTRAS = """
    import json, sys
    from autotune.errors import EXTRAS

    class NotInstalled:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {*sum(EXTRAS.values(), ()), "platformdirs", "dask"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, NotInstalled())
    from click.testing import CliRunner
    from autotune.cli.program import program

    results = {}
    for words in WORDS:
        done = CliRunner().invoke(program, words.split())
        results[words] = [done.exit_code, done.output or repr(done.exception)]
    print(json.dumps(results))
"""

ENOUGH = ("--help", "show", "explain svd", "doctor", "nproc --why", "env", "report some.yaml --output page.html")
IN_EXTRA = (
    "calibrate log n=1000",
    "tune -- true",
    "compare -- true",
    "verify some.yaml",
    "cluster calibrate tcp://127.0.0.1:1",
)


@pytest.mark.real
def test_verbs_that_apply_profiles_need_no_extra_and_others_name_theirs(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    profile_files.write(of_this_machine(make_entry("qr", m=8, n=8)), tmp_path / "some.yaml")
    results = json.loads(printed(WITHOUT_EXTRAS.replace("WORDS", repr(ENOUGH + IN_EXTRA)), folder=tmp_path))
    assert {words: results[words][1] for words in ENOUGH if "Error" in results[words][1]} == {}
    assert (tmp_path / "page.html").stat().st_size > 100_000
    assert {words: results[words][0] for words in IN_EXTRA} == dict.fromkeys(IN_EXTRA, 3)
    assert {words for words in IN_EXTRA if "pip install" not in results[words][1]} == set()
