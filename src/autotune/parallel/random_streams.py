"""Random numbers: one stream for every block of a fixed size, so that no number depends on the thread that draws it.

Block b (in C order, of BLOCK elements) comes from the generator

    numpy.random.Generator(numpy.random.PCG64DXSM(numpy.random.SeedSequence(seed, spawn_key=(b,))))

which is NumPy's own way to make streams for parallel work: the seed and the number of the block are hashed into the
state (https://numpy.org/doc/stable/reference/random/parallel.html). It costs 8 us a block. Philox, counter-based by
construction, gave half as many uniform numbers a second and four fifths of the normal ones.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autotune.controls.placement import Placed
from autotune.errors import UsageError
from autotune.model.configuration import Placement
from autotune.parallel import result_memory, thread_pool
from autotune.parallel.operands import shape_of
from autotune.parallel.tiles import check_counts

BLOCK = 65_536
"""Elements. Part of what a seed means; never tuned."""
OUT_METHODS = frozenset({"random", "standard_normal", "standard_exponential", "standard_gamma"})
"""Methods of numpy.random.Generator that write into an array given to them."""

SCALAR_METHODS = frozenset({
    *("beta", "binomial", "chisquare", "exponential", "f", "gamma", "geometric", "gumbel", "hypergeometric"),
    *("integers", "laplace", "logistic", "lognormal", "logseries", "negative_binomial", "noncentral_chisquare"),
    *("noncentral_f", "normal", "pareto", "poisson", "power", "rayleigh", "standard_cauchy", "standard_t"),
    *("triangular", "uniform", "vonmises", "wald", "weibull", "zipf"),
})  # fmt: skip
"""Methods whose every number is independent of the others."""

Seed = int | None | np.random.SeedSequence | list[int] | tuple[int, ...]


def random(
    shape: int | tuple[int, ...],
    method: str,
    dtype: DTypeLike,
    seed: Seed,
    parameters: Mapping[str, Any],
    *,
    workers: int,
    chunk: int,
    placement: Placement | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Draw random numbers from a method of numpy.random.Generator; the same for every `workers` and `chunk`,
    and for every `placement` (on which CPUs the workers run, this thread during the call too).

    Without a seed every call gives other numbers. Raises UsageError for a method whose numbers are not independent of
    each other, for parameters that are not single numbers, and for an `out` that does not fit.
    """
    check_counts(workers, chunk)
    if method not in OUT_METHODS | SCALAR_METHODS:
        raise UsageError(f"random has no method {method!r}; it has {', '.join(sorted(OUT_METHODS | SCALAR_METHODS))}.")
    for name, value in parameters.items():
        if np.ndim(value):
            raise UsageError(f"{method}: {name} must be a single number, since the stream is cut into blocks.")
    if out is not None and not (out.flags.c_contiguous and out.flags.writeable):
        raise UsageError("out must be a writable array in C order.")
    options, kind = dict(parameters), np.dtype(dtype)
    if method in OUT_METHODS or method == "integers":
        options["dtype"] = kind
    source = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    array = result_memory.empty(shape_of(shape), kind) if out is None else out
    flat = array.reshape(-1)
    blocks = -(-flat.size // BLOCK)
    at_once = max(1, chunk // BLOCK)

    def step(number: int) -> None:
        for block in range(number * at_once, min(blocks, (number + 1) * at_once)):
            part = flat[block * BLOCK : (block + 1) * BLOCK]
            draw = getattr(generator(source, block), method)
            if method in OUT_METHODS:
                draw(out=part, **options)
            else:
                np.copyto(part, draw(size=part.size, **options), casting="same_kind")

    with Placed(placement):
        thread_pool.run(lambda: step, -(-blocks // at_once), workers)
    return array


def generator(source: np.random.SeedSequence, block: int) -> np.random.Generator:
    """Return the generator of one block."""
    key = (*source.spawn_key, block)
    sequence = np.random.SeedSequence(source.entropy, spawn_key=key, pool_size=source.pool_size)
    return np.random.Generator(np.random.PCG64DXSM(sequence))
