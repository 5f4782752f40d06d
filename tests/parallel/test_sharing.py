"""A shared array is the same memory everywhere, is gone when it is closed, and leaves nothing behind."""

import copy
import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from support.programs import printed

from autotune.errors import SharedMemoryError, UnsupportedPlatform, UsageError
from autotune.model.configuration import Method
from autotune.parallel import shared_memory
from autotune.parallel.blocks import map_blocks
from autotune.parallel.shared_array import SharedArray
from autotune.parallel.shared_memory import SHARING, attach, check_room, shared

on_linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc/PID/fd")
has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def made(shape, dtype="f8", *, method):
    try:
        return shared(shape, dtype, method=method)
    except UnsupportedPlatform as error:
        pytest.skip(str(error))


@pytest.fixture(params=SHARING)
def method(request):
    return request.param


def traces():
    """Files that shared arrays could leave behind."""
    folders = {Path(tempfile.gettempdir()), Path(shared_memory.SHM)}
    return {path for folder in folders if folder.is_dir() for path in folder.glob("autotune-" + "[0-9a-f]" * 16)}


def test_an_array_begins_with_zeros_and_has_its_shape(method):
    with made((3, 4), "f4", method=method) as array:
        assert (array.shape, array.dtype, array.any()) == ((3, 4), np.dtype("f4"), False)


def test_what_one_writes_the_other_reads(method):
    with made(5, method=method) as array:
        other = attach(pickle.loads(pickle.dumps(array.handle)))
        other[2] = 7
        assert array.tolist() == [0, 0, 7, 0, 0]


@pytest.mark.parametrize("shape", [0, (), (0, 3), 7, (2, 3, 4)])
def test_every_shape_can_be_shared(method, shape):
    with made(shape, method=method) as array:
        assert attach(array.handle).shape == np.empty(shape).shape


def test_results_are_plain_arrays():
    with made(5, method=Method.INHERIT) as array:
        assert type(array + 1) is type(np.sqrt(array)) is type(np.cumsum(array)) is np.ndarray
        assert isinstance(array.sum(), np.float64)
        assert array[1:].handle is None


def test_blocks_work_on_shared_arrays():
    with made(5000, method=Method.INHERIT) as array:
        map_blocks(np.cos, [array], array, workers=2, chunk=512)
        assert (array == 1).all()


@pytest.mark.parametrize(
    "use",
    [
        lambda array: array[0],
        lambda array: array.__setitem__(0, 1),
        lambda array: array + 1,
        np.sum,
        list,
        pickle.dumps,
        lambda array: np.copyto(array, 1),
        len,
        copy.copy,
        lambda array: array.copy(),
        lambda array: array.tolist(),
        lambda array: array.shape,
    ],
)
def test_a_closed_array_says_so(use):
    with made(5, method=Method.INHERIT) as array:
        pass
    with pytest.raises(SharedMemoryError, match="closed"):
        use(array)
    assert repr(array) == "<closed shared array>"


def test_a_slice_outlives_its_array(method):
    with made(5, method=method) as array:
        array[:] = 3
        part = array[1:]
    assert part.sum() == 12


def test_nothing_attaches_to_a_closed_array(method):
    with made(5, method=method) as array:
        handle = array.handle
    with pytest.raises(SharedMemoryError):
        attach(handle)


def test_closing_what_was_attached_leaves_the_owner_alone(method):
    with made(5, method=method) as array:
        attach(array.handle).close()
        array[0] = 1
        assert attach(array.handle)[0] == 1


def test_closing_twice_is_closing_once(method):
    array = made(5, method=method)
    array.close()
    array.close()


@on_linux
def test_nothing_has_a_name_while_it_is_used_or_a_descriptor_after(method):
    before, descriptors = traces(), len(list(Path("/proc/self/fd").iterdir()))
    with made(1000, method=method):
        assert traces() == before
    assert method in {Method.RAW_ARRAY, Method.ARRAY} or len(list(Path("/proc/self/fd").iterdir())) == descriptors


