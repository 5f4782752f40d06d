"""The S3 protocol, spoken by a real server on loopback."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.profile_builders import KEY, alone
from support.published_profiles import said

from autotune.errors import StoreProblem
from autotune.share.fetch import read_class
from autotune.share.mirror import pull
from autotune.share.publish import publish
from autotune.share.store_settings import open_store
from autotune.share.trust import TrustPolicy

pytestmark = pytest.mark.real
moto = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """The URL of an empty bucket."""
    import boto3
    import s3fs

    alone(monkeypatch, tmp_path)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket=f"cluster-{port}")  # servers share their memory
    yield f"s3://cluster-{port}/autotune"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_hosts_publish_and_one_pulls(bucket):
    store = open_store(bucket)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda host: publish(said(host), open_store(bucket)), "abcd"))
    assert all(published.new for published in done)
    assert not publish(said("a"), store).new
    (own,) = pull(store, TrustPolicy(), KEY).mirrored
    assert (own.hosts, own.confirmed) == (4, 1)


def test_many_writers_of_the_same_bytes_make_one_file(bucket):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: publish(said("a"), open_store(bucket)), range(8)))
    assert len(read_class(open_store(bucket), KEY.slug, TrustPolicy()).publications) == 1


def test_the_older_publication_of_a_host_goes(bucket):
    store = open_store(bucket)
    publish(said("a", created="2026-01-01"), store)
    new = publish(said("a", created="2026-01-02"), store)
    assert [file.name for file in store.files(KEY.slug)] == [new.name]
    assert len(store.files(KEY.slug)) == 1


def test_a_bucket_that_is_not_there_is_told(bucket):
    with pytest.raises(StoreProblem, match="cannot be"):
        publish(said("a"), open_store("s3://no-such-bucket/x"))
    with pytest.raises(StoreProblem, match="cannot be listed"):
        open_store("s3://no-such-bucket/x").files(KEY.slug)


def test_missing_credentials_are_told(bucket, monkeypatch):
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_ENDPOINT_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreProblem, match="credentials are missing"):
        open_store(bucket).files(KEY.slug)
