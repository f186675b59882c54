"""A small S3 server for tests, on loopback, with atomic conditional PUTs and faults on demand.

It supports the requests that a storage makes (PUT with and without ``If-None-Match: *``, GET with
and without a range, HEAD, DeleteObjects, ListObjectsV2) and checks no signatures.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

Fault = str | None
"""The kind of a failure.

``refuse``: 503, nothing is done. ``deny``: 403, nothing is done. ``lose``: it is done, but the
answer is 503. ``drop``: it is done, but the connection is closed without an answer. None for none.
"""


def _now() -> str:
    """The modification time of every listed object; its age does not matter here."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _healthy(method: str, key: str) -> Fault:
    del method, key
    return None


class S3Server(ThreadingHTTPServer):
    """A server with the objects of all buckets, by ``bucket/key``.

    Attributes:
        objects: The stored bytes.
        stored_at: When they were stored; seconds since 1970-01-01 UTC.
        fault: Called before each request with its method and key.
        requests: ``(method, key)`` of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.stored_at: dict[str, float] = {}
        self.fault: Callable[[str, str], Fault] = _healthy
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Environment variables by which a client finds the server."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server for the duration of the block."""
    server = S3Server()
    # Polled often, so that the end of a block does not wait half a second.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    # Answers are small, and Nagle's algorithm would hold them back.
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        """Store an object; with ``If-None-Match: *`` only if there is none."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = self._key()

        def put() -> tuple[int, bytes]:
            with self.server.lock:
                # The lock makes check and store one step, as S3 does.
                if self.headers.get("If-None-Match") == "*" and key in self.server.objects:
                    return 412, b""
                self.server.objects[key] = data
                self.server.stored_at[key] = time.time()
            return 200, b""

        self._serve(put)

    def do_GET(self) -> None:
        """Return an object or a listing."""
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._serve(lambda: (200, self._listing(query.get("prefix", [""])[0])))
        else:
            self._serve(self._object)

    def do_HEAD(self) -> None:
        """Return an object's size."""
        self._serve(self._object)

    def do_POST(self) -> None:
        """Delete objects (DeleteObjects)."""
        wanted = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        bucket = self._key()

        def delete() -> tuple[int, bytes]:
            keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", wanted)]
            with self.server.lock:
                for key in keys:
                    self.server.objects.pop(f"{bucket}/{key}", None)
            deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            return 200, f"<DeleteResult>{deleted}</DeleteResult>".encode()

        self._serve(delete)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).strip("/")

    def _object(self) -> tuple[int, bytes]:
        data = self.server.objects.get(self._key())
        if data is None:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>"
        wanted = self.headers.get("Range")
        if wanted is None:
            return 200, data
        first, last = (int(bound) for bound in wanted.removeprefix("bytes=").split("-"))
        self.range = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
        return 206, data[first : last + 1]

    def _listing(self, prefix: str) -> bytes:
        bucket = self._key()
        with self.server.lock:
            found = sorted(
                (key.removeprefix(f"{bucket}/"), len(data))
                for key, data in self.server.objects.items()
            )
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size>"
            f"<LastModified>{_now()}</LastModified></Contents>"
            for key, size in found
            if key.startswith(prefix)
        )
        return (
            f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()
        )

    def _serve(self, work: Callable[[], tuple[int, bytes]]) -> None:
        key = self._key()
        self.server.requests.append((self.command, key))
        fault = self.server.fault(self.command, key)
        status, body = {"refuse": (503, b""), "deny": (403, b"")}.get(fault or "") or work()
        # Closing without an answer is the case in which a client cannot know what happened.
        if fault == "drop":
            self.close_connection = True
            return
        if fault == "lose":
            status, body = 503, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        if status == 206:  # noqa: PLR2004 - Partial Content
            self.send_header("Content-Range", self.range)
        self.send_header(
            "Last-Modified", formatdate(self.server.stored_at.get(key, time.time()), usegmt=True)
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