@on_linux
def test_forgetting_an_array_closes_it():
    array = made(5, method=Method.MEMFD)
    handle = array.handle
    del array
    with pytest.raises(SharedMemoryError):
        attach(handle)


@on_linux
def test_another_file_with_the_same_number_is_not_taken_for_the_array():
    with made(5, method=Method.MEMFD) as array:
        handle = array.handle
    with made(5, method=Method.MEMFD) as other:
        assert other.handle.place.number == handle.place.number
        with pytest.raises(SharedMemoryError, match="closed"):
            attach(handle)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX shared memory")
def test_memory_with_a_name_is_shared_and_removed():
    memory, place, release = shared_memory.create_named(100)
    other = pickle.loads(pickle.dumps(place)).open(100)
    other[3] = 9
    assert memory[3] == 9
    release()
    with pytest.raises(SharedMemoryError, match="gone"):
        place.open(100)


@pytest.mark.parametrize("copying", [method for method in Method if method not in SHARING])
def test_methods_that_copy_are_refused(copying):
    with pytest.raises(UsageError, match="copies"):
        shared(5, method=copying)


@pytest.mark.parametrize("dtype", [str, bytes])
def test_text_without_a_length_has_one_character_as_in_numpy(dtype):
    with shared(3, dtype, method=Method.INHERIT) as array:
        assert array.dtype == np.zeros(3, dtype).dtype


@pytest.mark.parametrize(("shape", "dtype"), [(-1, "f8"), ((2, -3), "f8"), (5, object)])
def test_what_cannot_be_shared_is_refused(shape, dtype):
    with pytest.raises(UsageError):
        shared(shape, dtype, method=Method.INHERIT)


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="needs statvfs")
def test_too_little_room_is_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(SharedMemoryError, match="bytes free"):
        check_room(str(tmp_path), 2**60)
    check_room(str(tmp_path), 1)


@on_linux
@pytest.mark.parametrize("method", [Method.SHARED_MEMORY, Method.MEMMAP])
def test_an_array_larger_than_its_file_system_is_refused_and_leaves_nothing(method):
    before = traces()
    with pytest.raises(SharedMemoryError, match="needs"):
        shared(2**56, method=method)
    assert traces() == before


@has_fork
@pytest.mark.real
def test_a_forked_child_writes_into_the_array(method):
    with made(5, method=method) as array:
        child = multiprocessing.get_context("fork").Process(target=add_one, args=(array.handle,))
        child.start()
        child.join()
        assert (child.exitcode, array.tolist()) == (0, [1.0] * 5)


def add_one(handle):
    array = attach(handle)
    array += 1


OWNER = """
import sys
from autotune.parallel.shared_memory import shared
from autotune.model.configuration import Method
array = shared(1000, method=Method(sys.argv[1]))
array[:] = 1
print("ready", flush=True)
sys.stdin.read()
"""


