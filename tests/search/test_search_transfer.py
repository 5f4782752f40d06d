"""What earlier profiles suggest to try first."""

import json

from fakes import FakeBench
from hypothesis import given
from hypothesis import strategies as st
from made_profiles import profile, tuning

from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.model.tuning import Status
from autotune.search.calibrate import calibrate
from autotune.search.request import Request
from autotune.search.site import Site
from autotune.search.transfer import SUGGESTIONS, choices, read_choices, suggestions, written

QR = Operation(name="qr", sizes=(("m", 200), ("n", 200)))


def threads(count):
    return Configuration(blas_threads=count)


def known(*tunings):
    return choices([profile(*tunings)])


def test_the_nearest_size_is_suggested_first():
    far, near = (tuning(choice={"blas_threads": n // 100}, m=n, n=n) for n in (1600, 300))
    assert suggestions(known(far, near), QR) == [threads(3), threads(16)]


def test_the_same_operation_comes_before_a_nearer_size_of_a_relative():
    svd = tuning("svd", choice={"blas_threads": 1}, m=200, n=200)
    qr = tuning("qr", choice={"blas_threads": 2}, m=800, n=800)
    assert suggestions(known(svd, qr), QR) == [threads(2), threads(1)]


def test_of_one_size_the_same_dtype_comes_first():
    single = tuning(choice={"blas_threads": 1}, dtype="float32", m=200, n=200)
    double = tuning(choice={"blas_threads": 2}, m=200, n=200)
    assert suggestions(known(single, double), QR) == [threads(2), threads(1)]


def test_another_family_and_a_default_that_was_kept_suggest_nothing():
    kept = tuning(m=200, n=200)
    noisy = tuning(choice={"blas_threads": 1}, status=Status.NOISY, m=200, n=200)
    assert suggestions(known(kept, noisy, tuning("sqrt", choice={"workers": 2}, n=200)), QR) == []


def test_a_users_function_has_no_relatives_but_itself():
    own = Operation(name="mine", sizes=(("n", 10),))
    entries = known(tuning("mine", choice={"workers": 2}, n=20), tuning("yours", choice={"workers": 3}, n=10))
    assert suggestions(entries, own) == [Configuration(workers=2)]


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 8)), max_size=12))
def test_suggestions_are_few_different_and_do_not_depend_on_the_order_of_profiles(entries):
    tunings = [tuning(choice={"blas_threads": count}, m=n, n=n) for n, count in dict(entries).items()]
    found = suggestions(known(*tunings), QR)
    assert len(found) == len(set(found)) <= SUGGESTIONS
    assert found == suggestions(known(*reversed(tunings)), QR)


def test_choices_come_back_from_json_as_they_were():
    entries = known(tuning(choice={"blas_threads": 3}, m=1, n=2), tuning("share", choice={"workers": 2}, n=7))
    assert read_choices(json.loads(json.dumps(written(entries)))) == entries


def test_a_calibration_tries_what_is_known_before_anything_else_in_a_large_space():
    bench = FakeBench(lambda operation, configuration, luck: 0.01)
    request = Request(operations=("qr",), sizes=({"m": 200, "n": 200},), budget_seconds=60)
    site = Site(usable_cpus=64, default_threads=64)
    proved = known(tuning(choice={"blas_threads": 23}, m=300, n=300))

    list(calibrate(request, site=site, bench=bench, report=lambda _: None, known=proved))

    assert bench.plans[0].cases[0].configurations[0] == threads(23)
