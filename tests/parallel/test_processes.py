"""Several processes compute what one would, by every way of giving them the array."""

import errno
import multiprocessing
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from autotune.errors import SharedMemoryError, UnsupportedPlatform, UsageError
from autotune.model.configuration import Method
from autotune.parallel.process_blocks import process_map
from autotune.parallel.shared_memory import shared

pytestmark = [pytest.mark.real, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

ARRAY = np.arange(6000.0).reshape(60, 100)


FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=Method)
def method(request):
    return request.param


def mapped(function, array=ARRAY, out=None, *, method, workers=3, chunk=1000, **options):
    return process_map(
        function, array, out, method=method, workers=workers, chunk=chunk, **{"context": FORK, **options}
    )


def square(block):
    return block * block


def increment(block):
    block += 1


def fail(block):
    raise KeyError("no such thing")


def fail_in_a_child(block):
    return fail(block) if multiprocessing.parent_process() else block


def die_in_a_child(block):
    if multiprocessing.parent_process():
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_the_result_is_that_of_one_process(method):
    assert np.array_equal(mapped(square, method=method), ARRAY * ARRAY)


def identity(block):
    return block


def test_a_function_may_return_its_block(method):
    result = mapped(identity, method=method)
    assert np.array_equal(result, ARRAY)
    assert not np.shares_memory(result, ARRAY)


@pytest.mark.parametrize("out", [None, np.zeros(ARRAY.shape)])
def test_a_function_that_writes_to_an_array_it_was_not_to_change_is_an_error(method, out):
    array = ARRAY.copy()
    with pytest.raises(ValueError):
        mapped(increment, array, out, method=method)
    assert np.array_equal(array, ARRAY)


def test_out_takes_the_result_in_its_own_dtype(method):
    out = np.zeros(ARRAY.shape, "f4")
    assert mapped(square, out=out, method=method) is out
    assert np.array_equal(out, (ARRAY * ARRAY).astype("f4"))


def test_an_array_is_changed_in_place(method):
    array = ARRAY.copy()
    assert mapped(increment, array, array, method=method) is array
    assert np.array_equal(array, ARRAY + 1)


@pytest.mark.parametrize("function", [fail, fail_in_a_child])
def test_an_exception_is_raised_here(method, function):
    with pytest.raises(KeyError, match="no such thing"):
        mapped(function, out=np.zeros(ARRAY.shape), method=method)
    assert not multiprocessing.active_children()


def test_a_child_that_is_killed_is_an_error(method):
    with pytest.raises(SharedMemoryError, match="code -9"):
        mapped(die_in_a_child, out=np.zeros(ARRAY.shape), method=method)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("method", [Method.PIPE, Method.QUEUE, Method.ARGUMENT, Method.MEMFD])
def test_a_child_that_ends_before_it_listens_is_an_error(method, monkeypatch):
    """Data sent to it is lost, so the connection is reset instead of closed."""
    monkeypatch.setattr("autotune.parallel.worker_processes.die_with_parent", lambda _: os._exit(3))
    with pytest.raises(SharedMemoryError, match="code 3"):
        mapped(square, out=np.zeros(ARRAY.shape), method=method)
    assert not multiprocessing.active_children()


def test_an_exception_from_a_child_brings_its_traceback():
    with pytest.raises(KeyError) as caught:
        mapped(fail_in_a_child, out=np.zeros(ARRAY.shape), method=Method.MEMFD)
    assert "in fail\n" in caught.value.__notes__[0]


def test_an_exception_that_does_not_pickle_arrives_in_words():
    class Local(Exception):
        lock = None

    def function(block):
        if multiprocessing.parent_process():
            raise Local("in words", threading.Lock())
        return block

    with pytest.raises(RuntimeError, match=r"Local: .*in words"):
        mapped(function, out=np.zeros(ARRAY.shape), method=Method.PIPE)


@pytest.mark.parametrize("method", [Method.MEMFD, Method.PIPE])
def test_shared_arrays_are_worked_on_where_they_are(method):
    with shared(ARRAY.shape, method=Method.INHERIT) as array:
        array[...] = ARRAY
        mapped(increment, array, array, method=method)
        assert np.array_equal(array, ARRAY + 1)


@pytest.mark.parametrize("method", [Method.MEMFD, Method.PIPE])
@pytest.mark.parametrize("function", [lambda block: block[:1], lambda _: None])
def test_a_function_that_returns_no_block_is_refused(method, function):
    with pytest.raises(UsageError):
        mapped(function, out=np.zeros(ARRAY.shape), method=method)


@pytest.mark.parametrize("out", [np.zeros(5), ARRAY[::-1], np.broadcast_to(0.0, ARRAY.shape)])
def test_out_that_does_not_fit_is_refused(out):
    with pytest.raises(UsageError):
        mapped(square, out=out, method=Method.PIPE)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_function_never_runs_in_the_calling_process(method, workers):
    pids = mapped(lambda block: np.full(block.shape, os.getpid()), method=method, workers=workers)
    assert os.getpid() not in pids
    assert len(np.unique(pids)) == workers


def test_a_function_that_ends_its_process_is_an_error_here(method):
    with pytest.raises(SharedMemoryError, match="code 7"):
        mapped(lambda _: os._exit(7), out=np.zeros(ARRAY.shape), method=method, workers=1)