@on_linux
@pytest.mark.real
@pytest.mark.parametrize("method", [Method.SHARED_MEMORY, Method.MEMMAP, Method.MEMFD])
def test_a_killed_owner_leaves_nothing(method):
    before = traces()
    owner = subprocess.Popen([sys.executable, "-c", OWNER, method], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout.readline() == b"ready\n"
    owner.kill()
    owner.communicate()
    assert traces() == before


LOCKS = """
import multiprocessing
from pathlib import Path
from autotune.parallel.shared_memory import shared
from autotune.model.configuration import Method
multiprocessing.set_start_method("spawn")
array = shared(1000, method=Method.ARRAY)
print("sem.mp" in Path("/proc/self/maps").read_text())
"""


@on_linux
def test_room_in_shared_memory_is_taken_at_once():
    """Two arrays that fit by themselves and not together: the second is refused, and no write ends in SIGBUS."""
    with made(1_000_000, method=Method.SHARED_MEMORY) as array:
        assert os.fstat(array.handle.place.number).st_blocks * 512 >= array.nbytes


@on_linux
@pytest.mark.parametrize(("number", "refused"), [(errno.EOPNOTSUPP, False), (errno.ENOSPC, True)])
def test_a_file_system_that_cannot_take_room_beforehand_is_trusted(monkeypatch, number, refused):
    def fallocate(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    if refused:
        with pytest.raises(SharedMemoryError, match="No space"):
            shared(5, method=Method.SHARED_MEMORY)
    else:
        with shared(5, method=Method.SHARED_MEMORY) as array:
            assert array.tolist() == [0] * 5


@on_linux
@pytest.mark.real
def test_an_array_of_multiprocessing_keeps_no_lock_that_a_kill_would_leave_behind():
    assert printed(LOCKS) == "False\n"


def test_a_shared_array_is_an_array():
    with made(5, method=Method.INHERIT) as array:
        assert isinstance(array, SharedArray)
        assert isinstance(array, np.ndarray)


def test_records_keep_their_fields_for_a_daemon_that_attaches():
    with shared(3, [("x", "f8"), ("n", "i1")], method=Method.SHARED_MEMORY) as array:
        array["n"] = 7
        assert attach(pickle.loads(pickle.dumps(array.handle)))["n"].tolist() == [7, 7, 7]


@pytest.mark.parametrize("shape", ["x", None, 2.5, (3, "y")])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(UsageError, match="A shape is"):
        shared(shape, method=Method.SHARED_MEMORY)


def test_numpys_integers_are_lengths():
    with shared(np.int64(3), method=Method.SHARED_MEMORY) as array:
        assert array.shape == (3,)


def test_what_is_no_handle_is_refused():
    with pytest.raises(UsageError, match="takes the handle"):
        attach(np.zeros(3))


def mount_temporary_files(system, monkeypatch):
    """Let the kernel say that temporary files lie on a file system of this kind."""
    device = Path(tempfile.gettempdir()).stat().st_dev
    line = f"1 1 {os.major(device)}:{os.minor(device)} / /tmp rw - {system} none rw\n"
    monkeypatch.setattr(shared_memory, "read", lambda _: line)


@pytest.mark.parametrize("method", SHARING)
def test_more_memory_than_the_process_can_get_is_refused_before_anything_is_written(method, monkeypatch):
    monkeypatch.setattr(shared_memory, "available_bytes", lambda: 1000)
    mount_temporary_files("tmpfs", monkeypatch)
    with pytest.raises(SharedMemoryError, match="can get 1000 bytes of memory more"):
        shared(1001, "i1", method=method)
    with made(1000, "i1", method=method) as array:
        assert array.nbytes == 1000


def test_a_file_on_a_disk_needs_no_memory(monkeypatch):
    monkeypatch.setattr(shared_memory, "available_bytes", lambda: 0)
    mount_temporary_files("ext4", monkeypatch)
    with shared(1000, method=Method.MEMMAP) as array:
        assert array.size == 1000


@on_linux
def test_a_process_whose_descriptors_others_may_not_open_shares_by_a_name(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with shared(5, method=Method.MEMFD) as array:
        assert isinstance(array.handle.place, shared_memory.Named)
        attach(pickle.loads(pickle.dumps(array.handle)))[0] = 1
        assert array[0] == 1


@on_linux
def test_where_dev_shm_is_full_only_children_reach_the_array_and_no_name_stays(monkeypatch):
    """Docker gives 64 MB; to write beyond them would end the process with a bus error."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    name = f"test{os.getpid()}"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(shared_memory.os, "posix_fallocate", refuse)
    monkeypatch.setattr(shared_memory.secrets, "token_hex", lambda _: name)
    with shared(5, method=Method.MEMFD) as array:
        assert isinstance(array.handle.place, shared_memory.Descriptor)
    assert not Path(shared_memory.SHM, f"autotune-{name}").exists()


def test_more_memory_than_there_are_addresses_is_an_error():
    with pytest.raises(SharedMemoryError):
        shared(2**62, method=Method.RAW_ARRAY)


@on_linux
def test_a_size_that_no_file_can_have_leaves_no_descriptor_open(monkeypatch):
    monkeypatch.setattr(shared_memory, "available_bytes", lambda: None)
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(SharedMemoryError):
        shared(2**64, "u1", method=Method.MEMFD)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
