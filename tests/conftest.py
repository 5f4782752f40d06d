"""Settings of all tests: hypothesis, second chances of real tests, and what a whole run must fulfil."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shell that starts the suite in the background has it, and every process that it starts, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests that run side by side expect all of the machine's CPUs, as tests that run alone do ...
os.environ.pop("PYTEST_XDIST_WORKER_COUNT", None)
# ... and each worker is a host of its own: two calibrations of one host would refuse each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["AUTOTUNE_HOST_ID"] = f"test-{os.getpid()}"

# A pause of the machine must not fail a property.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

MOST_RERUNS = 12
"""Second runs of `real` tests allowed in one session: each pays for a bad moment of the machine. More of them, two
in a hundred of these tests, means that a test, or the code, fails by chance."""


def pytest_addoption(parser):
    """Add the option for the file of outcomes."""
    parser.addoption(
        "--outcomes",
        metavar="FILE",
        help="write `passed NAME` or `skipped NAME: REASON` for each test; scripts/test compares such files",
    )


def pytest_collection_modifyitems(items):
    """Give each test of real processes a second run: it also meets the machine's bad moments. Order them."""
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    if "PYTEST_XDIST_WORKER" in os.environ:
        # real tests first, those of the whole project before all others: no worker then waits for a long test at the end
        items.sort(
            key=lambda item: (item.get_closest_marker("real") is None, item.path.parent != Path(__file__).parent)
        )


class Outcomes:
    """Counts second runs and notes which tests ran."""

    def __init__(self, path):
        self.path = path
        self.reruns = []
        self.lines = {}

    def pytest_runtest_logreport(self, report):
        """Note an outcome."""
        if report.outcome == "rerun":
            self.reruns.append(report.nodeid)
        elif report.skipped:
            reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.lines[report.nodeid] = f"skipped {report.nodeid}: {reason.removeprefix('Skipped: ')}"
        elif report.when == "call" and report.passed:
            self.lines[report.nodeid] = f"passed {report.nodeid}"

    def pytest_terminal_summary(self, terminalreporter):
        """Print the second runs."""
        if self.reruns:
            terminalreporter.section(f"second runs: {len(self.reruns)}, at most {MOST_RERUNS} are allowed")
            for name in self.reruns:
                terminalreporter.line(name)

    def pytest_sessionfinish(self, session):
        """Fail a session with too many second runs, and write the outcomes."""
        if len(self.reruns) > MOST_RERUNS and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.path:
            Path(self.path).write_text("".join(f"{line}\n" for line in self.lines.values()))


def pytest_configure(config):
    """Register the counter in the main process of a run."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Outcomes(config.getoption("--outcomes")))
