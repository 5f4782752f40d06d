"""`autotune advise` with real commands: nothing of them changes, and what they did is told, however they end."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from support.native import needs_core

pytestmark = [pytest.mark.real, needs_core]

WORK = "import numpy as np\na = np.ones((60, 60))\nfor _ in range(5): np.linalg.qr(a); a @ a\n"


def advise(tmp_path, *words, options=(), code=None, environ=(), **extra):
    """Advise on a command, or on this Python with some code; return the run and the advice."""
    command = words or (sys.executable, "-c", code)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "autotune",
            "advise",
            "--json",
            "-o",
            tmp_path / "advice.json",
            *options,
            "--",
            *command,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "AUTOTUNE_STATE_DIR": str(tmp_path), **dict(environ)},
        **extra,
    )
    path = tmp_path / "advice.json"
    return done, json.loads(path.read_text()) if path.exists() else None


def counts(advice):
    return {call["name"]: call["calls"] for call in advice["calls"] if call["name"] in {"qr", "matmul"}}


def test_a_command_keeps_its_streams_and_its_status_and_is_told_of(tmp_path):
    code = f"{WORK}import sys\nprint('out', sys.stdin.read())\nprint('err', file=sys.stderr)\nsys.exit(7)"
    done, advice = advise(tmp_path, code=code, input="in")
    assert (done.stdout, done.stderr, done.returncode) == ("out in\n", "err\n", 7)
    assert (counts(advice), advice["status"], advice["schema"]) == ({"qr": 5, "matmul": 5}, 7, "autotune.advise/1")
    assert advice["next"] == "calibrate" or advice["gain"]["open_share"] < 0.05


@pytest.mark.parametrize(("end", "status"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", 137), ("os.abort()", 134)])
def test_a_process_that_ends_at_once_loses_nothing(tmp_path, end, status):
    done, advice = advise(tmp_path, code=f"{WORK}import os\n{end}")
    assert (done.returncode, counts(advice)) == (status, {"qr": 5, "matmul": 5})


PARTS = """
import numpy as np, scipy.linalg
a = np.ones((400, 400)) + np.eye(400)
a[1:-1, 1:-1] = 2.0
a[0, 0] = 1.0
b = a[[1, 2, 3]]
c = a[1:9, np.array([1, 2])] + a[a[:, 0] > 9, :2].sum()
a[5] + a[6] + a[7, 8] + a[7, 8:][0] + a[..., 3]
np.random.default_rng(1).standard_normal(1000)
scipy.linalg.cho_solve(scipy.linalg.cho_factor(np.eye(30)), np.ones(30))
del a
"""


def test_assignments_indices_freed_arrays_random_numbers_and_scipy_are_recorded(tmp_path):
    _, advice = advise(tmp_path, code=PARTS)
    calls: Counter[str] = Counter()
    for call in advice["calls"]:
        calls[call["name"]] += call["calls"]
    expected = {
        "assign to part": 3,  # two of them by np.eye, to .flat
        "read by index": 3,  # by an array or a list among the indices
        "random.standard_normal": 1,
        "cholesky": 1,
        "lapack.potrs": 1,
    }
    assert {name: calls.get(name) for name in expected} == expected
    assert calls["free"] >= 1


ALL_OF_SCIPY = """
import numpy as np, scipy.fft, scipy.sparse, scipy.signal, scipy.ndimage, scipy.spatial, scipy.optimize
x = np.ones((40, 40))
scipy.signal.lfilter([1.0, 2.0], [1.0, 0.5], x)
scipy.ndimage.gaussian_filter(x, 1.0)
scipy.spatial.distance.cdist(x, x)
scipy.optimize.linear_sum_assignment(x)
"""


def test_functions_of_all_modules_of_scipy_are_recorded_in_one_program(tmp_path):
    _, advice = advise(tmp_path, code=ALL_OF_SCIPY)
    names = {call["name"] for call in advice["calls"]}
    expected = [
        "signal._linear_filter",
        "ndimage.correlate1d",
        "spatial.cdist_euclidean",
        "optimize.linear_sum_assignment",
    ]
    assert [name for name in expected if name not in names] == []


SHORT = """
import numpy as np
small, middle, large = np.ones(10), np.ones(100), np.ones(100_000)
for i in range(30_000):
    small + small
    if i % 3 == 0:
        middle + middle
    if i % 3000 == 0:
        large + large
