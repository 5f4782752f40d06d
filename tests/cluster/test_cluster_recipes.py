"""Files for batch systems and for Kubernetes: well-formed, whole nodes, nothing cut short or run by accident."""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.programs import printed

from autotune.cli.cluster import calibrate
from autotune.cli.program import program
from autotune.cluster.batch_script import BatchRequest, BatchSystem, batch_script
from autotune.errors import UsageError

RECIPES = Path(__file__).parents[2] / "examples" / "cluster"
WHOLE_NODES = {
    "slurm": ["#SBATCH --exclusive", "#SBATCH --cpus-per-task=16"],
    "pbs": ["#PBS -l place=excl", "#PBS -l select=1:ncpus=16:mem=8GB"],
    "lsf": ["#BSUB -x", "#BSUB -n 16", '#BSUB -R "span[hosts=1]"'],
    "sge": ["#$ -l exclusive=true", "#$ -pe smp 16"],
}


def made(batch, *, words=("svd",), store="/nfs/autotune", **wanted):
    options = {"cpus": 64, "program": ("python3", "-m", "autotune"), "calibrate": words, "store": store, **wanted}
    return batch_script(batch, BatchRequest(**options))


def is_bash(text):
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False, timeout=300)
    return done.stderr == ""


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="this takes bash")


@needs_bash
@pytest.mark.parametrize("batch", BatchSystem)
def test_every_batch_file_is_bash(batch):
    assert is_bash(made(batch, partition="long", constraint="a&b", store="/a folder/it's"))


@pytest.mark.parametrize(
    ("batch", "line"),
    [
        (BatchSystem.SLURM, "#SBATCH --exclusive"),
        (BatchSystem.PBS, "#PBS -l place=scatter:excl"),
        (BatchSystem.LSF, "#BSUB -x"),
        (BatchSystem.SGE, "#$ -l exclusive=true"),
    ],
)
def test_nodes_are_asked_for_whole(batch, line):
    assert line in made(batch).splitlines()


def test_what_is_asked_for_stands_in_the_head():
    head = made(BatchSystem.SLURM, nodes=3, partition="long", constraint="icelake", minutes=95).partition("set -")[0]
    assert head.splitlines()[2:] == [
        "#SBATCH --nodes=3",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --exclusive",
        "#SBATCH --mem=0",
        "#SBATCH --time=95",
        "#SBATCH --partition=long",
        "#SBATCH --constraint=icelake",
        "# Calibrates one kind of node with autotune: submit it once for each kind.",
    ]


