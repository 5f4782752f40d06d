"""The recorded machines of tests/machines as folders that `detect` can read."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MACHINES = Path(__file__).parent.parent / "machines"
RECORDED = sorted(folder.name for folder in MACHINES.iterdir() if folder.is_dir())


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the files of a recorded machine and returns their root."""

    def unpack(name: str) -> Path:
        write_files(tmp_path / name, (MACHINES / name / "files").read_text())
        return tmp_path / name

    return unpack


@pytest.fixture
def expected() -> Callable[[str], dict[str, Any]]:
    return lambda name: json.loads((MACHINES / name / "expected.json").read_text())


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    """Writes files given in the notation of tests/machines and returns their root."""

    def write(text: str) -> Path:
        write_files(tmp_path / "root", text)
        return tmp_path / "root"

    return write


def write_files(root: Path, text: str) -> None:
    root.mkdir()
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, content = line.strip().partition(":")
        for path, number in _expand(pattern):
            target = root / path
            if path.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            body = content.strip().replace("{}", number)
            plain = re.sub(r"\\(.)", lambda escape: {"n": "\n", "t": "\t", "0": "\0"}.get(escape[1], escape[1]), body)
            target.write_bytes(plain.encode() + b"\n")


def _expand(pattern: str) -> Iterator[tuple[str, str]]:
    match = re.search(r"\{(\d+)-(\d+)\}", pattern)
    if not match:
        yield pattern, ""
        return
    for number in range(int(match[1]), int(match[2]) + 1):
        yield pattern.replace(match[0], str(number)), str(number)
