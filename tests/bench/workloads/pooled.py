"""Functions whose work is done by an OpenMP pool, and by the calling thread next to one."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor


def fit(rows):
    """A fit, in scikit-learn's OpenMP loops."""
    x = np.random.default_rng(0).standard_normal((rows, 8))
    model = HistGradientBoostingRegressor(max_iter=4, early_stopping=False, random_state=0).fit(x, x[:, 0])
    return model.predict(x[:100])


def total(rows):
    """A sum, in the calling thread alone."""
    return sum(range(100 * rows))
