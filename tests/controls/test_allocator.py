"""Settings of glibc for freed memory, and their effect."""

import json
import os
import platform
import shutil
import subprocess

import pytest
from support.programs import printed

from autotune.controls import allocator
from autotune.controls.allocator import M_MMAP_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, Heap, refusal
from autotune.host.memory_limit import usable_bytes

MIB = 2**20
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
RETAINING = [(M_TRIM_THRESHOLD, 100), (M_MMAP_MAX, 0)]
UNDONE = [(M_MMAP_MAX, 65536), (M_MMAP_THRESHOLD, 32 * MIB), (M_TRIM_THRESHOLD, 64 * MIB), "trimmed"]


@pytest.fixture
def calls():
    return []


@pytest.fixture
def heap(calls):
    return Heap(lambda option, value: calls.append((option, value)), lambda _: calls.append("trimmed"))


def test_retaining_takes_large_blocks_from_the_heap_and_trims_it_beyond_the_cap(heap, calls):
    heap.set_cap("process", 100)
    assert calls == RETAINING


def test_the_undoing_leaves_glibc_where_its_own_adjustment_ends_and_trims(heap, calls):
    heap.set_cap("process", 100)
    calls.clear()
    heap.set_cap("process", None)
    assert calls == UNDONE


def test_nothing_is_undone_where_nothing_was_retained(heap, calls):
    heap.set_cap("process", None)
    heap.set_cap("never entered", None)
    assert calls == []


def test_only_the_last_scope_to_end_undoes(heap, calls):
    heap.set_cap("first", 100)
    heap.set_cap("second", 100)
    heap.set_cap("first", None)
    assert calls == RETAINING
    heap.set_cap("second", None)
    assert calls == RETAINING + UNDONE


def test_the_smallest_cap_holds(heap, calls):
    heap.set_cap("process", 100)
    heap.set_cap("scope", 50)
    heap.set_cap("scope", None)
    assert calls == [*RETAINING, (M_TRIM_THRESHOLD, 50), (M_MMAP_MAX, 0), *RETAINING]


def test_a_scope_that_outlives_the_retaining_around_it_keeps_it(heap, calls):
    heap.set_cap("process", 100)
    heap.set_cap("scope", 100)
    heap.set_cap("process", None)
    assert calls == RETAINING


GLIBC = {"libc": "glibc 2.36", "replaced": False, "memory_bytes": 8 * 2**30, "settings": ()}


def test_glibc_with_enough_memory_is_not_refused():
    assert refusal(**GLIBC) is None


def test_unknown_memory_is_not_refused():
    assert refusal(**GLIBC | {"memory_bytes": None}) is None


@pytest.mark.parametrize(
    ("different", "says"),
    [
        ({"libc": None}, "another C library"),
        ({"replaced": True}, "another allocator has taken the place"),
        ({"settings": ("MALLOC_ARENA_MAX",)}, "you steer malloc yourself, by MALLOC_ARENA_MAX"),
        ({"memory_bytes": 512 * MIB}, "may use 512 MiB only, less than 1024 MiB"),
    ],
)
def test_each_refusal_says_why(different, says):
    assert says in refusal(**GLIBC | different)


IMPORTS = """
import json
from autotune.controls import allocator
from autotune.host.memory_limit import resident_bytes
"""


def child(code, **environ):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return json.loads(printed(IMPORTS + code, environ=clean | environ))


@pytest.mark.real
@needs_glibc
@pytest.mark.skipif((usable_bytes() or 0) < allocator.TIGHT_MEMORY, reason="little memory")
def test_retained_blocks_stay_resident_until_they_are_undone():
    """Blocks of 48 MiB: glibc on its own gives those back as soon as they are freed."""
    plain, kept, left = child("""
def used_once():
    import numpy
    before = resident_bytes()
    numpy.ones(6 * 2**20)
    return resident_bytes() - before
plain = used_once()
start = resident_bytes()
with allocator.Retained():
    kept = used_once()
print(json.dumps([plain, kept, resident_bytes() - start]))
""")
    assert plain < 24 * MIB < kept
    assert left < 24 * MIB


@pytest.mark.real
@needs_glibc
@pytest.mark.skipif((usable_bytes() or 0) < allocator.TIGHT_MEMORY, reason="little memory")
def test_beyond_the_cap_memory_below_a_block_in_use_is_returned_in_forked_children_too():
    """glibc itself trims the top of the heap only: one small block there would keep all that is freed below it."""
    parent, forked = child("""
allocator.TRIM_SECONDS = 0.1
import json, os, time
import numpy as np
def left(pins=[]):
    before = resident_bytes()
    large = [np.ones(2_500_000) for _ in range(10)]   # 200 MB
    pins.append(np.ones(30_000))                      # 240 kB on top
    del large
    end = time.monotonic() + 60
    while resident_bytes() - before > 60_000_000 and time.monotonic() < end:
        time.sleep(0.05)
    return (resident_bytes() - before) // 10**6
allocator.retain(50_000_000)
parent = left()
if not os.fork():
    print(json.dumps([parent, left()]), flush=True)
    os._exit(0)
os.wait()
""")
    assert parent < 61
    assert forked < 61


@pytest.mark.real
@needs_glibc
def test_a_user_who_steers_malloc_is_left_alone():
    refused = child(
        """
try:
    allocator.retain()
except allocator.UnsupportedPlatform as error:
    print(json.dumps([str(error), allocator.unsupported_reason()]))
""",
        MALLOC_TRIM_THRESHOLD_="65536",
    )
    assert refused == ["Memory is not retained: you steer malloc yourself, by MALLOC_TRIM_THRESHOLD_."] * 2


FOREIGN = r"""
#include <stddef.h>
#include <string.h>
static char heap[1 << 28];
static size_t used;
void *aligned_alloc(size_t alignment, size_t size) {
    size_t step = alignment < 16 ? 16 : alignment, place = (used + 16 + step - 1) / step * step;
    if (place + size > sizeof heap) return NULL;
    used = place + size;
    memcpy(heap + place - 16, &size, sizeof size);
    return heap + place;
}
void *malloc(size_t size) { return aligned_alloc(16, size); }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void free(void *block) { (void)block; }
size_t malloc_usable_size(void *block) { return block ? *(size_t *)((char *)block - 16) : 0; }
void *realloc(void *block, size_t size) {
    void *other = malloc(size);
    size_t before = malloc_usable_size(block);
    if (block && other) memcpy(other, block, before < size ? before : size);
    return other;
}
int posix_memalign(void **block, size_t alignment, size_t size) { return !(*block = aligned_alloc(alignment, size)); }
"""


@pytest.mark.real
@needs_glibc
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_another_allocator_is_left_alone(tmp_path):
    (tmp_path / "foreign.c").write_text(FOREIGN)
    library = tmp_path / "foreign.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "foreign.c"], check=True, timeout=300)
    why = child("print(json.dumps(allocator.unsupported_reason()))", LD_PRELOAD=str(library))
    assert why == "Memory cannot be retained: another allocator has taken the place of glibc's malloc."
