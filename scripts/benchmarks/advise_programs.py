"""Programs that `advise` and `calibrate -- CMD` are tried on: `python -m benchmarks.advise_programs NAME [ROUNDS]`.

Two of a course on parallel NumPy, then five in the style of other projects, each with its origin. A program prints a
number that depends on its results. With `serve` in place of ROUNDS it prints the seconds since its process was started,
and then, for each line of standard input, a number of rounds, the seconds that they took.
"""

import os
import sys
import time

import numpy as np


def course_matrices(rounds: int) -> float:
    """Decompose and multiply matrices of several sizes, as in a course on BLAS threads."""
    rng = np.random.default_rng(1)
    total = 0.0
    for _ in range(rounds):
        for n in (60, 120, 240):
            a = rng.standard_normal((n, n))
            q, _ = np.linalg.qr(a)
            total += float(np.linalg.svd(a @ q, compute_uv=False)[0])
    return total


def course_arrays(rounds: int) -> float:
    """Fill, compute and reduce arrays of a million elements, as in a course on threads."""
    x = np.linspace(0.1, 1.0, 1_000_000)
    total = 0.0
    for number in range(rounds):
        y = np.exp(-x * number / rounds) * np.sqrt(x) + np.log(x)
        total += float(y.sum())
    return total


def heat(rounds: int) -> float:
    """Integrate the heat equation on a grid (the stencil `heat_3d`, in two dimensions, of PolyBench and NPBench)."""
    u = np.zeros((400, 400))
    u[0] = 1.0
    for _ in range(20 * rounds):
        u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
    return float(u.sum())


def nbody(rounds: int) -> float:
    """Compute the gravitation of 100 bodies by pairwise distances (`nbody` of NPBench, after P. Mocz)."""
    rng = np.random.default_rng(2)
    place, speed, mass = rng.standard_normal((100, 3)), rng.standard_normal((100, 3)), np.full(100, 0.2)
    for _ in range(20 * rounds):
        apart = place[None] - place[:, None]
        force = (apart * ((apart**2).sum(axis=2) + 0.01)[..., None] ** -1.5 * mass[None, :, None]).sum(axis=1)
        speed += 0.01 * force
        place += 0.01 * speed
    return float(np.abs(place).sum())


def k_means(rounds: int) -> float:
    """Run Lloyd's algorithm with distances by a product (as scikit-learn's KMeans computes them)."""
    rng = np.random.default_rng(3)
    points = rng.standard_normal((20_000, 16))
    centres = points[:32].copy()
    squares = (points**2).sum(axis=1)
    for _ in range(rounds):
        distances = squares[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
        nearest = distances.argmin(axis=1)
        counts = np.maximum(np.bincount(nearest, minlength=32), 1)
        sums = np.stack([np.bincount(nearest, points[:, axis], minlength=32) for axis in range(16)], axis=1)
        centres = sums / counts[:, None]
    return float(centres.sum())


def gaussian_process(rounds: int) -> float:
    """Compute the marginal likelihood of a Gaussian process over length scales (as in GPy; R&W algorithm 2.1)."""
    from scipy.linalg import cho_solve, cholesky

    rng = np.random.default_rng(4)
    x = rng.random((300, 2))
    y = np.sin(6 * x[:, 0]) + x[:, 1]
    apart = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    total = 0.0
    for number in range(rounds):
        factor = cholesky(np.exp(-apart / (0.1 + number / rounds)) + 1e-6 * np.eye(300), lower=True)
        total -= 0.5 * float(y @ cho_solve((factor, True), y)) + float(np.log(np.diag(factor)).sum())
    return total


def spectrum(rounds: int) -> float:
    """Compute the power spectrum of noisy signals by windows (Welch's method, as in SciPy's and obspy's examples)."""
    from scipy import fft

    rng = np.random.default_rng(5)
    window = np.hanning(1024)
    total = 0.0
    for _ in range(rounds):
        signal = rng.standard_normal(2**18) + np.sin(np.arange(2**18) / 7)
        segments = np.lib.stride_tricks.sliding_window_view(signal, 1024)[::512] * window
        total += float((np.abs(fft.rfft(segments, axis=1)) ** 2).mean(axis=0).max())
    return total


SERVE = "serve"
PROGRAMS = {
    "course_matrices": course_matrices,
    "course_arrays": course_arrays,
    "heat": heat,
    "nbody": nbody,
    "k_means": k_means,
    "gaussian_process": gaussian_process,
    "spectrum": spectrum,
}


def seconds_since_start() -> float:
    """Return the seconds since this process was started: proc(5), field `starttime` of stat."""
    with open("/proc/self/stat", encoding="ascii") as stat:  # noqa: PTH123
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def serve(name: str) -> None:
    """Run as many rounds as each line of standard input says; print the seconds."""
    print(f"{seconds_since_start():.6f}", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        PROGRAMS[name](int(line))
        print(f"{time.perf_counter() - began:.9f}", flush=True)


if __name__ == "__main__":
    if sys.argv[2:] == [SERVE]:
        serve(sys.argv[1])
    else:
        print(f"{PROGRAMS[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 50):.6g}")
