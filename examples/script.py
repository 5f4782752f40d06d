"""A script: one import and one line at its start, and two loops that say what they are."""

import numpy as np

import autotune

autotune.apply()  # every call of numpy.linalg and scipy.linalg with its own thread count


def whitened(samples: np.ndarray) -> np.ndarray:
    """Samples without correlation. Nothing in here knows of autotune."""
    centred = samples - samples.mean(axis=0)
    u, _, vt = np.linalg.svd(centred, full_matrices=False)
    return u @ vt


def main() -> None:
    rng = np.random.default_rng(0)
    white = whitened(rng.standard_normal((600, 40)))
    print("covariance is diagonal:", np.allclose(white.T @ white, np.eye(40)))

    x = autotune.random(1_000_000, seed=1)  # standard normal, the same numbers on every machine
    y = autotune.map_blocks(np.exp, x)  # np.exp(x), with the measured workers
    print("mean of exp:", round(float(autotune.reduce_blocks(np.add, y)) / y.size, 3))
    print(autotune.explain("svd"))


if __name__ == "__main__":
    main()
