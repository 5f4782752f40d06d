"""A test that is skipped in every run is found, and told with its reason."""

import pytest
from check_outcomes import main, skipped_everywhere

CORE = "passed tests/a.py::test_one\nskipped tests/a.py::test_two: AUTOTUNE_NATIVE=0 turns the C core off.\n"
NO_CORE = "skipped tests/a.py::test_one: AUTOTUNE_NATIVE=0 turns the C core off.\nskipped tests/a.py::test_three[x: y]: needs a browser\n"


def test_a_test_that_ran_once_is_no_fault():
    assert "tests/a.py::test_one" not in skipped_everywhere([CORE, NO_CORE])


@pytest.fixture
def judged(tmp_path):
    def judge(*texts):
        paths = [tmp_path / f"{number}.txt" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, "utf-8")
        return main([str(path) for path in paths])

    return judge


def test_a_test_that_ran_nowhere_fails_with_its_reason(judged, capsys):
    assert judged(CORE, NO_CORE) == 1
    assert "tests/a.py::test_two ran nowhere: AUTOTUNE_NATIVE=0 turns the C core off." in capsys.readouterr().err


def test_what_a_machine_cannot_have_is_allowed(judged):
    assert judged(NO_CORE, "passed tests/a.py::test_one\n") == 0


def test_what_only_a_later_run_has_is_not_judged(judged):
    assert judged("passed tests/a.py::test_one\n", "skipped tests/a.py::test_one[NOTSET]: AUTOTUNE_NATIVE=0.\n") == 0
