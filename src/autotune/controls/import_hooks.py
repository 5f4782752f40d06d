"""Notices when modules of SciPy have been imported."""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def when_imported(modules: Sequence[str], act: Callable[[], object]) -> None:
    """Call `act` once all of these have been imported: now, or when the next module after them is asked for.

    What is expected of the same modules later takes this one's place. `act` must not raise: the exception
    would surface in an unrelated import.
    """
    if are_imported(modules):
        act()
    else:
        _watch().expected[tuple(modules)] = act


def expect_no_longer(modules: Sequence[str]) -> None:
    for finder in sys.meta_path:
        if isinstance(finder, _Watch):
            finder.expected.pop(tuple(modules), None)


def are_imported(modules: Sequence[str]) -> bool:
    """Are these modules imported completely? Python marks those whose code still runs."""
    if any(name not in sys.modules for name in modules):
        return False
    specs = [getattr(sys.modules[name], "__spec__", None) for name in modules]
    return not any(getattr(spec, "_initializing", False) for spec in specs)


class _Watch:
    """A finder that finds no module. Every import calls it, which shows that earlier imports are complete.

    It replaces nothing. It stays among the finders, inert, once nothing is expected any more, since taking an
    entry out of sys.meta_path makes an import in another thread skip one of Python's own.
    """

    def __init__(self) -> None:
        self.expected: dict[tuple[str, ...], Callable[[], object]] = {}

    def find_spec(
        self, _name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.expected:
            for modules in list(self.expected):
                if are_imported(modules):
                    act = self.expected.pop(modules, None)
                    if act is not None:
                        act()
        return None


def _watch() -> _Watch:
    for finder in sys.meta_path:
        if isinstance(finder, _Watch):
            return finder
    watch = _Watch()
    sys.meta_path.insert(0, watch)
    return watch
