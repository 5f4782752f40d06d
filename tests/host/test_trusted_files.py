"""Files that others could have written are refused, and files are written whole."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.errors import UntrustedFile
from autotune.host.trusted_files import FileRule, read_file, replace_file

PLAIN = FileRule(100)
FOUND = FileRule(100, check_folder=True, check_folder_owner=True, follow_links=True)
posix = pytest.mark.skipif(os.name != "posix", reason="this system has no POSIX modes")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "folder" / "file"
    place.parent.mkdir(mode=0o755)
    place.write_bytes(b"content")
    place.chmod(0o644)
    return place


def refusal(path, rule):
    with pytest.raises(UntrustedFile) as caught:
        read_file(path, rule)
    assert str(caught.value) == f"{caught.value.path}: {caught.value.reason}"
    return caught.value.reason


def test_a_plain_file_is_read_with_its_only_writer(path):
    content = read_file(path, FOUND)
    assert content.data == b"content"
    assert content.owner == (os.geteuid() if os.name == "posix" else None)


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", FOUND)


def test_what_is_no_file_is_refused_without_waiting(path):
    assert refusal(path.parent, PLAIN) == "it is a folder."
    assert refusal(Path(os.devnull), PLAIN.replace(any_owner=True)) == "it is not a regular file."
    if hasattr(os, "mkfifo"):
        os.mkfifo(path.with_name("pipe"))
        assert refusal(path.with_name("pipe"), PLAIN) == "it is not a regular file."


def test_a_file_above_the_limit_is_refused(path):
    path.write_bytes(b"x" * 101)
    assert refusal(path, PLAIN) == "it is larger than 100 bytes."


@posix
@pytest.mark.parametrize(
    ("mode", "rule", "reason"),
    [
        (0o646, PLAIN.replace(group_may_write=True), "it can be written by everybody"),
        (0o664, PLAIN, "it can be written by its group"),
        (0o604, PLAIN.replace(secret=True), "other users may read it"),
    ],
)
def test_a_mode_that_lets_others_in_is_refused(path, mode, rule, reason, monkeypatch):
    import grp

    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("team", "x", gid, ["another"])))
    path.chmod(mode)
    assert refusal(path, rule).startswith(reason)
    assert read_file(path, FileRule(100, any_owner=True)).data == b"content"


@posix
def test_who_may_write_to_the_folder_may_exchange_the_file(path):
    path.parent.chmod(0o777)
    assert refusal(path, FOUND) == "its folder can be written by everybody; `chmod go-w` makes it trustworthy."
    path.parent.chmod(0o1777)
    assert read_file(path, FOUND).data == b"content"


@as_root
def test_a_foreign_owner_is_refused_unless_the_rule_names_the_owner(path):
    os.chown(path, 12345, 0)
    assert refusal(path, FOUND) == "it belongs to user 12345, who is neither you nor root."
    assert read_file(path, FOUND.replace(owners=frozenset({12345}))).owner == 12345
    os.chown(path, 0, 0)
    os.chown(path.parent, 12345, 0)
    assert refusal(path, FOUND) == "its folder belongs to user 12345, who is neither you nor root."


@as_root
@pytest.mark.parametrize("outsiders", [[], ["another"]])
def test_a_group_counts_by_its_members(path, monkeypatch, outsiders):
    """A group without an account is that of a volume; a private group has its user alone."""
    import grp
    import pwd

    path.chmod(0o664)
    own = pwd.getpwuid(0).pw_name
    private = grp.struct_group((own, "x", 0, outsiders))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: private)
    if outsiders:
        assert "its group" in refusal(path, FOUND)
    else:
        assert read_file(path, FOUND).owner is None
    monkeypatch.undo()
    os.chown(path, 0, 54321)
    assert "its group" in refusal(path, FOUND)
    monkeypatch.setattr(os, "getgroups", lambda: [54321])
    assert read_file(path, FOUND).data == b"content"


def test_a_second_name_is_refused_where_the_rule_says_so(path):
    os.link(path, path.with_name("other"))
    assert refusal(path, PLAIN.replace(single_name=True)) == "it has another name elsewhere."


def test_a_link_is_followed_only_where_the_rule_says_so(path):
    link = path.with_name("link")
    link.symlink_to(path)
    assert "symbolic link" in refusal(link, PLAIN)
    assert read_file(link, FOUND).data == b"content"


@posix
def test_with_a_link_the_folder_of_the_target_counts_too(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    path.parent.chmod(0o777)
    assert "its folder can be written by everybody" in refusal(link, FOUND)
    path.parent.chmod(0o755)
    tmp_path.chmod(0o777)
    assert "its folder can be written by everybody" in refusal(link, FOUND)


def test_the_links_of_a_mounted_configmap_are_followed(tmp_path):
    """Kubernetes replaces all files of a ConfigMap at once by exchanging the link `..data`."""
    (tmp_path / "..2026_01_02").mkdir()
    (tmp_path / "..2026_01_02" / "profile.yaml").write_bytes(b"mapped")
    (tmp_path / "..data").symlink_to("..2026_01_02")
    (tmp_path / "profile.yaml").symlink_to("..data/profile.yaml")
    assert read_file(tmp_path / "profile.yaml", FOUND).data == b"mapped"


IMPORTS = """
import ctypes, os, sys
from autotune.host.trusted_files import FileRule, read_file
from autotune.errors import UntrustedFile
"""
READ = """
rule = FileRule(100, check_folder=True, check_folder_owner=True)
try:
    print(read_file({path!r}, rule).data.decode())
