"""An S3 of somebody else's making answers as ours does.

moto checks for an object before it stores one, without a lock, so that now and then two writers
win. It shows that the requests are those of S3; that a race has one winner is shown elsewhere.
"""

import sys

import boto3
import pytest
from moto.server import ThreadedMotoServer

import eventlake as el
from eventlake.storage import ObjectStorage
from eventlake.testing.contract import StorageContract

REGION = "us-east-1"


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch, request):
    """A bucket of the test's own."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"lake-{abs(hash(request.node.nodeid))}"
    boto3.client("s3", endpoint_url=endpoint, region_name=REGION).create_bucket(Bucket=name)
    return name


class TestMoto(StorageContract):
    @pytest.fixture
    def storage(self, bucket):
        return ObjectStorage(f"s3://{bucket}/lakes/one")

    test_of_many_creators_exactly_one_succeeds_and_its_bytes_stand = None


def test_a_lake_lives_in_it(bucket, monkeypatch):
    # The probe asks for one winner of every race, which moto cannot promise.
    opening = sys.modules["eventlake.log.chain.open_or_create"]
    monkeypatch.setattr(opening, "probe", lambda storage: None)
    uri = f"s3://{bucket}/lakes/one"
    lake = el.create(uri, "o")
    for number in range(3):
        lake.append([{"id": str(number), "source": "s", "type": "t", "data": {"n": number}}])
    counted = lake.build(
        el.Projection.sql(
            "counts", "SELECT type, count(*) AS events FROM events GROUP BY type", key=["type"]
        )
    )
    lake.compact()
    again = el.open(uri)
    assert again.reproduce(counted.manifest_hash).identical
    assert again.snapshot().scan(columns=["sequence"]).collect()["sequence"].to_list() == [0, 1, 2]
    assert again.verify(deep=True).ok
