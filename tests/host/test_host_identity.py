"""A host is the same under another name, and two containers on one computer are one host."""

import pytest
from support.namespaces import unshared
from support.programs import printed

from autotune.host import identity
from autotune.model.profile import Provenance, is_same_computer, is_same_system


@pytest.fixture(autouse=True)
def unnamed(monkeypatch):
    monkeypatch.delenv("AUTOTUNE_HOST_ID", raising=False)


def computer(monkeypatch, *, name="a", boot="boot", machine="machine", board=None):
    """The provenance of what is measured on a computer like this."""
    files = {
        "/proc/sys/kernel/random/boot_id": boot,
        "/etc/machine-id": machine,
        "/sys/class/dmi/id/product_uuid": board,
    }
    monkeypatch.setattr(identity, "read", files.get)
    monkeypatch.setattr("socket.gethostname", lambda: name)
    return Provenance(host=identity.host_id(), marks=identity.marks())


BOARD = "4c4c4544-0042-3510-8052-b3c04f573732"


@pytest.mark.parametrize(
    ("other", "computers", "systems"),
    [
        ({"name": "renamed"}, True, True),
        ({"name": "renamed", "boot": "later"}, False, True),  # a rename and a restart: a clone looks the same
        ({"name": "container", "machine": None}, True, True),
        ({"name": "container", "machine": "of an image"}, True, True),
        ({"name": "container", "machine": "of an image", "boot": "later", "board": BOARD}, False, False),
        ({"name": "b", "machine": "other", "boot": "other"}, False, False),
        ({"name": "a", "boot": "later"}, True, True),
    ],
)
def test_a_computer_is_told_by_its_boot_and_a_system_by_its_installation(monkeypatch, other, computers, systems):
    here, there = computer(monkeypatch), computer(monkeypatch, **other)
    assert is_same_computer(here, there) is computers
    assert is_same_system(here, there) is systems


def test_the_boards_number_tells_a_computer_after_a_restart(monkeypatch):
    here = computer(monkeypatch, board=BOARD)
    there = computer(monkeypatch, name="container", machine=None, boot="later", board=BOARD)
    assert is_same_computer(here, there)


@pytest.mark.parametrize("junk", ["00000000-0000-0000-0000-000000000000", "03000200-0400-0500-0006-000700080009"])
def test_a_number_that_many_boards_have_tells_nothing(monkeypatch, junk):
    here = computer(monkeypatch, board=junk)
    assert not any(mark.startswith("board") for mark in here.marks)


def test_hosts_that_the_administrator_names_are_told_by_that_alone(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_HOST_ID", "node-1")
    here = computer(monkeypatch)
    assert (here.host, here.marks) == ("node-1", ())


def test_no_mark_shows_what_it_was_made_from(monkeypatch):
    assert "machine" not in "".join(mark.partition("-")[2] for mark in computer(monkeypatch).marks)


@pytest.mark.real
def test_a_host_that_is_renamed_is_still_the_computer_that_it_was():
    code = "from autotune.host.identity import *; print(host_id(), *marks())"
    before = printed(code).split()
    after = printed(code, command=unshared("--uts", setup="hostname another-name")).split()
    assert before[1:] == after[1:]
    assert before[1:]
