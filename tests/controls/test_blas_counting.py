"""The rules by which thread counts are set and put back, on libraries that only remember their count."""

import sys
import threading
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.remembering_libraries import STARTS_WITH, Remembering, ReturningPrevious

from autotune.controls.blas import BlasThreads


@pytest.fixture
def blas():
    return Remembering()


@pytest.fixture
def threads(blas):
    return BlasThreads(lambda: [blas.library])


def elsewhere(action):
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


def test_a_scope_sets_its_count_and_puts_back_what_was_there(blas, threads):
    with threads.limit(2):
        assert blas.get() == 2
    assert blas.get() == STARTS_WITH


def test_a_scope_that_ends_with_an_exception_puts_back_what_was_there(blas, threads):
    with pytest.raises(ZeroDivisionError), threads.limit(2):
        raise ZeroDivisionError
    assert blas.get() == STARTS_WITH


def test_a_scope_without_a_count_changes_nothing(blas, threads):
    with threads.limit(None):
        assert blas.counts == {}


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_thread_is_refused(threads, count):
    with pytest.raises(ValueError, match="at least one thread"):
        threads.limit(count)


def test_the_smallest_of_several_scopes_is_in_force(blas, threads):
    with threads.limit(4), threads.limit(2), threads.limit(6):
        assert blas.get() == 2


def test_the_last_scope_to_end_restores_in_whatever_order_they_end(blas, threads):
    first, second = threads.limit(2), threads.limit(4)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas.get() == 4
    second.__exit__(None, None, None)
    assert blas.get() == STARTS_WITH


def test_a_scope_may_end_in_another_thread(blas, threads):
    scope = threads.limit(2)
    scope.__enter__()
    elsewhere(lambda: scope.__exit__(None, None, None))
    assert blas.get() == STARTS_WITH


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), max_size=40))
def test_whatever_scopes_begin_and_end_the_smallest_is_in_force_and_the_end_is_the_beginning(steps):
    blas = Remembering()
    threads = BlasThreads(lambda: [blas.library])
    active = {}
    for who, count in steps:
        if who in active:
            active.pop(who)[1].__exit__(None, None, None)
        else:
            active[who] = (count, threads.limit(count))
            active[who][1].__enter__()
        assert blas.get() == min([STARTS_WITH, *(count for count, _ in active.values())])
    for _, scope in active.values():
        scope.__exit__(None, None, None)
    assert blas.get() == STARTS_WITH


def test_the_process_wide_count_holds_until_it_is_put_back(blas, threads):
    assert threads.set_threads(3) == 3
    assert threads.set_threads(None) == STARTS_WITH


def test_scopes_override_the_process_wide_count_in_both_directions(blas, threads):
    threads.set_threads(3)
    with threads.limit(5):
        assert blas.get() == 5
    with threads.limit(2):
        assert blas.get() == 2
    assert blas.get() == 3


def test_the_process_wide_count_may_change_and_end_inside_a_scope(blas, threads):
    threads.set_threads(3)
    with threads.limit(2):
        threads.set_threads(5)
        assert blas.get() == 2
        threads.set_threads(None)
    assert blas.get() == STARTS_WITH


def test_putting_back_what_was_never_set_looks_for_nothing():
    threads = BlasThreads(lambda: pytest.fail("looked for libraries"))
    assert threads.set_threads(None) is None


def test_without_a_blas_everything_is_allowed_and_nothing_known():
    threads = BlasThreads(list)
    with threads.limit(2):
        assert (threads.loaded_libraries(), threads.current(), threads.set_threads(4)) == ((), None, None)


def test_a_library_loaded_later_takes_the_process_wide_count(blas, monkeypatch):
    loaded = []
    threads = BlasThreads(lambda: loaded)
    threads.set_threads(3)
    loaded.append(blas.library)
    monkeypatch.setitem(sys.modules, "imported_since", ModuleType("imported_since"))
    threads.refresh()
    assert blas.get() == 3


def test_a_library_loaded_inside_a_scope_is_put_back_with_the_others(blas, monkeypatch):
    loaded = []
    threads = BlasThreads(lambda: loaded)
    with threads.limit(2):
        loaded.append(blas.library)
        monkeypatch.setitem(sys.modules, "imported_since", ModuleType("imported_since"))
        threads.refresh()
        assert blas.get() == 2
    assert blas.get() == STARTS_WITH


def test_libraries_are_not_looked_for_again_while_no_module_is_imported(blas):
    looks = []
    threads = BlasThreads(lambda: looks.append(1) or [blas.library])
    threads.refresh()
    with threads.limit(2), threads.limit(3):
        threads.refresh()
    assert len(looks) == 1


def test_a_count_lowered_by_other_code_before_us_is_never_raised():
    """A library starts with all CPUs, so that a smaller count is other code's wish."""
    blas = Remembering(start=2, ceiling=2)
    threads = BlasThreads(lambda: [blas.library])
    with threads.limit(4):
        assert blas.get() == 2
    assert threads.set_threads(4) == 2


