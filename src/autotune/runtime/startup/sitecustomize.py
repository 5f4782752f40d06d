# ruff: noqa: INP001 - Python looks for this file in a folder of its own, not in a package
"""What `autotune run` has every Python do when it starts; found through PYTHONPATH.

The environment and sys.path become what they would be without it, so that processes started from here do not
get it too (unless `--children` asks for that), and a sitecustomize of the user's own runs as ever. Then nothing
happens until the program imports NumPy; once that is complete, apply() is called. A Python that never imports
NumPy pays less than a millisecond, and one without autotune says so in one line and runs on.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WISH, CHILDREN = "AUTOTUNE_START", "AUTOTUNE_START_CHILDREN"
"""Set by `autotune run` (cli/run.py): "apply", or "reductions" for these too; and "1" to reach all later processes."""


def begin() -> None:
    """Leave no trace but the watch for NumPy."""
    wish = os.environ.get(WISH)
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes 4 ms to load
    sys.path[:] = [place for place in sys.path if place != here]
    if not os.environ.get(CHILDREN):
        os.environ.pop(WISH, None)
        places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        others = [place for place in places if place != here]
        os.environ["PYTHONPATH"] = os.pathsep.join(others)
        if not others:
            del os.environ["PYTHONPATH"]
    if wish:
        sys.meta_path.insert(0, _Watch(lambda: apply(wish)))
    _users_own()


def apply(wish: str) -> None:
    """Put the measured choices into force."""
    try:
        from autotune.runtime.apply import apply_from_start
    except ImportError:
        sys.stderr.write(f"autotune run: {sys.executable} has no autotune, so its calls run as without.\n")
    else:
        apply_from_start(reductions=wish == "reductions")


class _Watch:
    """A finder that finds NumPy as the others do, and acts when it has been loaded. Once."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._waiting = True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "numpy" or not self._waiting:
            return None
        self._waiting = False
        found = (
            finder.find_spec(name, path, target)
            for finder in sys.meta_path
            if finder is not self and hasattr(finder, "find_spec")
        )
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._act)  # type: ignore[assignment] # it has what is used of one
        return spec


class _Loader:
    """NumPy's own loader, for the moment between finding and loading; then that one is put in its place."""

    def __init__(self, loader: Any, act: Callable[[], None]) -> None:
        self._loader = loader
        self._act = act

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._act()


def _users_own() -> None:
    """Run the sitecustomize that this one hides."""
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found] # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        if ours is not None:
            sys.modules["sitecustomize"] = ours


if __name__ == "sitecustomize":
    begin()
