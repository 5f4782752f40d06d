"""BLAS libraries that only remember their thread count."""

import threading
from ctypes import CFUNCTYPE, c_int, c_ssize_t

from autotune.controls.blas_setters import Library

STARTS_WITH = 8


class Remembering:
    """A library that remembers its count; `per_thread` ones, each thread's."""

    def __init__(
        self,
        name: str = "libopenblas",
        *,
        start: int = STARTS_WITH,
        ceiling: int | None = STARTS_WITH,
        largest: int = 64,
        per_thread: bool = False,
    ) -> None:
        self.largest = largest
        self.start = start
        self.counts: dict[int | None, int] = {}
        self.per_thread = per_thread
        # as C functions, which the core calls by their addresses
        self.library = Library(
            api="openblas",
            path=name,
            get=CFUNCTYPE(c_int)(self.get),
            put=CFUNCTYPE(c_int, c_ssize_t)(lambda count: self.put(count) or 0),
            per_thread=per_thread,
            ceiling=ceiling,
        )

    @property
    def whose(self) -> int | None:
        return threading.get_ident() if self.per_thread else None

    def get(self) -> int:
        return self.counts.get(self.whose, self.start)

    def put(self, count: int) -> int | None:
        self.counts[self.whose] = min(count, self.largest)
        return None


class ReturningPrevious(Remembering):
    """As MKL does: 0 stands for "as the process", and `put` returns what was there."""

    def __init__(self) -> None:
        super().__init__("libmkl_rt", per_thread=True)
        self.library.returns_previous = True

    def get(self) -> int:
        return self.counts.get(self.whose, 0) or self.start

    def put(self, count: int) -> int | None:
        previous = self.counts.get(self.whose, 0)
        self.counts[self.whose] = count
        return previous
