"""scikit-learn: apply() before fitting. Its own thread limits, and yours, stay limits."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

import autotune

with autotune.apply():  # PCA's SVD is SciPy's: switched call by call
    data = np.random.default_rng(0).standard_normal((2000, 30))
    reduced = PCA(n_components=5, svd_solver="full").fit_transform(data)
    groups = KMeans(n_clusters=4, n_init=1, random_state=0).fit(reduced)
    print("groups of", np.bincount(groups.labels_))
