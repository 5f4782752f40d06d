#!/usr/bin/env python3
"""Print the package's files for meson.build, one line a folder, `target|file,file,...`; with --version its version."""

import re
import sys
from pathlib import Path

SKIPPED = {"__pycache__"}
UNINSTALLED = {".c", ".h", ".so", ".pyc", ".build"}


def main() -> None:
    """Print the version, or every folder of the package, and the shipped profiles as one of them."""
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
