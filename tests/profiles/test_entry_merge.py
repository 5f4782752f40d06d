"""A new measurement takes nothing away that was decided before."""

from dataclasses import replace

import pytest
from support.profile_builders import make_entry, profile, with_evidence

from autotune.model.entry import Status
from autotune.profiles.entry_merge import join_profiles

ONE = {"blas_threads": 1}


def statuses(old, new):
    together = join_profiles(profile(*old), profile(*new))
    return {entry.operation.size["n"]: entry.status for entry in together.entries}


@pytest.mark.parametrize("status", [Status.NOISY, Status.UNDECIDED])
@pytest.mark.parametrize("earlier", [Status.TUNED, Status.DEFAULT_KEPT])
def test_an_entry_without_a_result_replaces_no_decided_one(status, earlier):
    choice = ONE if earlier is Status.TUNED else None
    old = [make_entry(choice=choice, n=100)]
    assert statuses(old, [make_entry(status=status, n=100)]) == {100: earlier}


def test_a_default_that_was_kept_for_want_of_time_replaces_no_proof():
    tentative = with_evidence(make_entry(n=100), speedup_limit=1.06)
    assert statuses([make_entry(choice=ONE, n=100)], [tentative]) == {100: Status.TUNED}
    assert statuses([make_entry(status=Status.UNDECIDED, n=100)], [tentative]) == {100: Status.DEFAULT_KEPT}


def test_sizes_without_a_result_leave_the_decided_sizes_of_their_operation():
    old = [make_entry(choice=ONE, n=128), make_entry(choice=ONE, n=256)]
    new = [make_entry(status=Status.UNDECIDED, n=100), make_entry(status=Status.NOISY, n=200)]
    assert statuses(old, new) == {100: Status.UNDECIDED, 128: Status.TUNED, 200: Status.NOISY, 256: Status.TUNED}


def test_a_decided_size_replaces_itself_only():
    old = [make_entry(choice=ONE, n=128), make_entry(choice=ONE, n=256)]
    assert statuses(old, [make_entry(n=256)]) == {128: Status.TUNED, 256: Status.DEFAULT_KEPT}
    assert statuses(old, [make_entry(n=200)]) == {128: Status.TUNED, 200: Status.DEFAULT_KEPT, 256: Status.TUNED}


def test_every_size_of_which_a_choice_was_tested_counts_for_the_number_of_wrong_choices():
    untested = with_evidence(make_entry(n=300), processes=0)
    together = join_profiles(
        profile(make_entry(choice=ONE, n=100), make_entry(n=200)), profile(make_entry(n=200), untested)
    )
    assert together.provenance.rules_tested == 2


def test_a_wait_policy_stays_until_another_is_measured():
    old = replace(profile(make_entry("qr", m=9, n=9)), blas_wait=20, loops_after_blas={"functions": 7})
    kept = join_profiles(old, profile(make_entry("qr", m=9, n=9)))
    assert (kept.blas_wait, kept.loops_after_blas) == (20, {"functions": 7})
    renewed = join_profiles(old, replace(profile(make_entry("qr", m=9, n=9)), blas_wait=22))
    assert (renewed.blas_wait, renewed.loops_after_blas) == (22, {})
