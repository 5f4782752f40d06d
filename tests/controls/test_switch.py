"""Thread counts of callers while calls are in flight, on libraries that only remember their count."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.native import CORE, needs_core
from support.remembering_libraries import Remembering, ReturningPrevious

from autotune.controls.blas import BlasThreads

pytestmark = needs_core

if not isinstance(CORE, str):
    FOR_ONE = CORE.Calls("qr", "float64", {}, threads=1)
    FOR_EIGHT = CORE.Calls("matmul", "float64", {}, threads=8)
    AT_REST = CORE.Calls("svd", "float64", {})
else:
    FOR_ONE = FOR_EIGHT = AT_REST = None


@pytest.fixture(autouse=True)
def _ended(monkeypatch):
    """Ends all switching, with calls that a test left in flight."""
    made, create = [], BlasThreads.__init__

    def noted(self, find):
        made.append(self)
        create(self, find)

    monkeypatch.setattr(BlasThreads, "__init__", noted)
    yield
    for switch in made:
        switch.end_switching()


class Elsewhere:
    """Runs single steps in a thread of its own."""

    def __init__(self):
        self._steps = []
        self._wake = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        threading.Thread(target=self._work, daemon=True).start()

    def __call__(self, step, *args):
        self._steps.append((step, args))
        self._wake.release()
        assert self._done.acquire(timeout=60)

    def _work(self):
        while True:
            self._wake.acquire()
            step, args = self._steps.pop()
            step(*args)
            self._done.release()


@pytest.fixture
def library():
    return Remembering()


@pytest.fixture
def threads(library):
    return BlasThreads(lambda: [library.library])


@pytest.fixture
def switch(threads):
    return threads.begin_switching(8)[0]


def test_a_call_gets_its_count_and_leaves_the_one_before(library, switch):
    switch.begin(FOR_ONE)
    assert library.get() == 1
    switch.end()
    assert library.get() == 8


def test_a_call_without_a_count_of_its_own_runs_as_at_rest(library, threads):
    threads.set_threads(2)
    switch, _ = threads.begin_switching(8)
    switch.begin(AT_REST)
    assert library.get() == 2
    switch.end()
    assert library.get() == 2


def test_calls_at_once_get_the_largest_count_within_an_equal_share(library, switch):
    other = Elsewhere()
    switch.begin(FOR_ONE)
    other(switch.begin, FOR_EIGHT)
    assert library.get() == 4
    switch.end()
    assert library.get() == 8
    other(switch.end)
    assert library.get() == 8


def test_small_calls_at_once_keep_their_single_thread(library, switch):
    other = Elsewhere()
    switch.begin(FOR_ONE)
    other(switch.begin, FOR_ONE)
    assert library.get() == 1
    other(switch.end)
    switch.end()
    assert library.get() == 8


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([FOR_ONE, FOR_EIGHT, AT_REST])), max_size=12))
def test_whatever_the_order_threads_stay_within_the_cpus_and_the_first_count_returns(steps):
    """Each step lets one of four threads begin a call, or end the one that it is in."""
    library = Remembering()
    switch, _ = BlasThreads(lambda: [library.library]).begin_switching(8)
    inside, elsewhere = set(), [Elsewhere() for _ in range(4)]
    for who, calls in [*steps, *((who, None) for who in range(4))]:
        if who in inside:
            elsewhere[who](switch.end)
            inside.remove(who)
        elif calls is not None:
            elsewhere[who](switch.begin, calls)
            inside.add(who)
        assert len(inside) * library.get() <= 8 or not inside
    assert library.get() == 8


def test_a_count_that_other_code_set_is_left_alone_until_they_put_ours_back(library, switch):
    library.put(3)
    switch.begin(FOR_ONE)
    assert library.get() == 3
    switch.end()
    assert library.get() == 3
    library.put(8)
    switch.begin(FOR_ONE)
    assert library.get() == 1


def test_a_count_that_other_code_set_during_a_call_stays(library, switch):
    switch.begin(FOR_ONE)
    library.put(5)
    switch.end()
    assert library.get() == 5


def test_a_limit_that_was_there_before_is_the_most_that_a_call_may_have(library, threads):
    library.put(2)
    threads.loaded_libraries()
    library.put(1)
    assert threads.begin_switching(8)[1] == 1


def test_a_count_of_our_own_is_no_limit_for_calls(library, threads):
    threads.set_threads(1)
    assert threads.begin_switching(8)[1] == 8


def test_a_scope_goes_before_calls_also_before_those_in_flight(library, threads, switch):
    switch.begin(FOR_ONE)
    with threads.limit(4):
        assert library.get() == 4
        switch.end()
        switch.begin(FOR_ONE)
        assert library.get() == 4
        switch.end()
    assert library.get() == 8
    switch.begin(FOR_ONE)
    assert library.get() == 1


def test_switching_that_begins_inside_a_scope_learns_the_count_at_rest_afterwards(library, threads):
    with threads.limit(2):
        switch, _ = threads.begin_switching(8)
        switch.begin(FOR_ONE)
        assert library.get() == 2
        switch.end()
    assert library.get() == 8
    switch.begin(FOR_ONE)
    assert library.get() == 1
    switch.end()
    assert library.get() == 8


def test_the_end_of_switching_puts_the_count_back_and_calls_in_flight_change_nothing_more(library, threads, switch):
    switch.begin(FOR_ONE)
    threads.end_switching()
    assert library.get() == 8
    switch.end()
    switch.begin(FOR_ONE)
    assert library.get() == 8
    switch.end()


def test_a_library_that_grows_less_than_asked_is_still_put_back(threads):
    small = Remembering(largest=4, start=2, ceiling=None)
    switch, _ = BlasThreads(lambda: [small.library]).begin_switching(8)
    switch.begin(FOR_EIGHT)
    assert small.get() == 4
    switch.end()
    assert small.get() == 2


def test_a_forked_child_forgets_the_calls_of_others(library, threads, switch):
    Elsewhere()(switch.begin, FOR_ONE)
    threads.after_fork()
    assert library.get() == 8
    switch.begin(FOR_EIGHT)
    assert library.get() == 8


@pytest.mark.parametrize("kind", [lambda: Remembering(per_thread=True), ReturningPrevious])
def test_where_threads_have_counts_of_their_own_calls_divide_the_cpus(kind):
    library = kind()
    switch, _ = BlasThreads(lambda: [library.library]).begin_switching(8)
    other = Elsewhere()
    seen = []
    other(switch.begin, CORE.Calls("qr", "float64", {}, threads=6))
    switch.begin(FOR_EIGHT)
    other(lambda: seen.append(library.get()))
    assert (seen, library.get()) == ([6], 2)
    switch.end()
    other(switch.end)
    other(lambda: seen.append(library.get()))
    assert (seen, library.get()) == ([6, 8], 8)


def test_where_threads_have_counts_of_their_own_a_scope_in_this_thread_goes_before():
    library = Remembering(per_thread=True)
    threads = BlasThreads(lambda: [library.library])
    switch, _ = threads.begin_switching(8)
    switch.begin(FOR_ONE)
    with threads.limit(4):
        assert library.get() == 4
        switch.end()
        assert library.get() == 4
    assert library.get() == 8


# --- two libraries ---------------------------------------------------------------------------


def scipys(**more):
    return Remembering("/x/scipy.libs/libscipy_openblas.so", **more)


@pytest.fixture
def both(library):
    """NumPy's library and SciPy's, with a switch for each."""
    other = scipys()
    threads = BlasThreads(lambda: [library.library, other.library])
    first, _ = threads.begin_switching(8)
    second, most = threads.switch_scipy_too(8)
    assert most == 8
    return (library, first), (other, second)


def test_a_call_into_one_library_leaves_the_other_alone(both):
    (numpys, _), (theirs, switch) = both
    switch.begin(FOR_ONE)
    assert (numpys.get(), theirs.get()) == (8, 1)
    switch.end()
    assert (numpys.get(), theirs.get()) == (8, 8)


def test_calls_at_once_into_two_libraries_share_the_cpus(both):
    (numpys, first), (theirs, second) = both
    other = Elsewhere()
    first.begin(FOR_EIGHT)
    other(second.begin, FOR_EIGHT)
    assert (numpys.get(), theirs.get()) == (4, 4)
    first.end()
    assert theirs.get() == 8
    other(second.end)
    assert (numpys.get(), theirs.get()) == (8, 8)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([FOR_ONE, FOR_EIGHT, AT_REST])), max_size=12)
)
def test_whatever_the_order_in_two_libraries_the_first_counts_return(steps):
    numpys, theirs = Remembering(), scipys(start=4, ceiling=4)
    threads = BlasThreads(lambda: [numpys.library, theirs.library])
    switches = [threads.begin_switching(8)[0], threads.switch_scipy_too(8)[0]]
    inside, elsewhere = {}, [Elsewhere() for _ in range(4)]
    for who, which, calls in [*steps, *((who, False, None) for who in range(4))]:
        if who in inside:
            elsewhere[who](inside.pop(who).end)
        elif calls is not None:
            inside[who] = switches[which]
            elsewhere[who](switches[which].begin, calls)
        assert len(inside) < 2 or len(inside) * max(numpys.get(), theirs.get()) <= 8
    assert (numpys.get(), theirs.get()) == (8, 4)


def test_a_library_that_serves_numpy_and_scipy_has_one_switch(threads):
    switch, _ = threads.begin_switching(8)
    assert threads.switch_scipy_too(8)[0] is switch


def test_a_library_of_scipys_that_is_not_like_the_measured_one_is_left_alone(library):
    theirs = scipys()
    theirs.library.version = "1.9"
    threads = BlasThreads(lambda: [library.library, theirs.library])
    threads.begin_switching(8)
    assert threads.switch_scipy_too(8) == "its openblas 1.9 was not measured, but openblas of unknown version."


def test_of_several_libraries_none_is_taken_for_scipys_unless_it_is_known(library):
    threads = BlasThreads(lambda: [library.library, Remembering("/usr/lib/libblas.so").library])
    threads.begin_switching(8)
    assert threads.switch_scipy_too(8) == "the BLAS library that SciPy calls is unknown."


def test_without_switching_for_numpy_there_is_none_for_scipy(threads):
    assert isinstance(threads.switch_scipy_too(8), str)


def test_scopes_go_before_calls_into_either_library(library):
    theirs = scipys()
    threads = BlasThreads(lambda: [library.library, theirs.library])
    threads.begin_switching(8)
    switch, _ = threads.switch_scipy_too(8)
    switch.begin(FOR_ONE)
    with threads.limit(4):
        assert (library.get(), theirs.get()) == (4, 4)
        switch.end()
    assert (library.get(), theirs.get()) == (8, 8)
