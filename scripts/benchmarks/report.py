"""Time to draw a report: the page of one full profile, and of 20 compared, in headless Chromium.

Medians over fresh pages, which take turns. `in_view` is when the first screen stands, `drawn` when every figure
does, both in seconds since the page was asked for; `cpu` is what the page's thread worked for all of it, which a
busy machine changes little. The profile is calibrated on a simulated machine, so the page is always the same.
Exit code 1 if a median, or a page's size, is over its limit.

    python scripts/benchmarks/run report [--pages 7] [--json]
"""

import argparse
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {"one": 2.0, "twenty": 5.0}
"""Seconds until every figure is drawn."""
LARGEST = 5_000_000
"""Bytes of a page."""
PATIENCE = 120.0
"""Seconds for one page."""


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast a report draws in headless Chromium.")
    parser.add_argument("--pages", type=int, default=7, help="times that each page is opened")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        parser.error("needs Chromium")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(browser, made(Path(folder)), arguments.pages)
    if arguments.json:
        print(json.dumps({"results": results}, indent=2))
    else:
        for row in results:
            print(
                f"{row['name']:8} in view {row['in_view']:.2f} s, drawn {row['drawn']:.2f} s "
                f"(limit {row['limit']:.0f} s), cpu {row['cpu']:.2f} s, {row['figures']} figures, "
                f"{row['bytes'] / 1e6:.1f} MB"
            )
    return int(any(row["drawn"] > row["limit"] or row["bytes"] > LARGEST for row in results))


def made(folder: Path) -> dict[str, Path]:
    """Write the pages, as files."""
    from support.simulated_report import calibrated

    from autotune.report.page import page

    subject = calibrated(folder)
    twenty = [replace(subject, label=f"node-{number:02d}", sessions=()) for number in range(20)]
    pages = {}
    for name, subjects in (("one", [subject]), ("twenty", twenty)):
        pages[name] = folder / f"{name}.html"
        pages[name].write_text(page(subjects), "utf-8")
    return pages


def measure(browser: str, pages: dict[str, Path], times: int) -> list[dict[str, Any]]:
    """Yield one row a page. The first round fills the browser's caches, and is left out."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
    with opened(browser) as chromium:
        for turn in range(max(1, times) + 1):
            for name, path in pages.items():
                drawing = chromium.draw(path.as_uri())
                if turn:
                    seen[name].append(drawing)
    return [
        {
            "name": name,
            **{what: median(drawing[what] for drawing in seen[name]) for what in ("in_view", "drawn", "cpu")},
            "figures": seen[name][0]["figures"],
            "bytes": path.stat().st_size,
            "limit": LIMITS[name],
            "pages": len(seen[name]),
        }
        for name, path in pages.items()
    ]


class Chromium:
    """A browser at the other end of two pipes: its DevTools protocol, one JSON text after the other, ended by NUL."""

    def __init__(self, asks: int, answers: int) -> None:
        self._asks, self._answers, self._number, self._rest = asks, answers, 0, b""

    def draw(self, address: str) -> dict[str, float]:
        """Open a page, wait until it has drawn all, and close it. Raises TimeoutError."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Performance.enable", session, timeDomain="threadTicks")
        self.ask("Page.navigate", session, url=address)
        end = time.monotonic() + PATIENCE
        while not (state := self._state(session)):
            if time.monotonic() > end:
                raise TimeoutError(f"{address} is not drawn after {PATIENCE:.0f} s")
            time.sleep(0.2)
        metrics = self.ask("Performance.getMetrics", session)["metrics"]
        worked = next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")
        self.ask("Target.closeTarget", targetId=target)
        return {**state, "cpu": worked}

    def _state(self, session: str) -> dict[str, float] | None:
        """Tell when a page was drawn; None while it is not."""
        script = """(() => {
            const {seen, drawn} = document.documentElement.dataset;
            const figures = document.querySelectorAll("figure[data-kind]").length;
            return drawn && {in_view: seen / 1e3, drawn: drawn / 1e3, figures};
        })()"""
        result = self.ask("Runtime.evaluate", session, expression=script, returnByValue=True)["result"]
        return result.get("value") or None

    def ask(self, method: str, session: str | None = None, **what: Any) -> dict[str, Any]:
        """Ask and wait for the answer; events are passed over."""
        self._number += 1
        text = {"id": self._number, "method": method, "params": what, **({"sessionId": session} if session else {})}
        os.write(self._asks, json.dumps(text).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers, 1 << 16)
            if not more:
                raise ConnectionError("Chromium has ended")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer


@contextmanager
def opened(browser: str) -> Iterator[Chromium]:
    """Open a headless browser without a profile of its user's, closed at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        words = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", f"--user-data-dir={folder}")
        (reads, asks), (answers, writes) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (reads, writes)]
        # the protocol has fixed places: it is asked at 3 and answers at 4
        places = [(os.POSIX_SPAWN_DUP2, end, place) for end, place in zip(theirs, (3, 4), strict=True)]
        quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        command = [browser, "--remote-debugging-pipe", *words]
        process = os.posix_spawn(browser, command, os.environ, file_actions=[*places, quiet])
        for end in (reads, writes, *theirs):
            os.close(end)
        chromium = Chromium(asks, answers)
        try:
            yield chromium
        finally:
            os.close(asks)  # upon which it ends
            os.waitpid(process, 0)
            os.close(answers)


if __name__ == "__main__":
    sys.exit(main())
