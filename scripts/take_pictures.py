"""Take the pictures of the README with Chromium: a terminal and a report, both of a shipped profile.

python scripts/take_pictures.py          writes docs/figures/terminal.png and docs/figures/report.png
"""

import html
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs/figures"
PROFILE = min((ROOT / "profiles").glob("authenticamd-*.yaml"))
TERMINAL = ("show", "epyc.yaml", "sin", "stack_inv", "qr")
LINES = 35
PAGE = """<!doctype html><meta charset="utf-8"><body style="margin:0;background:#1c2128">
<pre style="font:14px/1.35 'DejaVu Sans Mono',monospace;color:#d5dbe3;padding:16px;margin:0">$ autotune {words}
{text}</pre>"""


def autotune(*words: str, folder: Path = ROOT) -> str:
    """Run a verb of this checkout in a folder and return its output."""
    environ = {**os.environ, "COLUMNS": "110", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "autotune", *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True).stdout


def take(page: Path, picture: Path, width: int, height: int) -> None:
    """Draw a page in a window of this size and write what it shows."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000"]
    subprocess.run(
        [browser, *options, f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri()],
        check=True,
        capture_output=True,
    )


def main() -> None:
    """Take both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        shutil.copy(PROFILE, Path(folder) / TERMINAL[1])
        lines = autotune(*TERMINAL, folder=Path(folder)).splitlines()[:LINES]
        text = html.escape("\n".join(lines))
        page.write_text(PAGE.format(words=html.escape(" ".join(TERMINAL)), text=text), "utf-8")
        take(page, FIGURES / "terminal.png", 980, 60 + 19 * (len(lines) + 1))
        autotune("report", str(PROFILE), "--output", str(page))
        take(page, FIGURES / "report.png", 1100, 900)


if __name__ == "__main__":
    main()
