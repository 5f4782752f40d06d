"""Each guide shows its example as it is, and each example does what the guide says."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from autotune.cli.program import program
from autotune.profiles import profile_files

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
GUIDES = ROOT / "docs/guides"
SHOWN = re.compile(r"^`examples/([^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORDS = re.compile(r"\bautotune((?: +[^\s#|&;)]+)+)")
SHELLS = [EXAMPLES / "cluster.sh", EXAMPLES / "whole_command.sh", *sorted((EXAMPLES / "slurm").glob("*"))]
NEEDED = {"scikit_learn.py": "sklearn"}
ON_ITS_OWN = ["script.py", "scikit_learn.py", "own_function.py", "simulate.py", "container/quota.py"]


@pytest.fixture
def environment(tmp_path):
    """Separate folders, and `autotune` on the path."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "AUTOTUNE_HOST_ID" or not name.startswith("AUTOTUNE_")
    }
    places = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "STATE", "CACHE", "DATA")}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**kept, **places, "HOME": str(tmp_path), "PATH": path}


def run(*words, environment, folder=EXAMPLES, limit=240):
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=limit, env=environment, cwd=folder
    )


@pytest.mark.parametrize("guide", sorted(GUIDES.glob("*.md")), ids=lambda path: path.stem)
def test_a_guide_shows_its_examples_word_for_word(guide):
    shown = SHOWN.findall(guide.read_text("utf-8"))
    assert dict(shown) == {name: (EXAMPLES / name).read_text("utf-8") for name, _ in shown}


def test_every_example_is_named_in_the_documentation():
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    there = [str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.*") if "__pycache__" not in path.parts]
    assert there
    assert [name for name in there if f"examples/{name}" not in text] == []


@pytest.mark.real
@pytest.mark.parametrize("name", ON_ITS_OWN)
def test_an_example_runs_without_a_profile(name, environment):
    if not find_spec(NEEDED.get(name, "numpy")):
        pytest.skip(f"needs {NEEDED[name]}")
    done = run(sys.executable, name, environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.real
def test_the_container_s_program_sees_its_limit_and_holds_blas_to_it(environment):
    done = run(sys.executable, "container/quota.py", environment={**environment, "AUTOTUNE_CPUS": "1"})
    assert "usable CPUs: 1" in done.stdout
    assert "residual below 1e-9: True" in done.stdout


@pytest.mark.real
def test_the_web_service_answers(environment):
    with subprocess.Popen(
        [sys.executable, "web_service.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environment, "WEB_CONCURRENCY": "2"},
        cwd=EXAMPLES,
    ) as service:
        try:
            address = service.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert len(json.load(answer)["coefficients"]) == 20
        finally:
            service.send_signal(signal.SIGTERM)


@pytest.mark.real
def test_a_function_of_one_s_own_is_calibrated_and_found(environment, tmp_path):
    profile = tmp_path / "own.yaml"
    words = ("n=200000", "--budget", "20s", "--output", str(profile))
    done = run("autotune", "calibrate", "--workload", "own_function.py:smooth", *words, environment=environment)
    assert done.returncode == 0, done.stderr
    assert [entry.operation.name for entry in profile_files.read(profile).entries] == ["smooth"]
    used = run(sys.executable, "own_function.py", environment={**environment, "AUTOTUNE_PROFILE": str(profile)})
    assert used.stdout == "0.500000\n", used.stderr


@pytest.mark.real
def test_the_cells_of_the_notebook_run(environment, tmp_path):
    pytest.importorskip("IPython")
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # a kernel's cells have no file either: the function has to travel by its code
    kernel = (
        "import json, sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for cell in json.load(sys.stdin): shell.run_cell(cell).raise_error()"
    )
    done = subprocess.run(
        [sys.executable, "-c", kernel],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("(300, 300)\n")


@pytest.mark.real
def test_a_cluster_s_node_measures_publishes_and_pulls(environment, tmp_path):
    if not (find_spec("fsspec") and find_spec("cryptography")):
        pytest.skip("needs numpy-autotune[share]")
    store = tmp_path / "store"
    store.mkdir()
    done = run("sh", "cluster.sh", "25s", environment={**environment, "AUTOTUNE_STORE": str(store)})
    assert done.returncode == 0, done.stderr
    assert "1 host, 1 publication" in done.stdout
    assert list(store.rglob("*.json"))
    assert list(store.rglob("*.sig"))


@pytest.mark.real
def test_a_whole_command_is_tuned_and_run(environment):
    words = ("--budget", "40s", "--timeout", "30s", "--runs", "6")
    # the command as it stands has one thread here: more wait for each other on a machine that others use
    done = run("sh", "whole_command.sh", *words, environment={**environment, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("python simulate.py") >= 2
    assert len(re.findall(r"^rate: 0\.\d+$", done.stdout, re.MULTILINE)) == 2


@pytest.mark.parametrize("script", SHELLS, ids=lambda path: path.name)
def test_a_shell_script_can_be_read_by_a_shell(script):
    shell = shutil.which("bash" if script.suffix == ".sbatch" else "sh")
    if shell is None:
        pytest.skip("needs a shell")
    assert subprocess.run([shell, "-n", script], check=False).returncode == 0


@pytest.mark.parametrize("script", SHELLS, ids=lambda path: path.name)
def test_the_commands_of_a_shell_script_have_these_options(script):
    commands = commands_of(script.read_text("utf-8"))
    assert commands
    assert {words: refused(words) for words in commands} == dict.fromkeys(commands)


def test_the_manifests_of_kubernetes_are_whole():
    for path in sorted((EXAMPLES / "kubernetes").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text("utf-8"))
        pod = manifest["spec"]["template"]["spec"] if manifest["kind"] == "DaemonSet" else manifest["spec"]
        (container,) = pod["containers"]
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
        tool, *words = container["command"]
        assert tool == "autotune"
        assert refused(tuple(words)) is None


def test_the_dockerfile_runs_what_lies_next_to_it():
    text = (EXAMPLES / "container/Dockerfile").read_text("utf-8")
    assert set(re.findall(r"^(\w+) ", re.sub(r"^#.*$", "", text, flags=re.MULTILINE), re.MULTILINE)) <= {
        "FROM", "ARG", "RUN", "COPY", "CMD"
    }  # fmt: skip
    assert "/app/quota.py" in text
    assert (EXAMPLES / "container/quota.py").exists()
    assert refused(("calibrate", "--output", "/etc/autotune/profiles/two-cpus.yaml")) is None


def commands_of(script):
    """The words after `autotune` in every command of a script."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("#")]
    return [tuple(command.split()) for line in lines for command in WORDS.findall(line.split("  #")[0])]


def refused(words):
    """Why the command line does not take these words; None if it does. Nothing is run."""
    own = words[: words.index("--")] if "--" in words else words
    verb, *rest = own
    if CliRunner().invoke(program, [verb, "--help"]).exit_code:
        return f"there is no verb {verb}"
    command = program.get_command(click.Context(program), verb)
    if isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    options = {name for each in command.params for name in each.opts}
    strange = [word for word in rest if word.startswith("--") and word not in options]
    return f"{verb} has no {', '.join(strange)}" if strange else None