@pytest.mark.parametrize("method", [Method.MEMFD, Method.PIPE], indirect=True)
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.EPERM])
def test_where_a_limit_allows_no_child_this_process_computes(monkeypatch, number, method):
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", raising(number))
    np.testing.assert_array_equal(mapped(square, method=method), ARRAY**2)


@pytest.mark.parametrize("method", [Method.MEMFD, Method.PIPE], indirect=True)
def test_where_a_limit_allows_fewer_children_than_asked_for_none_of_them_begins(monkeypatch, method, tmp_path):
    starts = iter([multiprocessing.process.BaseProcess.start, raising(errno.EAGAIN)])

    def start(process):
        next(starts)(process)

    def noting(block):
        (tmp_path / str(os.getpid())).touch()
        return block**2

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)
    np.testing.assert_array_equal(mapped(noting, method=method), ARRAY**2)
    assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of files as Linux has them")
def test_where_no_shared_memory_can_be_made_blocks_go_through_pipes(method):
    """A batch system's limit of the size of files, which memory by memfd_create is too."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        pids = mapped(lambda block: np.full(block.shape, os.getpid()), method=method, workers=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.getpid() not in pids


@pytest.mark.skipif(sys.platform != "linux", reason="filters of system calls as Linux has them")
@pytest.mark.parametrize("method", [Method.MEMFD, Method.INHERIT], indirect=True)
@pytest.mark.parametrize("call", ["sendmsg", "recvmsg"])
def test_where_a_filter_forbids_to_hand_descriptors_over_blocks_go_through_pipes(method, call, monkeypatch):
    def forbidden(*_):
        raise PermissionError(errno.EPERM, call)

    monkeypatch.setattr(socket.socket, call, forbidden)
    pids = mapped(lambda block: np.full(block.shape, os.getpid()), method=method, workers=2)
    assert os.getpid() not in pids


@pytest.mark.parametrize("method", [Method.MEMFD, Method.PIPE], indirect=True)
def test_sockets_of_the_program_that_never_block_hinder_nothing(method, monkeypatch):
    """gevent's, which replace the standard library's."""
    pair = socket.socketpair

    class Unblocking(socket.socket):
        def setblocking(self, _):
            super().setblocking(False)

    monkeypatch.setattr(socket, "socketpair", lambda: [Unblocking(fileno=end.detach()) for end in pair()])
    np.testing.assert_array_equal(mapped(square, method=method), ARRAY**2)


@pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux")
@pytest.mark.parametrize(("owner", "call"), [(os, "open"), (os, "memfd_create"), (socket.socket, "sendmsg")])
def test_a_timeout_that_a_signal_handler_raises_ends_the_call(owner, call, monkeypatch):
    """It is an OSError, too: a program's alarm must not pass for a limit of the system's."""

    def alarm(*_):
        raise TimeoutError("the program's alarm")

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, alarm)
        with pytest.raises(TimeoutError, match="alarm"):
            mapped(square, method=Method.MEMFD)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of descriptors as Linux has them")
def test_whatever_number_of_descriptors_is_left_the_result_is_right(method):
    import resource

    mapped(square, method=method)  # whatever is loaded or opened once
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = max(int(each.name) for each in Path("/dev/fd").iterdir())
    try:
        for more in range(0, 12, 2):
            resource.setrlimit(resource.RLIMIT_NOFILE, (held + more, limits[1]))
            np.testing.assert_array_equal(mapped(square, method=method), ARRAY**2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def raising(number):
    def start(_):
        raise OSError(number, os.strerror(number))

    return start


def test_inheriting_needs_children_that_are_forked():
    with pytest.raises(UnsupportedPlatform, match="forked"):
        mapped(square, method=Method.INHERIT, context=SPAWN)


@pytest.mark.parametrize("method", [Method.MEMFD, Method.RAW_ARRAY, Method.QUEUE, Method.ARGUMENT])
def test_spawned_processes_do_it_too(method):
    out = np.zeros(ARRAY.shape) if method in {Method.MEMFD, Method.QUEUE} else None
    assert np.array_equal(mapped(np.negative, out=out, method=method, workers=2, context=SPAWN), -ARRAY)


def centre(block):
    return block - block.mean()


def centre_in_place(block):
    block -= block.mean()


def test_a_function_that_needs_the_whole_array_is_refused(method):
    with pytest.raises(UsageError, match="does not work element by element"):
        mapped(centre, method=method)
    array = ARRAY.copy()
    with pytest.raises(UsageError, match="does not work element by element"):
        mapped(centre_in_place, array, array, method=method)


def test_the_result_has_the_dtype_that_the_function_gives(method):
    assert mapped(np.sqrt, np.arange(6000), method=method).dtype == np.float64
    assert mapped(np.isfinite, method=method).dtype == np.bool


def test_a_masked_array_is_the_functions_own_affair_and_keeps_its_mask():
    masked = np.ma.masked_greater(np.arange(4.0), 2)
    result = process_map(np.sqrt, masked, context=FORK, method=Method.INHERIT, workers=2, chunk=2)
    assert result.mask.tolist() == masked.mask.tolist()


def test_masks_of_blocks_are_refused_and_not_lost():
    with pytest.raises(UsageError, match="MaskedArray"):
        process_map(np.ma.array, np.arange(4.0), context=FORK, method=Method.INHERIT, workers=1, chunk=2)
