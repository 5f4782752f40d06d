#!/usr/bin/env python3
"""Print the package's files for meson.build, one line a folder, `target|file,file,...`.

With --version its version; with --stable-abi whether this Python has one, which a free-threaded Python has not.
"""

import re
import sys
import sysconfig
from pathlib import Path

SKIPPED = {"__pycache__"}
UNINSTALLED = {".c", ".h", ".so", ".pyc", ".build"}


def main() -> None:
    """Print what is asked for: by default every folder of the package, and the shipped profiles as one of them."""
    if "--stable-abi" in sys.argv:
        print("false" if sysconfig.get_config_var("Py_GIL_DISABLED") else "true")
        return
    root = Path(__file__).resolve().parents[1]
    if "--version" in sys.argv:
        version = (root / "src" / "autotune" / "_version.py").read_text(encoding="utf-8")
        print(re.findall(r'__version__ = "(.*)"', version)[0])
        return
    for folder in sorted([root / "src" / "autotune", *(root / "src" / "autotune").rglob("*")]):
        if folder.is_dir() and not SKIPPED.intersection(folder.parts):
            show(folder.relative_to(root / "src"), folder, root)
    show(Path("autotune", "profiles", "shipped"), root / "profiles", root)


def show(target: Path, folder: Path, root: Path) -> None:
    """Print the line of one folder, unless it holds nothing that is installed."""
    files = sorted(
        file.relative_to(root).as_posix()
        for file in folder.iterdir()
        if file.is_file() and file.suffix not in UNINSTALLED and not file.name.startswith(".")
    )
    if files:
        print(f"{target.as_posix()}|{','.join(files)}")


if __name__ == "__main__":
    main()
