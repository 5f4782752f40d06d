"""Builds the documentation, and follows every link in the pages that came of it. `scripts/docs` sets it up.

MkDocs knows of dead links in Markdown only; what docstrings and generated pages link to is seen in the pages.

    python scripts/build_docs.py [FOLDER]
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        for name, value in attrs:
            if value and name in {"href", "src"} and tag != "base":
                self.links.append(value)
            elif value and name == "id":
                self.anchors.add(value)


def main() -> int:
    """Build, follow, tell."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/site").resolve()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        return 1
    dead = list(dead_links(site))
    for page, link in dead:
        print(f"{page}: dead link {link}", file=sys.stderr)
    print(f"{site / 'index.html'}")
    return 1 if dead else 0


def dead_links(site: Path) -> Iterator[tuple[str, str]]:
    """Links to pages, files and anchors that are not there; other sites are not asked."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.exists() or (
                parts.fragment and known and unquote(parts.fragment) not in known.anchors
            ):
                yield str(path.relative_to(site)), link


if __name__ == "__main__":
    sys.exit(main())
