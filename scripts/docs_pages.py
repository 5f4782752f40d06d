"""Pages of the documentation that live elsewhere in the repository. A hook of MkDocs (mkdocs.yml names it).

The README is the first page, so that nothing is said twice; its links are turned to where the pages are.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]

ELSEWHERE = {
    "index.md": "README.md",
    "architecture.md": "src/autotune/README.md",
    "profiles.md": "profiles/README.md",
    "changes.md": "CHANGELOG.md",
}
"""Pages of the site, and the files that they are."""

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages. MkDocs calls it."""
    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, content=turned((ROOT / path).read_text("utf-8"), path)))
    return files


def turned(text: str, path: str) -> str:
    """A file's text, its links to other files turned into links between pages of the site."""
    pages = {source: page for page, source in ELSEWHERE.items()}

    def target(link: re.Match[str]) -> str:
        meant = os.path.normpath(Path(path).parent / link[1])
        return pages.get(meant) or meant.removeprefix("docs/")

    return LINK.sub(target, text)
