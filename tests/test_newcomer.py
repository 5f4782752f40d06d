"""From a clean checkout to a report in the browser: the commands that the README shows, in a fresh environment."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PARTS = ("src", "scripts", "profiles", "pyproject.toml", "meson.build", "meson.options", "README.md", "LICENSE")
SHOWN = re.compile(r"In a checkout, with Python 3.11 or newer:\n\n```console\n(.*?)```", re.DOTALL)
LITTLE = {"scripts/calibrate": ["log", "--effort", "quick", "--budget", "15s"]}
"""So that a test of the path is no calibration of the machine."""


def commands():
    (console,) = SHOWN.findall((ROOT / "README.md").read_text("utf-8"))
    lines = [line.removeprefix("$ ").partition("#")[0].split() for line in console.splitlines()]
    return [words for words in lines if words != ["scripts/test"]]  # which runs this test


def test_two_commands_are_enough():
    assert [words[0] for words in commands()] == ["scripts/calibrate", ".venv/bin/autotune"]


@pytest.mark.real
def test_a_newcomer_sees_a_report(tmp_path):
    """With the packages of an index, which a machine without a network has not."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, checkout / name)
    if (wheel := ROOT / "build/wheel").exists():  # scripts/test has built it from these files
        shutil.copytree(wheel, checkout / "build/wheel")
    places = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "STATE", "CACHE", "DATA")}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "AUTOTUNE_HOST_ID" or not name.startswith(("AUTOTUNE_", "VIRTUAL_ENV"))
    }
    calibrate, report = commands()
    assert report[-1] == "--open"
    for words in ([*calibrate, *LITTLE[calibrate[0]]], report[:-1]):
        done = subprocess.run(
            words, cwd=checkout, env={**kept, **places}, capture_output=True, text=True, check=False, timeout=900
        )
        if "could not be set up" in done.stderr:
            pytest.skip("needs a package index")
        assert done.returncode == 0, done.stderr
    page = checkout / "autotune-report.html"
    assert page.stat().st_size > 100_000
    if BROWSER is None:
        pytest.skip("needs a browser")
    drawn = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=10000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "<svg" in drawn.stdout
