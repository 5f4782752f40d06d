"""apply(allocator=...) keeps memory for reuse, and gives it back."""

import json
import os

import pytest
from support.profile_builders import make_entry, of_this_machine
from support.programs import printed

import autotune
from autotune.controls import allocator
from autotune.errors import UnsupportedPlatform, UsageError
from autotune.profiles import folders, profile_files
from autotune.runtime.process_state import state

MIB = 2**20


@pytest.fixture
def refused(monkeypatch):
    monkeypatch.setattr(allocator, "unsupported_reason", lambda: "Not on this C library.")


def test_where_memory_cannot_be_kept_the_reason_says_so_and_nothing_changes(fresh, refused):
    applied = autotune.apply(allocator="retain")
    assert applied.why.endswith("Not on this C library.")
    assert state.setting.allocator is None


@pytest.fixture
def with_profile(fresh):
    profile_files.write(of_this_machine(make_entry("qr", m=8, n=8)), folders.user_profiles() / "mine.yaml")


def test_strict_raises_the_same_reason(with_profile, refused):
    with pytest.raises(UnsupportedPlatform, match="Not on this C library"):
        autotune.apply(allocator="retain", strict=True)


def test_an_allocator_that_no_one_knows_is_not_taken_for_another(with_profile):
    assert 'must be "default" or "retain", not \'jemalloc\'' in autotune.apply(allocator="jemalloc").why
    with pytest.raises(UsageError, match="jemalloc"):
        autotune.apply(allocator="jemalloc", strict=True)


USED_ONCE = """
import json, autotune, numpy
from autotune.host.memory_limit import resident_bytes
def used_once():
    before = resident_bytes()
    numpy.ones(6 * 2**20)  # 48 MiB: glibc on its own gives those back as soon as they are freed
    return resident_bytes() - before
"""


def child(code, tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environ |= {f"XDG_{name}_HOME": str(tmp_path) for name in ("CONFIG", "STATE", "CACHE")}
    return json.loads(printed(USED_ONCE + code, environ=environ))


needs_retaining = pytest.mark.skipif(allocator.unsupported_reason() is not None, reason="memory cannot be retained")


@pytest.mark.real
@needs_retaining
def test_memory_is_kept_for_reuse_until_default_returns_it(tmp_path):
    kept, returned, plain = child(
        """
start = resident_bytes()
autotune.apply(allocator="retain")
kept = used_once()
autotune.apply(allocator="default")
print(json.dumps([kept, resident_bytes() - start, used_once()]))
""",
        tmp_path,
    )
    assert kept > 24 * MIB
    assert max(returned, plain) < 24 * MIB


@pytest.mark.real
@needs_retaining
def test_at_the_end_of_a_with_the_memory_is_returned(tmp_path):
    kept, returned = child(
        """
autotune.apply()
start = resident_bytes()
with autotune.apply(allocator="retain"):
    kept = used_once()
print(json.dumps([kept, resident_bytes() - start]))
""",
        tmp_path,
    )
    assert returned < 24 * MIB < kept
