"""One calibration for all tests of the room: half a second of a simulated machine's minutes."""

import pytest
from support.simulated_report import calibrated

OPERATIONS = ("qr", "matmul", "log", "share", "batch_matmul")


@pytest.fixture(scope="session")
def subject(tmp_path_factory):
    return calibrated(tmp_path_factory.mktemp("report"), OPERATIONS, budget=90.0)
