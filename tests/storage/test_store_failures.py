"""What a store says is told as it is: its code and message, a bucket that is missing, a listing that lags, no answer at all."""

import socket
import threading
import time
from datetime import timedelta

import pytest

import eventlake as el
import eventlake.testing.s3 as s3_module
from eventlake.cli import main
from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.storage import ObjectStorage

XML = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{}</Code><Message>{}</Message><AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId></Error>"""
EVENT = {"id": "1", "source": "s", "type": "t"}


@pytest.fixture
def lake(s3):
    lake = el.create("s3://bucket/lake", "o")
    lake.append([EVENT])
    return lake


def answering(monkeypatch, status, body):
    def serve(self, work):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    monkeypatch.setattr(s3_module._Handler, "_serve", serve)


VERBS = {
    "open": lambda: el.open("s3://bucket/lake"),
    "create": lambda: el.create("s3://bucket/other", "o"),
    "put": lambda: ObjectStorage("s3://bucket/lake").create("a", b"x"),
    "list": lambda: list(ObjectStorage("s3://bucket/lake").list("")),
    "ranges": lambda: ObjectStorage("s3://bucket/lake").read_ranges("a", [(0, 1)]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_reason_of_a_store_is_its_code_and_message(lake, monkeypatch, verb):
    answering(monkeypatch, 403, XML.format("ExpiredToken", "The provided token has expired."))
    with pytest.raises(StorageError) as caught:
        VERBS[verb]()
    assert caught.value.message.endswith(
        "403 Forbidden: ExpiredToken: The provided token has expired."
    )
    assert "AKIAEXAMPLE" not in str(caught.value)


@pytest.mark.parametrize("verb", ["exists", "modified", "state"])
def test_a_request_that_is_denied_without_a_reason_says_what_it_may_be(lake, monkeypatch, verb):
    """HEAD is answered by a status alone."""
    answering(monkeypatch, 403, XML.format("AccessDenied", "Access Denied"))
    with pytest.raises(StorageError, match="403 Forbidden") as caught:
        getattr(ObjectStorage("s3://bucket/lake"), verb)("lake.json")
    assert caught.value.hint.startswith(
        "denied, or missing: a store that does not let you list a bucket denies what is not there, too."
    )


HINTS = [
    (403, "ExpiredToken", "the credentials have expired"),
    (403, "RequestTimeTooSkewed", "set this machine's clock"),
    (403, "AccessDenied", "denied, or missing"),
    (403, "SignatureDoesNotMatch", "denied, or missing"),
    (400, "ExpiredToken", "the credentials have expired"),
    (400, "AuthorizationHeaderMalformed", "the bucket is in another region"),
    (301, "PermanentRedirect", "the bucket is in another region"),
    (503, "SlowDown", "the store is busy"),
    (429, "TooManyRequests", "the store is busy"),
    (501, "NotImplemented", "check the network, the endpoint and the bucket"),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("status", "code", "hint"), HINTS, ids=[f"{status} {code}" for status, code, _ in HINTS]
)
def test_what_to_do_depends_on_what_the_store_said(lake, monkeypatch, verb, status, code, hint):
    monkeypatch.setenv("EVENTLAKE_STORE_TIMEOUT", "0.5")
    answering(monkeypatch, status, XML.format(code, "A message."))
    with pytest.raises(StorageError) as caught:
        VERBS[verb]()
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("code", ["NoSuchBucket", "ContainerNotFound"])
def test_a_bucket_that_is_missing_is_no_lake_that_is_missing(lake, monkeypatch, verb, code):
    answering(monkeypatch, 404, XML.format(code, "The specified bucket does not exist"))
    with pytest.raises(StorageError, match=rf"there is no such bucket \({code}\)") as caught:
        VERBS[verb]()
    assert not isinstance(caught.value, NotFoundError)


def test_a_lake_that_is_missing_is_still_told_as_one(s3):
    with pytest.raises(NotFoundError, match="there is no lake in s3://bucket/nothing"):
        el.open("s3://bucket/nothing")


def test_a_bucket_that_is_missing_is_exit_code_3(lake, monkeypatch, capsys):
    answering(monkeypatch, 404, XML.format("NoSuchBucket", "no"))
    with pytest.raises(SystemExit) as ended:
        main(["show", "s3://bucket/lake"])
    assert ended.value.code == 3
    assert "there is no such bucket" in capsys.readouterr().err


def test_a_listing_that_does_not_show_the_newest_commit_deletes_nothing(lake, s3, monkeypatch):
    old, real = dict(s3.objects), s3_module._Handler._listing

    def stale(self, prefix):
        now, self.server.objects = self.server.objects, old
        try:
            return real(self, prefix)
        finally:
            self.server.objects = now

    monkeypatch.setattr(s3_module._Handler, "_listing", stale)
    with pytest.raises(StorageError, match="its listing is older") as caught:
        lake.gc(older_than=timedelta(0), dry_run=False)
    assert "nothing was deleted" in caught.value.hint
    assert set(old) <= set(s3.objects)


@pytest.fixture
def silent(s3, monkeypatch):
    """A store that accepts connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = []

    def accept():
        while True:
            try:
                accepted.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield accepted
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in accepted:
        connection.close()


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_that_never_answers_is_given_up_at_the_deadline(silent, monkeypatch, verb):
    monkeypatch.setenv("EVENTLAKE_STORE_TIMEOUT", "0.5")
    began = time.monotonic()
    with pytest.raises(StorageError) as caught:
        VERBS[verb]()
    assert time.monotonic() - began < 30  # not three minutes, however slow the machine is
    assert "EVENTLAKE_STORE_TIMEOUT" in caught.value.hint
    assert silent


def test_the_deadline_is_an_argument_too(silent):
    with pytest.raises(StorageError):
        ObjectStorage("s3://bucket/lake", timeout=0.5).read("a")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "soon", 1e9])
def test_a_deadline_that_is_no_number_of_seconds_is_refused(s3, monkeypatch, seconds):
    with pytest.raises(InvalidInputError, match="expected a timeout in seconds"):
        ObjectStorage("s3://bucket/lake", timeout=seconds)
    monkeypatch.setenv("EVENTLAKE_STORE_TIMEOUT", str(seconds))
    with pytest.raises(InvalidInputError, match="expected a timeout in seconds"):
        ObjectStorage("s3://bucket/lake")
