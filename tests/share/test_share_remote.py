"""Stores behind URLs: memory, a web server's folder, and S3 as its errors show it."""

import errno
import functools
import http.server
import re
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import fsspec
import pytest
from support.profile_builders import KEY, alone
from support.published_profiles import put, said

from autotune.errors import BadSettings, MissingPackage, StoreProblem
from autotune.share.fetch import read_class
from autotune.share.fsspec_backend import FsspecBackend
from autotune.share.mirror import pull
from autotune.share.publication import encode
from autotune.share.publish import publish
from autotune.share.store import StoredFile, cause, without_secrets
from autotune.share.store_settings import open_store
from autotune.share.trust import TrustPolicy

CLASS = KEY.slug


@pytest.fixture
def memory():
    """A store in memory, emptied afterwards."""
    yield open_store("memory://shelf")
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


class NoSuchThing(Exception):
    """As botocore's ClientError: it holds the response."""

    def __init__(self, code, status):
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def failing(monkeypatch, system, *problems):
    """The first writes fail with these, one after the other."""
    left = list(problems)
    write = type(system).pipe_file

    def pipe(self, path, value, mode="overwrite", **more):
        if left:
            raise left.pop(0)
        return write(self, path, value, mode=mode, **more)

    monkeypatch.setattr(type(system), "pipe_file", pipe)


def s3_error(code, status):
    """As s3fs translates botocore's."""
    problem = OSError(errno.EBUSY, "Conflict")
    problem.__cause__ = NoSuchThing(code, status)
    return problem


def test_what_is_published_is_read(memory):
    assert publish(said("a"), memory).new
    assert not publish(said("a"), memory).new
    assert [file.profile for file in read_class(memory, CLASS, TrustPolicy()).publications] == [said("a")]
    assert memory.folders() == [CLASS]


def test_an_empty_store_has_no_classes(memory):
    assert (memory.folders(), memory.files(CLASS)) == ([], [])


def test_the_older_publication_of_a_host_is_removed(memory):
    publish(said("a", created="2026-01-01"), memory)
    new = publish(said("a", created="2026-01-02"), memory)
    assert [file.name for file in memory.files(CLASS)] == [new.name]
    assert len(memory.files(CLASS)) == 1


def test_removing_what_is_gone_is_no_matter(memory):
    memory.remove(CLASS, "a")


def test_a_conflict_is_asked_again(memory, monkeypatch):
    monkeypatch.setattr("autotune.share.fsspec_backend.CONFLICT_SECONDS", 0)
    conflict = s3_error("ConditionalRequestConflict", 409)
    failing(monkeypatch, fsspec.filesystem("memory"), conflict, conflict)
    assert publish(said("a"), memory).new


def test_conflicts_without_end_are_told(memory, monkeypatch):
    monkeypatch.setattr("autotune.share.fsspec_backend.CONFLICT_SECONDS", 0)
    failing(monkeypatch, fsspec.filesystem("memory"), *[s3_error("409", 409)] * 9)
    with pytest.raises(StoreProblem, match="cannot be written to"):
        publish(said("a"), memory)


def test_a_failed_precondition_means_that_it_is_there(memory, monkeypatch):
    publish(said("a"), memory)
    failing(monkeypatch, fsspec.filesystem("memory"), s3_error("PreconditionFailed", 412))
    assert not publish(said("a"), memory).new


def test_a_file_that_a_writer_left_too_short_is_mended(memory):
    name, data = encode(said("a"))
    fsspec.filesystem("memory").pipe_file(f"/shelf/v1/{CLASS}/{name}", data[:10])
    assert publish(said("a"), memory).new
    assert len(read_class(memory, CLASS, TrustPolicy()).publications) == 1


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (OSError(errno.ENOSPC, "x"), "it is full"),
        (PermissionError("Access Denied"), "Access Denied"),
        (NotImplementedError(), "it is read-only"),
        (type("NoCredentialsError", (Exception,), {})("Unable to locate"), "credentials are missing"),
    ],
)
def test_a_refusal_is_told_in_words(memory, monkeypatch, problem, reason):
    failing(monkeypatch, fsspec.filesystem("memory"), *[problem] * 9)
    with pytest.raises(StoreProblem, match=reason):
        publish(said("a"), memory)


def test_an_unknown_protocol_is_wrong_usage():
    with pytest.raises(BadSettings, match="The protocol 'nix'"):
        open_store("nix://bucket/x")


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)
    with pytest.raises(MissingPackage, match="gcsfs"):
        open_store("gs://bucket/x")


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingPackage, match=r"extra \[share\]"):
        open_store("s3://bucket/x")


