"""A piece of NumPy work: a name, a dtype, sizes."""

from typing import Annotated, Literal, get_args

from autotune.model.constraints import AsMapping, Name, SizeValue
from autotune.model.record import Record

Dtype = Literal["float64", "float32", "complex128", "complex64"]
DTYPES: tuple[str, ...] = get_args(Dtype)
REAL_DTYPES = DTYPES[:2]

WORKLOAD_MARK = "__autotune_workload__"
"""Attribute of a function that is marked as work to calibrate; its value is the name of the function's entries."""


class Operation(Record, kw_only=True):
    """A name of the catalogue (or of a user's function), a dtype and all its sizes."""

    name: Name
    dtype: str = "float64"
    sizes: Annotated[tuple[tuple[Name, SizeValue], ...], AsMapping()] = ()
    """(size name, value) in the catalogue's order."""

    @property
    def size(self) -> dict[str, int]:
        """The sizes by name."""
        return dict(self.sizes)

    def is_within(self, other: "Operation") -> bool:
        """Return whether no size is larger than that of the other operation, which has the same size names."""
        sizes = other.size
        return all(value <= sizes[name] for name, value in self.sizes)

    def __str__(self) -> str:
        sizes = " ".join(f"{name}={value}" for name, value in self.sizes)
        return f"{self.name} {self.dtype} {sizes}".rstrip()
