"""Being here puts this folder on the path of every test: `from fakes import FakeBench`."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# a shell that starts the suite in the background has it, and every process that it starts, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)


# a pause of the machine is no verdict on a property
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items):
    """What meets real processes meets a machine's bad moments, too: what fails is run once more, and both are said."""
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(pytest.mark.flaky(reruns=1))
