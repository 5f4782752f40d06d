"""The BLAS libraries in this process, NumPy and Python."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.model.software import BlasLibrary, Software


def libraries(*, load: bool = False) -> "tuple[BlasLibrary, ...]":
    """Return every BLAS library loaded now, NumPy's first; none if there are none, or none that can be recognised.

    NumPy's and SciPy's wheels each bring a copy of their own, with threads of its own; SciPy's appears once
    `scipy.linalg` has been imported. Apple's Accelerate, ATLAS, the reference BLAS and statically linked
    libraries cannot be seen (threadpoolctl #135, #136). FlexiBLAS is loaded next to the library that it passes calls
    on to. With `load`, NumPy is imported first if need be.
    """
    from autotune.model.software import BlasLibrary

    return tuple(
        BlasLibrary(**_description(pool), threads=pool.get("num_threads"), path=pool.get("filepath"), user=pool["user"])
        for pool in _pools(load=load)
    )


def passes_calls_on(api: str) -> bool:
    """Does a library of this API compute nothing itself?"""
    return api == "flexiblas"


_FIELDS = {"blas": "api", "blas_version": "version", "kernels": "kernels", "threading": "threading", "ilp64": "ilp64"}
"""Fields of Software by those of BlasLibrary."""


def software(*, load: bool = False) -> "Software":
    """Return the software part of a profile's key. Fields are None for what is not loaded or not known.

    Of FlexiBLAS and the library that it passes calls on to, the latter decides the answer and is named.

    Without `load`, call it after NumPy has been imported: its BLAS is unknown before.
    """
    from autotune.model.software import Software

    return Software(**software_fields(load=load))


def software_fields(*, load: bool = False) -> dict[str, Any]:
    """Return the fields of software(), without the data type: every tuned program compares them at start."""
    pools = [pool for pool in _pools(load=load) if pool["user"] != "scipy"]
    computing = min(pools, key=lambda pool: passes_calls_on(pool["internal_api"]), default=None)
    described = {} if computing is None else _description(computing)
    named = {field: described.get(name) for field, name in _FIELDS.items()}
    return named | {"numpy": _numpy(), "python": python_build()}


def _pools(*, load: bool) -> list[dict[str, Any]]:
    """List what is known of each BLAS library, and its `user`: NumPy's first."""
    from autotune.host.threadpools import blas_controllers  # with ctypes, 4 ms that `autotune run` does without

    if load:
        import numpy as np  # noqa: F401 - importing it is what loads its BLAS
    pools = [library.info() for library in blas_controllers()]
    pools = [pool | {"user": brought_by(pool.get("filepath") or "")} for pool in pools]
    return sorted(pools, key=lambda pool: ("numpy", None, "scipy").index(pool["user"]))


def _description(pool: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a BlasLibrary that are part of a profile's key."""
    return {
        "api": pool["internal_api"],
        "version": pool.get("version"),
        "kernels": pool.get("architecture") or pool.get("current_backend"),
        "threading": pool.get("threading_layer"),
        "ilp64": pool.get("ilp64"),
    }


def brought_by(path: str) -> str | None:
    """Return the package whose wheel brought a library, in `numpy.libs`, or in `numpy/.dylibs` on macOS."""
    parts = path.replace("\\", "/").split("/")
    return next((name for name in ("numpy", "scipy") if {name, f"{name}.libs"} & set(parts[:-1])), None)


def _numpy() -> str | None:
    """Return major.minor of NumPy; None before it is loaded."""
    version = getattr(sys.modules.get("numpy"), "__version__", None)
    return None if version is None else series(version)


def series(version: str) -> str:
    """Return a version without its patch level: "2.3" of "2.3.5"."""
    return ".".join(version.split(".")[:2])


def isolating_tool(prefix: str = sys.prefix) -> str | None:
    """Return the tool, uvx or pipx, that keeps an environment for one command; None for any other environment."""
    from pathlib import Path

    folder = Path(prefix)
    if (folder / "uv-receipt.toml").exists() or "archive-v0" in folder.parts:
        return "uvx"
    return "pipx" if (folder / "pipx_metadata.json").exists() else None


def python_build() -> str:
    """Return the build of Python: "gil" or "free-threaded"."""
    if sys.version_info < (3, 13):
        return "gil"
    import sysconfig

    return "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "gil"
