"""A store in a folder: whole files or none, whatever the file system answers."""

import errno
import os
import stat

import pytest
from support.profile_builders import KEY
from support.published_profiles import put, said, store_at

from autotune.daemon.sensors import fingerprint
from autotune.errors import BadSettings, StoreProblem
from autotune.host.trusted_files import FileContent
from autotune.share.fetch import read_class
from autotune.share.folder_backend import FolderBackend
from autotune.share.publish import publish
from autotune.share.store_settings import open_store
from autotune.share.trust import TrustPolicy

CLASS = KEY.slug


def fails_with(number, times=10**6, then=None):
    """A system call that answers with this error so often."""
    failures = iter(range(times))

    def call(*arguments, **options):
        if next(failures, None) is not None:
            raise OSError(number, os.strerror(number))
        return then(*arguments, **options)

    return call


def publication(root):
    """The only file of a class."""
    return next((root / "v1" / CLASS).glob("[!.]*"))


def test_what_is_published_lies_under_its_class_and_its_publisher(tmp_path):
    done = publish(said("a"), store_at(tmp_path))
    assert done.new
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")] == [f"v1/{CLASS}/{done.name}"]
    assert done.name.startswith("a-")


def test_publishing_the_same_again_changes_nothing(tmp_path):
    publish(said("a"), store_at(tmp_path))
    before = fingerprint(publication(tmp_path))
    assert not publish(said("a"), store_at(tmp_path)).new
    assert fingerprint(publication(tmp_path)) == before


def test_a_newer_profile_of_a_host_takes_the_place_of_the_older(tmp_path):
    publish(said("a", created="2026-01-01"), store_at(tmp_path))
    new = publish(said("a", created="2026-01-02"), store_at(tmp_path))
    assert [file.name for file in store_at(tmp_path).files(CLASS)] == [new.name]
    assert publication(tmp_path).name == new.name


def test_no_temporary_file_is_left(tmp_path):
    publish(said("a"), store_at(tmp_path))
    assert [path.name for path in (tmp_path / "v1" / CLASS).iterdir() if path.name.startswith(".")] == []


def test_folders_of_classes_have_the_rights_of_the_store_s_own(tmp_path):
    store = store_at(tmp_path / "store")
    (tmp_path / "store").chmod(0o1777)
    publish(said("a"), store)
    assert stat.S_IMODE((tmp_path / "store" / "v1" / CLASS).stat().st_mode) == 0o1777
    assert stat.S_IMODE(publication(tmp_path / "store").stat().st_mode) == 0o644


def test_a_file_system_without_hard_links_gets_a_rename(tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", fails_with(errno.EPERM))
    assert publish(said("a"), store_at(tmp_path)).new
    assert not publish(said("a"), store_at(tmp_path)).new


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(StoreProblem, match="there is no such folder or bucket"):
        publish(said("a"), open_store(str(tmp_path / "unmounted")))
    with pytest.raises(StoreProblem, match="cannot be listed"):
        open_store(str(tmp_path / "unmounted")).files(CLASS)
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize(
    ("number", "said_of_it"),
    [
        (errno.ENOSPC, "it is full"),
        (errno.EDQUOT, "the quota is used up"),
        (errno.EROFS, "it is read-only"),
        (errno.EIO, "input/output error"),
    ],
)
def test_a_store_that_takes_nothing_says_why_and_keeps_what_it_has(tmp_path, monkeypatch, number, said_of_it):
    put(tmp_path, said("b"))
    monkeypatch.setattr("os.fsync", fails_with(number))
    with pytest.raises(StoreProblem, match=said_of_it):
        publish(said("a"), store_at(tmp_path))
    assert len(list((tmp_path / "v1" / CLASS).iterdir())) == 1


def test_stale_handles_are_asked_for_again(tmp_path, monkeypatch):
    path = put(tmp_path, said("a"))
    monkeypatch.setattr("autotune.share.folder_backend.STALE_SECONDS", 0)
    monkeypatch.setattr("os.open", fails_with(errno.ESTALE, 9, os.open))
    content = FolderBackend(str(tmp_path)).read(CLASS, [path.name], 10**6)[path.name]
    assert isinstance(content, FileContent)


def test_a_handle_that_stays_stale_costs_its_file_only(tmp_path, monkeypatch):
    put(tmp_path, said("a"))
    monkeypatch.setattr("autotune.share.folder_backend.STALE_SECONDS", 0)
    monkeypatch.setattr("os.open", fails_with(errno.ESTALE))
    (refused,) = read_class(store_at(tmp_path), CLASS, TrustPolicy()).rejected
    assert refused.reason == "it cannot be read: the file server has lost the file (ESTALE)."


def test_a_file_that_cannot_be_read_costs_no_other(tmp_path, monkeypatch):
    bad, good = put(tmp_path, said("a")), put(tmp_path, said("b"))
    real = os.open

    def open_or_fail(path, *rest, **more):
        return fails_with(errno.EIO)() if str(path) == str(bad) else real(path, *rest, **more)

    monkeypatch.setattr("os.open", open_or_fail)
    reading = read_class(store_at(tmp_path), CLASS, TrustPolicy())
    assert [file.name for file in reading.publications] == [good.name]
    assert [file.reason for file in reading.rejected] == ["it cannot be read: input/output error."]


def test_a_file_that_vanishes_between_list_and_read_is_no_matter(tmp_path, monkeypatch):
    gone, there = put(tmp_path, said("a")), put(tmp_path, said("b"))
    files = FolderBackend.files

    def files_then_gone(self, folder):
        names = files(self, folder)
        gone.unlink(missing_ok=True)
        return names

    monkeypatch.setattr(FolderBackend, "files", files_then_gone)
    reading = read_class(store_at(tmp_path), CLASS, TrustPolicy())
    assert ([file.name for file in reading.publications], reading.rejected) == ([there.name], ())


def test_links_and_pipes_are_refused_and_never_waited_for(tmp_path):
    real = put(tmp_path, said("a"))
    link, pipe = (real.with_name(real.name.replace("a-", f"{name}-", 1)) for name in "bc")
    link.symlink_to(real)
    os.mkfifo(pipe)
    reading = read_class(store_at(tmp_path), CLASS, TrustPolicy())
    assert [file.host for file in reading.publications] == ["a"]
    assert [file.name for file in reading.rejected] == [link.name, pipe.name]


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path):
    path = put(tmp_path, said("a"))
    os.truncate(path, 9 * 2**20)
    (refused,) = read_class(store_at(tmp_path), CLASS, TrustPolicy()).rejected
    assert refused.reason == "it is larger than 8 MiB, the most that a store may hold."


def test_names_that_no_one_gives_are_refused(tmp_path):
    put(tmp_path, said("a"), name="..a.json")
    put(tmp_path, said("a"), name="notes.txt")
    put(tmp_path, said("a"), name=".1700000000-abc.tmp")
    reading = read_class(store_at(tmp_path), CLASS, TrustPolicy())
    assert [file.name for file in reading.rejected] == ["notes.txt"]


def test_a_relative_folder_is_refused():
    with pytest.raises(BadSettings, match="absolute path"):
        open_store("store")


def test_a_store_that_does_not_answer_is_given_up():
    from threading import Event

    from autotune.share.store import Store

    class Silent:
        def files(self, folder):
            Event().wait(30)

    with pytest.raises(StoreProblem, match=r"did not answer within 0\.01 s"):
        Store("/nfs", Silent(), 0.01).files(CLASS)