def test_a_count_that_we_exported_may_be_raised():
    blas = Remembering(start=2, ceiling=None)
    threads = BlasThreads(lambda: [blas.library])
    with threads.limit(4):
        assert blas.get() == 4
    assert blas.get() == 2


def test_a_limit_that_other_code_sets_inside_a_scope_outlives_it(blas, threads):
    with threads.limit(4):
        blas.put(1)
    assert blas.get() == 1


def test_a_limit_that_other_code_set_before_us_is_a_ceiling_and_comes_back(blas, threads):
    threads.refresh()
    blas.put(3)
    with threads.limit(6):
        assert blas.get() == 3
    with threads.limit(2):
        assert blas.get() == 2
    assert blas.get() == 3


@pytest.mark.parametrize("count", [2, 6])
def test_a_limit_that_other_code_set_after_us_is_left_alone(count, blas, threads):
    threads.set_threads(4)
    blas.put(3)
    with threads.limit(count):
        assert blas.get() == 3
    threads.set_threads(None)
    assert blas.get() == 3


def test_a_limit_that_other_code_set_after_us_is_where_we_begin_again(blas, threads):
    with threads.limit(4):
        blas.put(3)
    with threads.limit(2):
        assert blas.get() == 2
    assert blas.get() == 3


def test_a_scope_within_other_codes_limit_loses_nothing_of_what_was_there_before(blas, threads):
    """scikit-learn limits BLAS to one thread around code that may enter our scopes, then restores our count."""
    threads.set_threads(4)
    blas.put(1)
    with threads.limit(6):
        assert blas.get() == 1
    blas.put(4)
    with threads.limit(6):
        assert blas.get() == 6
    assert threads.set_threads(None) == STARTS_WITH


def test_when_other_codes_limit_ends_the_full_range_is_ours_again(blas, threads):
    blas.put(1)
    with threads.limit(4):
        assert blas.get() == 1
    blas.put(STARTS_WITH)
    with threads.limit(4):
        assert blas.get() == 4


def test_our_count_restored_by_other_code_after_our_scope_is_undone_at_the_next_look(blas, threads):
    """The effect of threadpool_limits that begins inside a scope of ours and ends after it."""
    with threads.limit(2):
        saved = blas.get()
        blas.put(1)
    blas.put(saved)
    with threads.limit(4):
        pass
    assert blas.get() == STARTS_WITH


def test_a_library_that_grows_less_than_asked_is_not_taken_for_another_s_change():
    blas = Remembering(ceiling=None, largest=16)
    threads = BlasThreads(lambda: [blas.library])
    with threads.limit(100):
        assert blas.get() == 16
    assert blas.get() == STARTS_WITH


def test_a_per_thread_library_is_limited_in_the_thread_of_the_scope_only():
    blas = Remembering(per_thread=True)
    threads = BlasThreads(lambda: [blas.library])
    seen = []
    with threads.limit(2):
        elsewhere(lambda: seen.append(blas.get()))
        seen.append(blas.get())
    assert (seen, blas.get()) == ([STARTS_WITH, 2], STARTS_WITH)


def test_each_thread_has_its_own_smallest_scope_in_a_per_thread_library():
    blas = Remembering(per_thread=True)
    threads = BlasThreads(lambda: [blas.library])
    seen = []

    def work():
        with threads.limit(4):
            seen.append(blas.get())
        seen.append(blas.get())

    with threads.limit(2):
        elsewhere(work)
    assert seen == [4, STARTS_WITH]


def test_a_per_thread_library_takes_the_process_wide_count_in_each_thread_that_refreshes():
    blas = Remembering(per_thread=True)
    threads = BlasThreads(lambda: [blas.library])
    threads.set_threads(3)
    seen = []
    elsewhere(lambda: (threads.refresh(), seen.append(blas.get())))
    assert seen == [3]


def test_a_scope_of_a_per_thread_library_that_ends_elsewhere_is_undone_when_its_thread_returns():
    blas = Remembering(per_thread=True)
    threads = BlasThreads(lambda: [blas.library])
    scope = threads.limit(2)
    scope.__enter__()
    elsewhere(lambda: scope.__exit__(None, None, None))
    threads.refresh()
    assert blas.get() == STARTS_WITH


def test_a_library_that_returns_the_previous_setting_gets_that_back():
    """MKL's 0, "as the process", is put back instead of the count that it stood for."""
    blas = ReturningPrevious()
    threads = BlasThreads(lambda: [blas.library])
    with threads.limit(2), threads.limit(1):
        assert blas.get() == 1
    assert set(blas.counts.values()) == {0}


def test_a_forked_child_drops_the_scopes_of_threads_that_it_does_not_have(blas, threads):
    scope = threads.limit(2)
    elsewhere(scope.__enter__)
    with threads.limit(4):
        threads.after_fork()
        assert blas.get() == 4
    assert blas.get() == STARTS_WITH
