"""The environment of `autotune run` reaches any Python, and leaves no trace there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from autotune.cli.run import startup_variables

pytestmark = pytest.mark.real

VERSIONS = ("2.7", *(f"3.{minor}" for minor in range(6, 15)))
LOOK = (
    "import os, sys; print('%s %s %s %s' % (os.environ.get('OWN'), os.environ.get('PYTHONPATH'),"
    " os.environ.get('AUTOTUNE_START'), [each for each in sys.path if 'startup' in each]))"
)


def interpreter(version):
    """The path of an interpreter, on the path or among pyenv's."""
    named = shutil.which(f"python{version}") or shutil.which(version)
    roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    paths = [named] if named and "shims" not in named else []
    paths += [str(each) for each in sorted(roots.glob(f"{version}.*/bin/python"))]
    if not paths:
        pytest.skip(f"needs Python {version}")
    return paths[0]


def run(version, tmp_path, *options, own="", code=LOOK):
    (tmp_path / "sitecustomize.py").write_text(f"import os\nos.environ['OWN'] = 'ran'\n{own}")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        **startup_variables({"PYTHONPATH": str(tmp_path)}, reductions=False, children=False),
    }
    return subprocess.run(
        [interpreter(version), *options, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("version", [*VERSIONS, "pypy3"])
def test_every_python_starts_without_a_word_and_runs_the_users_sitecustomize(version, tmp_path):
    done = run(version, tmp_path)
    assert (done.stdout.strip(), done.stderr) == (f"ran {tmp_path} None []", "")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_options_that_switch_site_or_the_environment_off_switch_this_off(version, option, tmp_path):
    if (version, option) == ("2.7", "-I"):
        pytest.skip("Python 2.7 has no -I")
    done = run(version, tmp_path, option)
    assert (done.stdout.split()[0], done.stderr) == ("None", "")


@pytest.mark.parametrize("version", VERSIONS[1:])  # 2.7 swallows it
def test_an_error_in_the_users_sitecustomize_is_told_as_ever(version, tmp_path):
    done = run(version, tmp_path, own="import no_such_module_of_mine\n")
    assert "no_such_module_of_mine" in done.stderr
    assert "AUTOTUNE_START" not in done.stderr
    assert done.stdout.split()[1:3] == [str(tmp_path), "None"]


@pytest.mark.parametrize("version", VERSIONS[:-5])  # those that autotune cannot be installed for
def test_a_python_without_autotune_says_so_when_it_loads_numpy(version, tmp_path):
    (tmp_path / "numpy.py").write_text("loaded = True\n")
    done = run(version, tmp_path, code="import numpy; print(numpy.loaded)")
    assert done.stdout == "True\n"
    lines = done.stderr.splitlines()
    assert lines == [] if version == "2.7" else len(lines) == 1 and "has no autotune" in lines[0]
