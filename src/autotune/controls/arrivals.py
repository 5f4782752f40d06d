"""Notices when SciPy has loaded the BLAS that it brings along."""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_BRINGS_BLAS = "scipy.linalg._fblas"
"""The first of SciPy's modules that is linked to its own BLAS; others are imported right after it."""


def when_scipy_arrives(act: Callable[[], object]) -> None:
    """Call `act` once SciPy's BLAS has been loaded. Nothing is done if it already is, or is watched for.

    Watches among the finders, which every import asks for its module: when SciPy's next module is asked
    for, its BLAS is loaded. The watch finds no module itself and replaces nothing. It stays there, inert,
    since taking an entry out of sys.meta_path makes an import in another thread skip one of Python's own.
    """
    if _BRINGS_BLAS in sys.modules or any(isinstance(finder, _Watch) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Watch(act))


class _Watch:
    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def find_spec(
        self, _name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self._act is not None and _BRINGS_BLAS in sys.modules:
            act, self._act = self._act, None
            act()
        return None
