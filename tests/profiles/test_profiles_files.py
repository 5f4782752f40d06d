"""Profile files are read with suspicion and written whole."""

import os
import stat
import tempfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.profile_builders import make_entry, profile

from autotune.errors import ProfileError
from autotune.model.profile import Profile
from autotune.profiles import profile_files
from autotune.profiles.entry_merge import keep
from autotune.profiles.profile_files import Trust, read, write
from autotune.profiles.schema import document_of, profile_of
from autotune.profiles.yaml_subset import parse
from autotune.profiles.yaml_writer import text_of

MADE = profile(
    make_entry("qr", choice={"blas_threads": 1}, safe=(1,), m=128, n=128),
    make_entry("qr", choice={"blas_threads": 2}, ratio=1 / 3, m=64, n=64),
    make_entry("log", choice={"workers": 2, "chunk": 65536}, n=1000),
)
can_give_away = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
has_modes = pytest.mark.skipif(os.name != "posix", reason="this system has no POSIX modes")


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "profile.yaml"
    write(MADE, path)
    path.parent.chmod(0o755)
    return path


def test_what_is_written_can_be_read(written):
    """Numbers keep six digits, so what was read once is read the same ever after."""
    known = read(written, Trust.FOUND)
    assert known.key == MADE.key
    assert [one.choice for one in known.entries] == [MADE.entries[n].choice for n in (2, 1, 0)]
    assert known.entries[1].ratio == 0.333333
    assert profile_of(parse(text_of(known).encode())) == known


def test_equal_profiles_give_equal_bytes_whatever_their_order(tmp_path):
    write(MADE, tmp_path / "a.yaml")
    write(Profile(key=MADE.key, entries=MADE.entries[::-1], provenance=MADE.provenance), tmp_path / "b.yaml")
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()


def test_the_text_is_for_people(written):
    text = written.read_text()
    assert text.startswith(
        "# Profile of A CPU: 8 usable CPUs, openblas 0.3.31.\n# Measured by autotune 0.1.0 on 2026-01-02"
    )
    assert 'blas_version: "0.3.31"' in text
    assert (
        "      - sizes: {m: 128, n: 128}\n        status: tuned\n        choice: {blas_threads: 1}\n" in text
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), st.floats(1e-12, 1e12))
def test_any_text_and_any_number_survive_writing(text, seconds):
    """Names of CPUs and reasons come from elsewhere: quotes, line ends, control characters, other scripts."""
    from dataclasses import replace

    made = replace(MADE, provenance=replace(MADE.provenance, cpu=text, resolution=seconds))
    known = profile_of(parse(text_of(made).encode()))
    assert known.provenance.cpu == text
    assert known.provenance.resolution == pytest.approx(seconds, rel=1e-5)
    assert all(line.startswith("#") for line in text_of(made).splitlines()[:4])


def test_a_reason_that_is_too_long_is_shortened_and_not_lost():
    from dataclasses import replace

    long = replace(MADE.entries[0], reason="x" * 600)
    known = profile_of(parse(text_of(profile(long)).encode()))
    assert known.entries[0].reason == "x" * 511 + "…"


def test_a_profile_of_ten_thousand_entries_passes_our_own_limits():
    entries = [
        make_entry(f"op_{n // 50}", choice={"blas_threads": 1}, safe=(1, 2, 4), m=n + 1, n=128)
        for n in range(10_000)
    ]
    assert len(profile_of(parse(text_of(profile(*entries)).encode())).entries) == 10_000


def test_writing_leaves_nothing_else_behind(written):
    write(MADE, written)
    assert list(written.parent.iterdir()) == [written]


def test_a_failed_write_leaves_the_old_file(written, monkeypatch):
    old = written.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profile_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(profile(), written)
    assert list(written.parent.iterdir()) == [written]
    assert written.read_bytes() == old


def test_what_cannot_be_written_where_asked_goes_to_the_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "file").touch()
    assert keep(MADE, tmp_path / "file" / "p.yaml")[1] == tmp_path / "state" / "p.yaml"
    assert read(tmp_path / "state" / "p.yaml").key == MADE.key


