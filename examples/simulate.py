"""A program that knows nothing of autotune.

    autotune tune --budget 5m -- python simulate.py --steps 100
    autotune run -- python simulate.py --steps 100

It does the same work each time that it is run.
"""

import argparse

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=20)
steps = parser.parse_args().steps

state = np.eye(100)
noise = np.random.default_rng(0).standard_normal((100, 100)) / 100
for _ in range(steps):
    state, _ = np.linalg.qr(state + noise)
print(f"rate: {np.abs(np.diag(state)).mean():.6f}")
