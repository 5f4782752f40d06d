"""Fit levels of profiles."""

from enum import StrEnum


class Level(StrEnum):
    """Best first; for each operation the first level that covers its size is used."""

    EXPLICIT = "explicit"
    """In a file that the user named."""
    HOST = "this-host"
    """Measured on this host, with this allocation."""
    CLASS = "same-class"
    """Measured on another host with the same key, and confirmed."""
    STALE = "stale"
    """Same hardware, another patch version of the BLAS library."""
    ALLOCATION = "other-allocation"
    """Same hardware and software, another number of usable CPUs or kind of limit."""
    DEFAULT = "default"
    """Nothing measured fits: NumPy's own behaviour."""
