"""`autotune calibrate --cpus`, measured for real."""

import json
import os
import subprocess
import sys

import pytest

two = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="this takes two CPUs and a system that can hold processes to one",
)


@two
@pytest.mark.real
def test_each_profile_is_measured_with_its_cpus_and_speaks_for_them(tmp_path):
    """The default of each is what plain NumPy does with its number of CPUs; with as many, its entries apply."""
    folders = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CONFIG", "STATE", "CACHE")}
    limits = ("AUTOTUNE_CPUS", "AUTOTUNE_PROCESSES", "AUTOTUNE_STATE_DIR", "AUTOTUNE_PROFILE", "AUTOTUNE_STORE")
    environ = {name: value for name, value in os.environ.items() if name not in limits} | folders
    command = [sys.executable, "-m", "autotune"]
    words = ["calibrate", "solve", "n=40", "--cpus", "1,2", "--budget", "10s", "--json"]
    done = subprocess.run([*command, *words], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)["profiles"]
    larger, smaller = (each["profile"] for each in written)
    assert (smaller["key"]["usable_cpus"], smaller["key"]["limit"]) == (1, "affinity")
    assert larger["key"]["usable_cpus"] == 2
    (entry,) = smaller["operations"]["solve"]["float64"]
    assert entry["evidence"]["default_threads"] == 1

    first = min(os.sched_getaffinity(0))
    code = f"import os, sys; os.sched_setaffinity(0, [{first}]); import autotune.__main__ as m; sys.exit(m.main())"
    answer = subprocess.run(
        [sys.executable, "-c", code, "explain", "solve", "n=40", "--json"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    (row,) = json.loads(answer.stdout)["operations"]
    # on a machine that is too busy to tell, or too slow for a proof, its entry leaves the word to the next level
    undecided = entry["status"] in {"noisy", "failed", "undecided"}
    assert undecided or row["source"] == written[1]["path"]
