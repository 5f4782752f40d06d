"""Being here puts this folder on the path of every test: `from fakes import FakeBench`."""

import signal

import pytest

# a shell that starts the suite in the background has it, and every process that it starts, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """What meets real processes meets a machine's bad moments, too: what fails is run once more, and both are said."""
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(pytest.mark.flaky(reruns=1))
