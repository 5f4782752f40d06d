"""Profile files are read with suspicion and written whole."""

import os
import tempfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.profile_builders import make_entry, profile

from autotune.errors import ProfileError
from autotune.model.profile import Profile
from autotune.profiles.entry_merge import keep
from autotune.profiles.folders import Layer
from autotune.profiles.profile_document import decode_profile, encode_profile
from autotune.profiles.profile_files import read, write
from autotune.profiles.yaml_subset import parse
from autotune.profiles.yaml_writer import text_of

MADE = profile(
    make_entry("qr", choice={"blas_threads": 1}, safe=(1,), m=128, n=128),
    make_entry("qr", choice={"blas_threads": 2}, speedup=3.0, m=64, n=64),
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
    reread = read(written, Layer.USER)
    assert reread.key == MADE.key
    assert [entry.choice for entry in reread.entries] == [MADE.entries[n].choice for n in (2, 1, 0)]
    assert reread.entries[1].evidence.speedup == 3.0
    assert decode_profile(parse(text_of(reread).encode())) == reread


def test_equal_profiles_give_equal_bytes_whatever_their_order(tmp_path):
    write(MADE, tmp_path / "a.yaml")
    write(Profile(key=MADE.key, entries=MADE.entries[::-1], provenance=MADE.provenance), tmp_path / "b.yaml")
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()


def test_the_text_is_for_people(written):
    text = written.read_text()
    lines = text.splitlines(keepends=True)
    assert lines[0].startswith("# yaml-language-server: $schema=https://")
    assert "".join(lines[1:]).startswith(
        "# Profile of A CPU: 8 usable CPUs, openblas 0.3.31.\n# Measured by autotune 0.1.0 on 2026-01-02"
    )
    assert 'blas_version: "0.3.31"' in text
    assert "      - sizes: {m: 128, n: 128}\n        status: tuned\n        choice: {blas_threads: 1}\n" in text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), st.floats(1e-12, 1e12))
def test_any_text_and_any_number_survive_writing(text, seconds):
    """Names of CPUs and reasons come from elsewhere: quotes, line ends, control characters, other scripts."""
    from dataclasses import replace

    made = replace(MADE, provenance=replace(MADE.provenance, cpu=text, resolution=seconds))
    reread = decode_profile(parse(text_of(made).encode()))
    assert reread.provenance.cpu == text
    assert reread.provenance.resolution == pytest.approx(seconds, rel=1e-5)
    assert all(line.startswith("#") for line in text_of(made).splitlines()[:5])


def test_a_reason_that_is_too_long_is_shortened_and_not_lost():
    from dataclasses import replace

    long = replace(MADE.entries[0], reason="x" * 600)
    reread = decode_profile(parse(text_of(profile(long)).encode()))
    assert reread.entries[0].reason == "x" * 511 + "…"


def test_writing_leaves_nothing_else_behind(written):
    write(MADE, written)
    assert list(written.parent.iterdir()) == [written]


def test_a_failed_write_leaves_the_old_file(written, monkeypatch):
    old = written.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(profile(), written)
    assert list(written.parent.iterdir()) == [written]
    assert written.read_bytes() == old


def test_what_cannot_be_written_where_asked_goes_to_the_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "file").touch()
    assert keep(MADE, tmp_path / "file" / "p.yaml").path == tmp_path / "state" / "p.yaml"
    assert read(tmp_path / "state" / "p.yaml").key == MADE.key


def test_what_went_to_the_state_folder_before_is_joined_and_not_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "file").touch()
    for operation in ("svd", "qr"):
        made = replace(MADE, entries=(make_entry(operation, m=5, n=5),))
        kept = keep(made, tmp_path / "file" / "p.yaml")
    assert [entry.operation.name for entry in kept.profile.entries] == ["qr", "svd"]


def test_a_file_that_cannot_be_read_as_a_profile_is_renamed_and_not_lost(written):
    path = written
    texts = [path.read_text().replace("m: 128", f"{size}: 128") for size in ("k", "rows")]
    for number, text in enumerate(texts):
        path.write_text(text)
        kept = keep(MADE, path)
        assert kept.set_aside == path.with_name(f"{path.name}.refused{number or ''}")
        assert (kept.path, read(path).key) == (path, MADE.key)
    assert [aside.read_text() for aside in sorted(path.parent.glob("*.refused*"))] == texts
    assert keep(MADE, path).set_aside is None


def test_the_last_refuge_is_a_folder_that_no_other_user_can_have_made(tmp_path, monkeypatch):
    """A file of that name, or a folder, may lie in wait in the folder for temporary files."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "file" / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "p.yaml").mkdir()
    place = keep(MADE, tmp_path / "file" / "p.yaml").path
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert place.parent.parent == tmp_path


def test_if_no_folder_takes_it_the_first_error_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path / "file" / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "tmp"))
    with pytest.raises(OSError) as caught:
        keep(MADE, tmp_path / "file" / "p.yaml")
    assert str(tmp_path / "file") in str(caught.value)


def refused(path, layer):
    with pytest.raises(ProfileError) as caught:
        read(path, layer)
    assert caught.value.path == path
    return caught.value.reason


def test_a_missing_file_is_refused(tmp_path):
    assert refused(tmp_path / "none.yaml", Layer.SHIPPED) == "it cannot be read: No such file or directory."


def test_a_folder_is_refused(tmp_path):
    assert "folder" in refused(tmp_path, Layer.SHIPPED)


@has_modes
@pytest.mark.parametrize("layer", Layer)
def test_a_layer_decides_what_a_file_and_its_folder_must_be(written, layer):
    """Files that are found must be safe from the group as well; shipped ones are as safe as the program."""
    accepted = {
        (0o644, 0o755): set(Layer),
        (0o646, 0o755): {Layer.SHIPPED},
        (0o664, 0o755): {Layer.SHIPPED, Layer.NAMED},
        (0o644, 0o777): {Layer.SHIPPED},
        (0o644, 0o775): {Layer.SHIPPED, Layer.NAMED},
        (0o644, 0o1777): set(Layer),
    }
    if os.geteuid() == 0:  # a group whose members are unknown
        os.chown(written, -1, 54321)
        os.chown(written.parent, -1, 54321)
    for (mode, folder_mode), layers in accepted.items():
        written.chmod(mode)
        written.parent.chmod(folder_mode)
        if layer in layers:
            assert read(written, layer).key == MADE.key
        else:
            assert "can be written by" in refused(written, layer)


@can_give_away
def test_a_file_of_other_code_is_shown_and_not_applied(written):
    os.chown(written, 12345, -1)
    for layer in set(Layer) - {Layer.SHIPPED}:
        assert refused(written, layer) == "it belongs to user 12345, who is neither you nor root."
    assert read(written).key == MADE.key


def test_what_is_wrong_inside_is_told_with_the_path(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("schema: one\n")
    with pytest.raises(ProfileError, match=r"p\.yaml: schema: expected a whole number"):
        read(path)


def test_the_document_of_the_text_is_the_document_of_the_profile(written):
    assert parse(written.read_bytes())["key"] == encode_profile(MADE)["key"]