@needs_bash
def test_each_node_measures_into_a_file_of_its_own_and_publishes_that(tmp_path):
    """Run, with programs in place of srun and autotune that say what they are asked."""
    log = tmp_path / "told"
    (tmp_path / "srun").write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
    (tmp_path / "fake").write_text(f'#!/bin/bash\necho "$AUTOTUNE_STORE" "$@" >> "{log}"\n')
    for name in ("srun", "fake"):
        (tmp_path / name).chmod(0o755)
    text = batch_script(
        BatchSystem.SLURM,
        BatchRequest(program=(str(tmp_path / "fake"),), calibrate=["svd", "--effort", "quick"], store="/it's here"),
    )
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CPUS_ON_NODE": "4", "TMPDIR": str(tmp_path)}
    done = subprocess.run(["bash"], input=text, text=True, capture_output=True, env=environ, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = log.read_text().splitlines()
    place = re.fullmatch(r"/it's here calibrate svd --effort quick --output (\S+)", first)
    assert place is not None
    assert second == f"/it's here store publish {place[1].replace('node.yaml', 'node*.yaml')}"
    assert not Path(place[1]).parent.exists()


@pytest.mark.parametrize("batch", [BatchSystem.PBS, BatchSystem.SGE])
def test_where_a_job_is_held_to_what_it_asks_for_the_cpus_have_to_be_said(batch):
    with pytest.raises(UsageError, match="--cpus"):
        made(batch, cpus=None)


@pytest.mark.parametrize("field", ["partition", "constraint"])
def test_nothing_ends_a_line_of_the_file(field):
    with pytest.raises(UsageError, match="cannot stand"):
        made(BatchSystem.SLURM, **{field: "long\nrm -rf /"})


@needs_bash
@settings(max_examples=25)  # each starts a shell
@given(st.sampled_from(list(BatchSystem)), st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"])))
def test_whatever_a_store_is_called_the_file_is_bash(batch, store):
    assert is_bash(made(batch, store=store))


@needs_bash
@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        ("calibrate", ["doctor", "calibrate --cpus 1,4,all", "store publish"]),
        ("job", ["store pull --store /nfs/autotune", "run -- python simulate.py"]),
    ],
)
def test_the_batch_files_of_the_slurm_page_run_to_their_end(tmp_path, name, verbs):
    log = tmp_path / "told"
    (tmp_path / "srun").write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
    (tmp_path / "autotune").write_text(f'#!/bin/bash\necho "$@" >> "{log}"\n[[ $2 != pull ]]\n')
    for fake in ("srun", "autotune"):
        (tmp_path / fake).chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CPUS_PER_TASK": "4", "TMPDIR": str(tmp_path)}
    file = RECIPES.with_name("slurm") / f"{name}.sbatch"
    done = subprocess.run(["bash", file], capture_output=True, text=True, env=environ, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    said = log.read_text().splitlines()
    assert [line.startswith(verb) for line, verb in zip(said, verbs, strict=True)] == [True] * len(verbs)


@pytest.mark.parametrize("page", ["guides/slurm.md", "cluster.md"])
def test_each_page_s_command_for_a_batch_file_prints_one(page, monkeypatch, tmp_path):
    """Without any configuration, as the page has none."""
    monkeypatch.delenv("AUTOTUNE_STORE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    text = (RECIPES.parents[1] / "docs" / page).read_text("utf-8")
    said = [run(*words.split()).stdout for words in re.findall(r"autotune cluster script (--[^`>\n]+)", text)]
    assert said
    assert all(text.startswith("#!/bin/bash") for text in said)


def run(*words, environ=None):
    return CliRunner().invoke(program, ["cluster", "script", *words], env=environ)


def test_the_command_prints_the_file_alone(tmp_path):
    result = run("--slurm", "svd", "--budget", "20m", "--store", str(tmp_path))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "calibrate svd --effort normal --budget 1200s" in result.stdout
    assert "#SBATCH --time=30" in result.stdout


@pytest.mark.parametrize(
    "words", [[], ["--slurm", "nonsense"], ["--pbs"], ["--slurm", "--nodes", "0"], ["--slurm", "--budget", "x"]]
)
def test_what_makes_no_file_is_wrong_usage(words, tmp_path):
    assert run(*words, "--store", str(tmp_path)).exit_code == 2


def test_without_a_store_there_is_nothing_to_share(tmp_path):
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "AUTOTUNE_STORE": ""}
    assert run("--slurm", environ=environ).exit_code == 2


PRINTS_ALL = """
import runpy, sys
for name in {systems}:
    sys.argv = ["nodes.py", name, *"--nodes 2 --cpus 16 --store /nfs/autotune --queue long --print".split()]
    try:
        runpy.run_path({script}, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0
    print("END OF FILE")
"""


@pytest.fixture(scope="module")
def printed_files():
    """The batch file of each system; one process prints them all."""
    if not find_spec("dask_jobqueue"):
        pytest.skip("needs dask-jobqueue")
    text = printed(PRINTS_ALL.format(systems=list(WHOLE_NODES), script=repr(str(RECIPES / "nodes.py"))))
    return dict(zip(WHOLE_NODES, text.split("END OF FILE\n")[:-1], strict=True))


@pytest.mark.real
@pytest.mark.parametrize("name", WHOLE_NODES)
def test_a_recipe_asks_for_whole_nodes_with_one_worker_each(name, printed_files):
    file = printed_files[name]
    assert is_bash(file)
    assert [line for line in WHOLE_NODES[name] if line not in file.splitlines()] == []
    assert "--nthreads 1 " in file


def objects():
    return {
        manifest["kind"] + "/" + manifest["metadata"]["name"]: manifest for manifest in yaml.safe_load_all(KUBERNETES)
    }


KUBERNETES = (RECIPES / "kubernetes.yaml").read_text("utf-8")


def pod(name):
    return objects()[name]["spec"]["template"]["spec"]


def test_the_workers_of_the_kubernetes_recipe_are_on_different_nodes_with_a_limit_of_their_own():
    spec = pod("Deployment/autotune-worker")
    (worker,) = spec["containers"]
    assert worker["resources"]["requests"] == worker["resources"]["limits"]
    (rule,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = objects()["Deployment/autotune-worker"]["spec"]["template"]["metadata"]["labels"]
    assert (rule["topologyKey"], rule["labelSelector"]["matchLabels"]) == ("kubernetes.io/hostname", labels)


def test_the_kubernetes_recipe_s_command_and_addresses_are_real():
    (client,) = pod("Job/autotune-calibrate")["containers"]
    options = {name for parameter in calibrate.params for name in parameter.opts}
    assert client["command"][:3] == ["autotune", "cluster", "calibrate"]
    assert {word for word in client["command"] if word.startswith("--")} <= options
    service = objects()["Service/autotune-scheduler"]
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert address in client["command"]
    assert address in pod("Deployment/autotune-worker")["containers"][0]["command"]
    labels = objects()["Deployment/autotune-scheduler"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels


def test_accounts_services_and_free_directives_stand_in_the_head():
    text = made(BatchSystem.SLURM, account="physics", qos="low", directives=("--gres=none",))
    for line in ("--account=physics", "--qos=low", "--gres=none"):
        assert f"#SBATCH {line}" in text.splitlines()


def test_shapes_and_signatures_are_passed_to_the_nodes(tmp_path):
    result = run("--slurm", "--shapes", "1,4,all", "--sign", "--nodes", "1", "--store", str(tmp_path))
    assert "--cpus 1,4,all" in result.stdout
    assert "store publish --sign" in result.stdout
    assert result.stderr == ""


def test_one_node_without_a_signature_is_warned_of(tmp_path):
    assert "confirms nothing" in run("--slurm", "--nodes", "1", "--store", str(tmp_path)).stderr
