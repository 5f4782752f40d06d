"""A container with a quota: NumPy's BLAS starts a thread for every CPU of the host, the quota stops them all together.

    docker run --cpus 2 app
    AUTOTUNE_CPUS=1 python quota.py        the same limit without a container

Without a profile too, apply() keeps BLAS to the CPUs that there are.
"""

import json
import subprocess
import sys

import numpy as np

import autotune

applied = autotune.apply()
answer = subprocess.run(
    [sys.executable, "-m", "autotune", "doctor", "--json"], capture_output=True, text=True, check=True
)
allocation = json.loads(answer.stdout)["allocation"]
print("usable CPUs:", allocation["usable_cpus"], "limited by:", allocation["limit"])
print(applied)

a = np.random.default_rng(0).standard_normal((200, 200))
print("residual below 1e-9:", bool(np.abs(a @ np.linalg.inv(a) - np.eye(200)).max() < 1e-9))
