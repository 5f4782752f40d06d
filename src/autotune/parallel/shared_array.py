"""An array whose memory several processes see."""

from collections.abc import Callable
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from autotune.errors import SharedMemoryError


class SharedArray(np.ndarray):
    """An array in memory that other processes can open by its handle, until it is closed.

    Results of calculations with it are plain arrays. Slices of it share the memory but have no handle.
    """

    handle: Any = None
    """Handle that `attach` takes; pickles. None for a slice."""
    _release: Callable[[], object] | None = None

    def __array_wrap__(self, array: NDArray[Any], context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def close(self) -> None:
        """Give the memory back. From then on using the array, or attaching to its handle, is an error.

        A slice that is still referred to stays readable in this process; its pages go when it does.
        """
        if type(self) is not SharedArray:
            return
        release, self._release = self._release, None
        self.handle = None
        self.__class__ = ClosedArray
        if release is not None:
            release()

    def __del__(self) -> None:
        if self._release is not None:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ClosedArray(SharedArray):
    """State of a closed SharedArray: every use is an error that says so."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise SharedMemoryError("This shared array is closed; use it inside its `with` block, or copy it first.")

    def _name(self) -> str:
        return "<closed shared array>"

    def __getattribute__(self, name: str) -> Any:
        return super().__getattribute__(name) if name[0] == "_" or name in {"close", "handle"} else self._refuse()

    __getitem__ = __setitem__ = __iter__ = __len__ = __contains__ = _refuse
    __array_ufunc__ = __array_function__ = __reduce__ = __copy__ = __deepcopy__ = _refuse
    __repr__ = __str__ = _name


def wrap(
    buffer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], handle: Any, release: Callable[[], object] | None
) -> SharedArray:
    """Return a SharedArray over a buffer, with its handle and with what is to be done when it is closed."""
    array = np.frombuffer(buffer, np.uint8, count=int(np.prod(shape)) * dtype.itemsize)
    shared = array.view(dtype).reshape(shape).view(SharedArray)
    shared.handle = handle
    shared._release = release  # noqa: SLF001 - the two belong together
    return shared
