"""Warm starts from earlier profiles."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.calibration_runs import environment_of, run_calibration
from support.fake_bench import FakeBench
from support.profile_builders import KEY, make_entry, profile

from autotune.model.configuration import Configuration
from autotune.model.entry import Status
from autotune.model.operation import Operation
from autotune.profiles.profile_document import decode_profile, encode_profile
from autotune.search.request import Request
from autotune.search.warm_starts import SUGGESTIONS, choices_proved, suggestions, warm_starts

QR = Operation(name="qr", sizes=(("m", 200), ("n", 200)))


def threads(count):
    return Configuration(blas_threads=count)


def starts(*entries, cpus=8):
    return warm_starts([profile(*entries, key=replace(KEY, usable_cpus=cpus))])


def test_the_nearest_size_is_suggested_first():
    far, near = (make_entry(choice={"blas_threads": n // 100}, m=n, n=n) for n in (1600, 300))
    assert suggestions(starts(far, near, cpus=16), QR, 16) == [threads(3), threads(16)]


def test_the_same_operation_comes_before_a_nearer_size_of_a_relative():
    svd = make_entry("svd", choice={"blas_threads": 1}, m=200, n=200)
    qr = make_entry("qr", choice={"blas_threads": 2}, m=800, n=800)
    assert suggestions(starts(svd, qr), QR, 8) == [threads(2), threads(1)]


def test_of_one_size_the_same_dtype_comes_first():
    single = make_entry(choice={"blas_threads": 1}, dtype="float32", m=200, n=200)
    double = make_entry(choice={"blas_threads": 2}, m=200, n=200)
    assert suggestions(starts(single, double), QR, 8) == [threads(2), threads(1)]


def test_other_dtypes_follow_in_an_order_that_every_process_has():
    dtypes = ("complex128", "complex64", "float32", "float64")
    entries = [make_entry(choice={"blas_threads": n}, dtype=each, m=200, n=200) for n, each in enumerate(dtypes, 1)]
    assert suggestions(starts(*entries), QR, 8)[:4] == [threads(4), threads(1), threads(2), threads(3)][:SUGGESTIONS]


def test_another_family_and_a_default_that_was_kept_suggest_nothing():
    kept = make_entry(m=200, n=200)
    noisy = make_entry(choice={"blas_threads": 1}, status=Status.NOISY, m=200, n=200)
    assert suggestions(starts(kept, noisy, make_entry("sqrt", choice={"workers": 2}, n=200)), QR, 8) == []


def test_a_users_function_has_no_relatives_but_itself():
    own = Operation(name="mine", sizes=(("n", 10),))
    entries = starts(make_entry("mine", choice={"workers": 2}, n=20), make_entry("yours", choice={"workers": 3}, n=10))
    assert suggestions(entries, own, 8) == [Configuration(workers=2)]


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 8)), max_size=12))
def test_suggestions_are_few_different_and_do_not_depend_on_the_order_of_profiles(entries):
    entries = [make_entry(choice={"blas_threads": count}, m=n, n=n) for n, count in dict(entries).items()]
    choices = suggestions(starts(*entries), QR, 8)
    assert len(choices) == len(set(choices)) <= SUGGESTIONS
    assert choices == suggestions(starts(*reversed(entries)), QR, 8)


def test_between_two_sizes_what_the_rule_says_comes_first():
    small = make_entry(choice={"blas_threads": 1}, speedup=5.0, others=[({"blas_threads": 2}, 1 / 0.22)], m=100, n=100)
    large = make_entry(choice={"blas_threads": 4}, speedup=5.0, others=[({"blas_threads": 2}, 1 / 0.22)], m=400, n=400)
    assert suggestions(starts(small, large), QR, 8) == [threads(2), threads(1), threads(4)]


def test_with_fewer_cpus_what_was_measured_within_them_comes_first_then_all_of_them():
    entry = make_entry(choice={"blas_threads": 8}, speedup=5.0, others=[({"blas_threads": 3}, 1 / 0.3)], m=200, n=200)
    assert suggestions(starts(entry), QR, 4) == [threads(3), threads(2), threads(4)]


def test_with_more_cpus_as_many_come_first_then_the_same_share():
    assert suggestions(starts(make_entry(choice={"blas_threads": 3}, m=200, n=200)), QR, 16) == [threads(3), threads(6)]


def test_threads_of_other_pools_follow_those_of_blas():
    entry = make_entry(choice={"blas_threads": 1, "openmp_threads": 4}, m=200, n=200)
    assert suggestions(starts(entry), QR, 16) == [
        Configuration(blas_threads=1, openmp_threads=4),
        Configuration(blas_threads=2, openmp_threads=8),
    ]


def test_of_two_counts_none_of_the_cpus_is_left_over():
    batch = Operation(name="batch_matmul", sizes=(("n", 300), ("tasks", 100)))
    entry = make_entry("batch_matmul", choice={"blas_threads": 3, "workers": 5}, n=300, tasks=100)
    assert suggestions(starts(entry, cpus=16), batch, 8) == [
        Configuration(blas_threads=4, workers=2),
        Configuration(blas_threads=2, workers=4),
    ]


def test_the_lessons_of_the_nearer_kin_come_first():
    near, far = (starts(make_entry(choice={"blas_threads": count}, m=200, n=200)) for count in (2, 1))
    assert suggestions([*near, *far], QR, 8) == [threads(2), threads(1)]


def test_warm_starts_come_back_from_json_as_they_were():
    entries = starts(make_entry(choice={"blas_threads": 3}, m=1, n=2), make_entry("share", choice={"workers": 2}, n=7))
    assert [decode_profile(json.loads(json.dumps(encode_profile(each)))) for each in entries] == entries


def test_profiles_that_proved_nothing_teach_nothing():
    assert warm_starts([profile(make_entry(n=1)), profile()]) == []


def test_a_calibration_tries_what_is_known_before_anything_else_in_a_large_space():
    bench = FakeBench(lambda operation, configuration, luck: 0.01)
    request = Request(operations=("qr",), sizes=({"m": 200, "n": 200},), budget_seconds=60)
    proved = starts(make_entry(choice={"blas_threads": 23}, m=300, n=300), cpus=64)

    run_calibration(bench, request, environment_of(64), warm_starts=proved)

    assert bench.plans[0].cases[0].configurations[0] == threads(23)


def test_only_what_was_proved_for_this_very_operation_counts_as_proved():
    own = make_entry(choice={"blas_threads": 4}, m=200, n=200)
    others = (
        make_entry(choice={"blas_threads": 2}, m=800, n=800),
        make_entry("svd", choice={"blas_threads": 1}, m=200, n=200),
    )
    assert choices_proved(starts(own, *others), QR, 16) == [threads(4), threads(8)]
    assert choices_proved(starts(*others), QR, 16) == []


def test_a_default_that_was_kept_proves_nothing():
    assert choices_proved(starts(make_entry(m=200, n=200, others=[({"blas_threads": 4}, 1 / 0.9)])), QR, 8) == []