except UntrustedFile as error:
    print(error.reason)
"""


@pytest.mark.real
@as_root
def test_roots_files_count_in_a_user_namespace_that_does_not_map_root():
    """As in rootless containers: root's files, which this process cannot write, belong to the overflow uid."""
    with tempfile.TemporaryDirectory() as folder:  # which other users may enter, as they may not pytest's
        Path(folder).chmod(0o755)
        path = Path(folder, "file")
        path.write_bytes(b"content")
        path.chmod(0o644)
        code = IMPORTS + UNMAPPED + READ.format(path=str(path))
        assert run(code) == "content"
        path.chmod(0o666)
        assert "belongs to user 65534" in run(code)
        path.chmod(0o644)
        os.chown(path, 1000, 1000)
        assert run(code) == "content"


UNMAPPED = """
os.setgid(1000); os.setuid(1000)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, or else /proc/self stays with root
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
    print("no namespace"); sys.exit()
for name, text in (("setgroups", "deny"), ("uid_map", "1000 1000 1"), ("gid_map", "1000 1000 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
"""


def run(code):
    """Return a program's output; skips where the kernel allows no namespace."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "no namespace":
        pytest.skip("this kernel allows no user namespace")
    return done.stdout.strip()


@pytest.mark.real
@as_root
def test_on_a_read_only_mount_the_mode_says_nothing(path):
    path.parent.chmod(0o777)
    code = f"""{IMPORTS}
libc = ctypes.CDLL(None, use_errno=True)
folder = {str(path.parent)!r}.encode()
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
if libc.unshare(0x20000) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
    print("no namespace"); sys.exit()
if libc.mount(folder, folder, None, MS_BIND, None) or libc.mount(
    None, folder, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None
):
    print("no namespace"); sys.exit()
""" + READ.format(path=str(path))
    assert run(code) == "content"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path):
    """Root could else put a file in the place of /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="device or a pipe"):
        replace_file(pipe, b"new")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@given(st.binary(max_size=2000))
def test_what_is_written_is_read_and_nothing_is_left_behind(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("written")
    replace_file(folder / "file", data, 0o600)
    assert read_file(folder / "file", FileRule(2000, secret=True)).data == data
    assert [path.name for path in folder.iterdir()] == ["file"]


def failing(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_names_the_file_and_leaves_the_old_one_and_no_other(path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", failing(number))
    with pytest.raises(OSError, match=path.name):
        replace_file(path, b"new")
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


@posix
@pytest.mark.parametrize(("call", "number"), [("chmod", errno.EPERM), ("fsync", errno.EINVAL), ("fsync", errno.ENOSYS)])
def test_a_file_system_without_modes_or_without_syncing_takes_files(path, monkeypatch, call, number):
    monkeypatch.setattr(os, call, failing(number))
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


@posix
def test_the_mode_does_not_depend_on_the_umask(path):
    old = os.umask(0o077)
    try:
        replace_file(path, b"new", 0o644)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o644
