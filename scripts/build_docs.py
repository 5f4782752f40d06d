"""Build the documentation with Sphinx, and follow every link of the built pages. `scripts/docs` sets it up.

    python scripts/build_docs.py [FOLDER]

The pages are those of docs/, those made from elsewhere in the repository (ELSEWHERE), and the examples that pages link
to. They are gathered in one folder, with their links turned to it. Warnings of Sphinx are errors.
"""

import json
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]

ELSEWHERE = {
    "architecture.md": "src/autotune/README.md",
    "profiles.md": "profiles/README.md",
    "changes.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "conduct.md": "CODE_OF_CONDUCT.md",
}
"""Pages of the site, and the files that they are made from."""

OPERATIONS = ("<!-- operations: scripts/build_docs.py -->\n", "\n<!-- end of operations -->")
"""Marks around the table of the catalogue, which a test compares with operations_table()."""
GAINS = "<!-- gains: README.md -->"

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


class Page(HTMLParser):
    """Links of a page, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and the anchor of a tag."""
        for name, value in attrs:
            if value and name in {"href", "src"} and tag != "base":
                self.links.append(value)
            elif value and name == "id":
                self.anchors.add(value)


def main() -> int:
    """Gather the pages, build them, and print dead links."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/site").resolve()
    pages = site.with_name(f"{site.name}-pages")
    gather(pages)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-j", "1"]
    if subprocess.run([*command, str(pages), str(site)], cwd=ROOT, check=False).returncode:
        return 1
    publish_schemas(site)
    dead = list(dead_links(site))
    for page, link in dead:
        print(f"{page}: dead link {link}", file=sys.stderr)
    print(f"{site / 'index.html'}")
    return 1 if dead else 0


def gather(pages: Path) -> None:
    """Copy all pages and examples into a folder, which is made anew."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    shutil.copytree(ROOT / "examples", pages / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    sources = {path.relative_to(pages).as_posix(): f"docs/{path.relative_to(pages)}" for path in pages.glob("**/*.md")}
    for name, source in {**sources, **ELSEWHERE}.items():
        text = turn_links((ROOT / source).read_text("utf-8"), source, name)
        if GAINS in text:
            text = text.replace(GAINS, gains_table())
        (pages / name).write_text(text, "utf-8")


def gains_table() -> str:
    """Return the README's table of gains."""
    _, _, after = (ROOT / "README.md").read_text("utf-8").partition("<!-- gains:")
    return after.partition("-->")[2].partition("<!-- end of gains -->")[0].strip()


def operations_table() -> Iterator[str]:
    """Yield the lines of the table of the catalogue, with the sizes that calibration takes by itself."""
    from autotune.bench import ladder
    from autotune.model.catalogue import CATALOGUE

    yield "| operation | knobs | quick | normal |"
    yield "|---|---|---|---|"
    for row in CATALOGUE.values():
        columns = []
        for effort in ("quick", "normal"):
            sizes = ladder.sizes(row, machine_l2=2 << 20, machine_l3=32 << 20, memory_bytes=16 << 30, effort=effort)
            columns.append("; ".join(" ".join(f"{name}={value}" for name, value in size.items()) for size in sizes))
        yield f"| `{row.name}` | {', '.join(map(str, row.knobs))} | {' | '.join(columns)} |"


def publish_schemas(site: Path) -> None:
    """Put each JSON Schema of profiles at the address in its `$id`."""
    for schema in sorted((ROOT / "src/autotune/profiles").glob("*.schema.json")):
        address = site / urlsplit(json.loads(schema.read_text("utf-8"))["$id"]).path.removeprefix("/")
        address.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(schema, address)


def turn_links(text: str, source: str, page: str) -> str:
    """Return the text of a file of the repository with its links turned into links from a page of the site."""
    made = {path: name for name, path in ELSEWHERE.items()} | {"README.md": "index.md"}

    def target(link: re.Match[str]) -> str:
        place, mark, anchor = link[1].partition("#")
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
        page_path = made.get(meant) or meant.removeprefix("docs/")
        return posixpath.relpath(page_path, posixpath.dirname(page) or ".") + mark + anchor

    return LINK.sub(target, text)


def dead_links(site: Path) -> Iterator[tuple[str, str]]:
    """Yield links to pages, files and anchors that do not exist; other sites are not asked."""
    # the theme ships templates among its files
    paths = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)
    pages = {path: Page(path.read_text("utf-8")) for path in paths}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target_page = pages.get(target)
            if not target.exists() or (
                parts.fragment and target_page and unquote(parts.fragment) not in target_page.anchors
            ):
                yield str(path.relative_to(site)), link


if __name__ == "__main__":
    sys.exit(main())
