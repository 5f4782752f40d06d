"""Which profile applies on this machine; remembered, so that looking at it does not load NumPy each time."""

import json
import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autotune.host.trusted_files import replace_file
from autotune.profiles.folders import cache_dir
from autotune.profiles.resolve import depends_on, resolve

KERNEL_CHOICES = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "BLIS_ARCH_TYPE")
"""Variables by which a BLAS library runs other kernels, which a profile has to fit."""


def applying() -> Path | None:
    """The profile that speaks first on this machine; None if none does.

    Scope of effect: loads NumPy, whose BLAS is part of what a profile has to fit, unless the answer is known
    and nothing that it depends on has changed.
    """
    circumstances = _circumstances()
    memo = Path(cache_dir()) / "applying.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memo.read_bytes())
        if known["circumstances"] == circumstances:
            return Path(known["path"])
    import numpy as np  # noqa: F401 - its BLAS is what is asked for

    path = next((Path(found.path) for found in resolve().entries()), None)
    if path is not None:
        with suppress(OSError):
            memo.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            text = json.dumps({"circumstances": circumstances, "path": str(path)})
            replace_file(memo, text.encode(), 0o600)
    return path


def _circumstances() -> list[Any]:
    """What the answer depends on, as plain values: profiles, CPUs, and which NumPy is installed."""
    spec = find_spec("numpy")
    installed = os.stat(spec.origin) if spec and spec.origin else None  # noqa: PTH116 - a system call
    numpy = installed and [installed.st_ino, installed.st_ctime_ns]
    asked = [os.environ.get(name) for name in ("AUTOTUNE_PROFILE", *KERNEL_CHOICES)]
    found: list[Any] = json.loads(json.dumps([depends_on(), numpy, asked]))
    return found