def test_what_went_to_the_state_folder_before_is_joined_and_not_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "file").touch()
    for operation in ("svd", "qr"):
        made = replace(MADE, entries=(make_entry(operation, m=5, n=5),))
        kept, _, _ = keep(made, tmp_path / "file" / "p.yaml")
    assert [one.operation.name for one in kept.entries] == ["qr", "svd"]


def test_the_last_refuge_is_a_folder_that_nobody_else_can_have_made(tmp_path, monkeypatch):
    """A file of that name, or a folder, may lie in wait in the folder for temporary files."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "file" / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "p.yaml").mkdir()
    _, place, _ = keep(MADE, tmp_path / "file" / "p.yaml")
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert place.parent.parent == tmp_path


def test_if_no_folder_takes_it_the_first_error_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "file" / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "tmp"))
    with pytest.raises(OSError) as caught:
        keep(MADE, tmp_path / "file" / "p.yaml")
    assert str(tmp_path / "file") in str(caught.value)


def refused(path, trust):
    with pytest.raises(ProfileError) as caught:
        read(path, trust)
    assert caught.value.path == path
    return caught.value.reason


def test_a_missing_file_is_refused(tmp_path):
    assert refused(tmp_path / "none.yaml", Trust.ANY) == "it cannot be read: No such file or directory."


def test_a_folder_is_refused(tmp_path):
    assert "folder" in refused(tmp_path, Trust.ANY)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "p.yaml")
    assert refused(tmp_path / "p.yaml", Trust.NAMED) == "it is not a regular file."


def test_a_device_is_refused():
    from pathlib import Path

    assert refused(Path(os.devnull), Trust.ANY) == "it is not a regular file."


def test_a_link_is_refused_where_it_was_found_and_followed_where_it_was_named(written):
    link = written.with_name("link.yaml")
    link.symlink_to(written)
    assert "symbolic link" in refused(link, Trust.FOUND)
    assert read(link, Trust.NAMED).key == MADE.key


@has_modes
@pytest.mark.parametrize(
    ("mode", "trust", "reason"),
    [
        (0o646, Trust.NAMED, "it can be written by everybody"),
        (0o646, Trust.FOUND, "it can be written by everybody"),
        (0o664, Trust.FOUND, "it can be written by its group"),
    ],
)
def test_a_file_that_others_may_write_is_refused(written, mode, trust, reason):
    written.chmod(mode)
    assert refused(written, trust).startswith(reason)


@has_modes
def test_a_file_of_the_group_may_be_named_and_any_may_be_shown(written):
    written.chmod(0o664)
    assert read(written, Trust.NAMED).key == MADE.key
    written.chmod(0o666)
    assert read(written, Trust.ANY).key == MADE.key


@has_modes
def test_a_file_in_a_folder_that_others_may_write_is_refused(written):
    written.parent.chmod(0o777)
    assert refused(written, Trust.NAMED).startswith("its folder can be written by everybody")
    written.parent.chmod(0o775)
    assert refused(written, Trust.FOUND).startswith("its folder can be written by its group")
    assert read(written, Trust.NAMED).key == MADE.key


@has_modes
def test_a_sticky_folder_is_as_good_as_a_private_one(written):
    written.parent.chmod(0o777 | stat.S_ISVTX)
    assert read(written, Trust.NAMED).key == MADE.key


@can_give_away
def test_a_file_of_somebody_else_is_refused(written):
    os.chown(written, 12345, -1)
    assert refused(written, Trust.NAMED) == "it belongs to user 12345, who is neither you nor root."
    assert refused(written, Trust.FOUND) == "it belongs to user 12345, who is neither you nor root."
    assert read(written, Trust.ANY).key == MADE.key


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "p.yaml"
    with path.open("wb") as file:
        file.truncate(9 * 2**20)
    assert "larger than 8 MiB" in refused(path, Trust.ANY)


def test_what_is_wrong_inside_is_told_with_the_path(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("schema: one\n")
    with pytest.raises(ProfileError, match=r"p\.yaml: schema: expected a whole number"):
        read(path)


def test_the_document_of_the_text_is_the_document_of_the_profile(written):
    assert parse(written.read_bytes())["key"] == document_of(MADE)["key"]