def test_no_secret_of_an_address_is_shown():
    assert without_secrets("https://me:secret@host:80/x?token=1") == "https://host:80/x"
    assert without_secrets("zip://a.zip::https://me:secret@host/x") == "zip://a.zip::https://host/x"
    assert without_secrets("/nfs/x?y") == "/nfs/x?y"


def test_no_secret_and_no_escape_of_a_library_s_message_is_shown():
    problem = RuntimeError("500, message='\x1b[2J', url='https://me:secret@host/x?token=1'")
    text = cause(problem)
    assert "https://host/x" in text
    assert not {"secret", "token"} & set(re.findall(r"\w+", text))
    assert text.isprintable()


@pytest.mark.parametrize("address", ["s3://[bucket/x", "http://[::1"])
def test_what_is_no_url_is_wrong_usage(address):
    with pytest.raises(BadSettings, match="is not a URL"):
        open_store(address)


@pytest.mark.real
def test_a_folder_that_a_web_server_shows_can_be_pulled_from_and_not_written_to(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    put(tmp_path / "store", said("a"))
    put(tmp_path / "store", said("b"))
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=tmp_path / "store")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = open_store(f"http://127.0.0.1:{server.server_port}")
        assert pull(store, TrustPolicy(), KEY).mirrored[0].confirmed == 1
        with pytest.raises(StoreProblem, match="it is read-only"):
            publish(said("c"), store)
        server.shutdown()


class Endless(http.server.BaseHTTPRequestHandler):
    """Lists a class, and sends its files without end; with `endless` as the store's name the listing, too."""

    sent = 0

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        if self.path == f"/store/v1/{CLASS}/":
            self.wfile.write(f"<a href='a-{'0' * 64}.json'>a</a>".encode())
            return
        with suppress(ConnectionError):
            while Endless.sent < 2**26:
                Endless.sent += self.wfile.write(b" " * 2**16)

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.real
@pytest.mark.parametrize("name", ["store", "endless"])
def test_a_server_that_sends_without_end_is_given_up(name, monkeypatch):
    monkeypatch.setattr("autotune.share.fsspec_backend.MAX_ANSWER_BYTES", 2**20)
    monkeypatch.setattr(Endless, "sent", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = open_store(f"http://127.0.0.1:{server.server_port}/{name}")
        try:
            reasons = [file.reason for file in read_class(store, CLASS, TrustPolicy()).rejected]
        except StoreProblem as problem:
            reasons = [str(problem)]
        server.shutdown()
    assert "it sends more than a store may hold" in reasons[0]
    assert Endless.sent < 2**25


def test_a_file_larger_than_its_listing_said_is_rejected(memory, monkeypatch):
    publish(said("a"), memory)
    monkeypatch.setattr("autotune.share.fetch.MAX_BYTES", 100)
    monkeypatch.setattr(FsspecBackend, "files", lambda *_: [StoredFile(encode(said("a"))[0], None)])
    (rejected,) = read_class(memory, CLASS, TrustPolicy()).rejected
    assert "it sends more than a store may hold" in rejected.reason


def test_a_folder_with_too_many_names_is_an_error(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("autotune.share.fsspec_backend.MAX_LISTED", 1)
    monkeypatch.setattr("autotune.share.folder_backend.MAX_LISTED", 1)
    (tmp_path / "store").mkdir()
    for store in (memory, open_store(str(tmp_path / "store"))):
        publish(said("a"), store)
        assert len(store.files(CLASS)) == 1
        publish(said("b"), store)
        with pytest.raises(StoreProblem, match="it sends more than a store may hold"):
            store.files(CLASS)


@pytest.mark.parametrize("names", [0, 1000])
def test_a_listing_of_s3_whose_pages_never_end_is_given_up(names, monkeypatch):
    pytest.importorskip("s3fs")
    tokens = []

    def call_s3(_method, **words):
        tokens.append(words.get("ContinuationToken"))
        contents = [{"Key": f"autotune/v1/x/{number}", "Size": 1} for number in range(names)]
        return {"IsTruncated": True, "NextContinuationToken": str(len(tokens)), "Contents": contents}

    system = SimpleNamespace(call_s3=call_s3, invalidate_cache=lambda: None)
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda _: (system, "bucket/autotune"))
    backend = FsspecBackend("s3://bucket/autotune")
    with pytest.raises(OSError, match="it lists more than") as problem:
        backend.files("x")
    assert problem.value.errno == errno.EFBIG
    assert tokens == [None, *map(str, range(1, len(tokens)))]


@pytest.mark.real
def test_the_ground_floor_never_loads_what_stores_need():
    code = "import autotune.profiles.resolve, autotune.runtime.apply, autotune.share.mirror, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert not {"fsspec", "cryptography", "s3fs", "aiohttp"} & set(done.stdout.split())
