"""Exploration, confirmation and decision: from measurements to a calibration."""

TYPE_CHECKING = False  # type checkers read it as True
if TYPE_CHECKING:
    from autotune.search.grid_sampler import GridSampler as GridSampler


def __getattr__(name: str) -> object:
    if name != "GridSampler":
        raise AttributeError(f"module 'autotune.search' has no attribute {name!r}")
    from autotune.search.grid_sampler import GridSampler  # loads Optuna, which takes 0.2 s

    return GridSampler