"""


def test_short_calls_that_are_passed_over_are_counted_and_long_ones_are_never_passed_over(tmp_path):
    _, advice = advise(tmp_path, code=SHORT)
    calls = {call["size"]: call["calls"] for call in advice["calls"] if call["name"] == "add"}
    assert calls["n~1e+05"] == 10
    assert 40_000 - 127 <= calls["n~10"] + calls["n~1e+02"] <= 40_000 + 10
    # 10,000 of which each counts for 64 on average: a standard deviation of 9 %
    assert 5_500 < calls["n~1e+02"] < 14_500


MIXED = """
import time
import numpy as np
sizes = range(1, 12)
for m in sizes:
    for k in sizes:
        for n in sizes:
            np.ones((m, k)) @ np.ones((k, n))
few, many = np.ones(5, "f4"), np.random.default_rng(0).random(2_000_000)
began = time.perf_counter()
for _ in range(5):
    for _ in range(30_000):
        few.argmax()
    np.sort(many)
print(time.perf_counter() - began)
"""


def test_long_calls_among_many_short_ones_count_once_where_there_are_no_more_rows(tmp_path):
    done, advice = advise(tmp_path, code=MIXED)
    (mixed,) = (call for call in advice["calls"] if call["name"] == "other calls")
    assert 0.5 * float(done.stdout) < mixed["seconds"] < 1.1 * float(done.stdout)


CHILDREN = {
    "fork": f"import os\n{WORK}\nif os.fork() == 0:\n    a @ a\n    os._exit(0)\nos.wait()",
    "spawn": f"import subprocess, sys\n{WORK}\nsubprocess.run([sys.executable, '-c', 'import numpy as np; a = np.ones((60, 60)); a @ a'])",
    "exec": f"import os, sys\n{WORK}\nos.execv(sys.executable, [sys.executable, '-c', 'import numpy as np; a = np.ones((60, 60)); a @ a'])",
}  # fmt: skip


@pytest.mark.parametrize("way", CHILDREN)
def test_children_are_included(tmp_path, way):
    _, advice = advise(tmp_path, code=CHILDREN[way])
    assert counts(advice) == {"qr": 5, "matmul": 6}
    assert sum(process["processes"] for process in advice["processes"]) == 2


def test_a_child_whose_parent_has_ended_is_recorded(tmp_path):
    fork = f"import os, sys, time\n{WORK}\nif os.fork() == 0:\n    time.sleep(0.3)\n    a @ a\n    os._exit(0)"
    (tmp_path / "fork.py").write_text(fork)
    _, advice = advise(tmp_path, "sh", "-c", f"{sys.executable} {tmp_path / 'fork.py'}; sleep 1.5")
    assert counts(advice) == {"qr": 5, "matmul": 6}


FORK_WITHIN_A_CALL = """
import os, threading, numpy as np
class Forks:
    def __add__(self, _):
        if pid := os.fork():
            os.waitpid(pid, 0)
        else:
            np.ones(5) + 1
        return pid
a = np.ones((60, 60))
if np.add(np.array([Forks()], dtype=object), 1)[0] == 0:
    a @ a
    os._exit(0)
"""


def test_a_child_that_was_forked_within_a_call_counts_its_own_only(tmp_path):
    kept = tmp_path / "recording.json"
    advise(tmp_path, code=FORK_WITHIN_A_CALL, options=["--record", kept])
    parent, child = json.loads(kept.read_text())["processes"]
    assert [call["calls"] for call in parent["calls"] if call["dtype"] == "other"] == [1]
    assert [call for call in child["calls"] if call["dtype"] == "other"] == []
    assert (parent["most_at_once"], child["most_at_once"]) == (1, 1)


def test_calls_that_a_call_makes_are_no_calls_at_once(tmp_path):
    kept = tmp_path / "recording.json"
    advise(tmp_path, code=f"{WORK}np.random.rand(60, 60) @ a", options=["--record", kept])
    (process,) = json.loads(kept.read_text())["processes"]
    assert (process["threads"], process["most_at_once"]) == (1, 1)


def test_calls_of_scipy_at_many_sizes_share_rows(tmp_path):
    pytest.importorskip("scipy")
    code = "import numpy as np, scipy.linalg as s\nfor n in range(2, 402): s.cholesky(np.eye(n))"
    _, advice = advise(tmp_path, code=code, environ={"OPENBLAS_NUM_THREADS": "1"})
    names = {call["name"] for call in advice["calls"]}
    assert "cholesky" in names
    assert "other calls" not in names


def test_a_program_that_closes_all_descriptors_is_recorded(tmp_path):
    _, advice = advise(tmp_path, code=f"import os, numpy\nos.closerange(3, 256)\n{WORK}")
    assert counts(advice) == {"qr": 5, "matmul": 5}


def test_a_child_without_the_environment_is_not_seen_and_nothing_fails(tmp_path):
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import numpy'], env={{}})\n{WORK}"
    done, advice = advise(tmp_path, code=code)
    assert (done.returncode, counts(advice)) == (0, {"qr": 5, "matmul": 5})


def test_a_command_that_is_no_python_says_that_nothing_was_recorded(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "advise", "--", "sh", "-c", "echo out"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("out\n", 0)
    assert "No call of NumPy or SciPy was recorded" in done.stderr
    assert "Nothing to gain" in done.stderr


def test_a_python_that_never_imports_numpy_says_that_nothing_was_recorded(tmp_path):
    done, advice = advise(tmp_path, code="print('out')")
    assert (done.stdout, done.returncode, advice["calls"], advice["next"]) == ("out\n", 0, [], "nothing")


def test_on_one_terminal_the_advice_follows_what_the_command_printed(tmp_path):
    import pty

    words = [sys.executable, "-m", "autotune", "advise", "--", "sh", "-c", "printf 'no newline at the end'; exit 5"]
    controller, terminal = pty.openpty()
    done = subprocess.run(
        words, stdin=terminal, stdout=terminal, stderr=terminal, check=False, timeout=60,
        env={**os.environ, "AUTOTUNE_STATE_DIR": str(tmp_path)},
    )  # fmt: skip
    os.close(terminal)
    seen = os.read(controller, 65536).decode()
    os.close(controller)
    assert done.returncode == 5
    columns = 80  # of a new pseudo-terminal, whose size is unknown
    assert seen.startswith(f"no newline at the end{' ' * (columns - 1)}\rsh -c")
    assert "exit status 5, without a call of NumPy or SciPy" in " ".join(seen.split())


def test_advice_whose_file_cannot_be_written_goes_to_standard_error_with_the_status_of_the_command(tmp_path):
    (tmp_path / "file").touch()
    words = ["advise", "-o", str(tmp_path / "file" / "advice.txt"), "--", "sh", "-c", "exit 4"]
    done = subprocess.run(
        [sys.executable, "-m", "autotune", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4
    assert "could not be written" in done.stderr
    assert "nothing to advise on" in done.stderr


def test_a_command_that_does_not_exist_is_127_as_in_a_shell(tmp_path):
    done, advice = advise(tmp_path, "no-such-command")
    assert (done.returncode, advice) == (127, None)
    assert "no-such-command" in done.stderr


def test_advice_that_cannot_be_kept_is_printed_and_the_status_stays(tmp_path):
    done, _ = advise(tmp_path, "sh", "-c", "exit 4", options=["-o", tmp_path / "missing" / "advice.json"])
    assert done.returncode == 4
    assert "could not be written" in done.stderr
    assert '"schema"' in done.stderr


def test_without_the_core_the_advice_says_what_it_could_not_see(tmp_path):
    done, advice = advise(tmp_path, code=WORK, environ={"AUTOTUNE_NATIVE": "0"})
    assert (done.returncode, counts(advice)) == (0, {})
    assert "AUTOTUNE_NATIVE=0" in advice["trouble"][0]


def test_recording_stops_after_the_time_and_the_command_runs_on(tmp_path):
    code = f"import time\n{WORK}\ntime.sleep(1.5)\na @ a\nprint('end')"
    done, advice = advise(tmp_path, code=code, options=["--stop-after", "1s"])
    assert done.stdout == "end\n"
    assert (advice["status"], counts(advice).get("matmul", 0) <= 5) == (None, True)


def test_a_kept_recording_gives_the_same_advice(tmp_path):
    kept = tmp_path / "recording.json"
    _, advice = advise(tmp_path, code=WORK, options=["--record", kept])
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "advise", "--json", "-o", tmp_path / "again.json", "--recording", kept],
        timeout=60, check=True, env={**os.environ, "AUTOTUNE_STATE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads((tmp_path / "again.json").read_text()) == advice


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--recording", "missing.json", "--", "true"],
        ["--stop-after", "x", "--", "true"],
        ["--profile", "missing.yaml", "--", "true"],
    ],
)
def test_wrong_usage_is_refused(options):
    command = [sys.executable, "-m", "autotune", "advise", *options]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 2


def test_a_recording_that_is_no_file_is_refused_without_reading_it():
    command = [sys.executable, "-m", "autotune", "advise", "--recording", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "not a regular file" in done.stderr) == (1, True)
