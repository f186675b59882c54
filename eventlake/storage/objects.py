"""Storage in an object store (S3, GCS, Azure) through ``obstore``.

``create`` is one conditional PUT (``If-None-Match: *`` or its equivalent). Inner retries are off
for it: a retry that meets the object of its own first attempt would report another writer's
success. The caller of ``create`` decides what an unanswered request means.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from eventlake.core.instants import micros
from eventlake.errors import InvalidInputError, MissingDependencyError, StorageError
from eventlake.storage.address import Address, address
from eventlake.storage.folderless import Folderless
from eventlake.storage.port import (
    ByteRange,
    ObjectExistsError,
    ObjectMissingError,
    State,
    StoredObject,
    check_recorded,
    check_size,
    inside,
    whole_range,
)

SCHEMES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE", "abfs": "AZURE", "abfss": "AZURE"}
"""The schemes of object stores, each with the prefix of its environment variables."""
_WITH_CONTAINER = frozenset({"abfs", "abfss"})
"""Azure's schemes in which the part before @ is a container rather than a user."""
# A request costs more time than so many bytes.
_COALESCE_BYTES = 16 << 10
"""Ranges with at most this gap between them are requested together."""
TIMEOUT = "EVENTLAKE_STORE_TIMEOUT"
"""The environment variable with the seconds that a store has to answer."""
_TIMEOUT_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_MAX_SECONDS = 86_400.0
_CODE = re.compile(r"<Code>([^<]{1,200})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,1000})</Message>")
_HINTS = (
    (
        re.compile(r"ExpiredToken|TokenRefreshRequired|InvalidToken"),
        "the credentials have expired: get new ones, and run this again.",
    ),
    (
        re.compile(r"RequestTimeTooSkewed|RequestExpired|AuthenticationFailed.*date"),
        "set this machine's clock: the store's differs by minutes.",
    ),
    (
        re.compile(r"NoSuchBucket|ContainerNotFound"),
        "check the bucket's name, and the endpoint, region and account in the environment.",
    ),
    (
        re.compile(
            r"Received redirect|PermanentRedirect|TemporaryRedirect"
            r"|AuthorizationHeaderMalformed|IllegalLocationConstraint"
        ),
        (
            "the bucket is in another region or at another endpoint: "
            "check AWS_REGION and AWS_ENDPOINT_URL."
        ),
    ),
    (
        re.compile(r"status code: (?:429|503)\b|SlowDown|ServerBusy"),
        "the store is busy: run this again in a while, or with fewer processes at once.",
    ),
    (
        re.compile(r"status code: 40[13]\b|necessary privileges"),
        (
            "denied, or missing: a store that does not let you list a bucket denies what is not "
            "there, too. Check the credentials, their permission to read, write and list the "
            "bucket (s3:GetObject, s3:PutObject, s3:ListBucket), and this machine's clock."
        ),
    ),
    (
        re.compile(""),
        (
            f"check the network, the endpoint and the bucket; "
            f"{TIMEOUT} says how many seconds a store has to answer."
        ),
    ),
)
"""Hints by the store's answer; the first pattern that matches wins."""
_YES = frozenset({"1", "true", "on", "yes", "y"})
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "FilesystemNotFound"})


class ObjectStorage(Folderless):
    """Objects below a bucket's prefix, durable once the store has acknowledged them.

    Args:
        uri: Such as ``s3://bucket/lakes/loans``. Credentials, region and endpoint come from the
            environment, as the store's own tools read them (``AWS_…``, ``GOOGLE_…``, ``AZURE_…``).
        timeout: Seconds for a request including its retries and the transfer, so large segments on
            slow lines need more. Defaults to ``EVENTLAKE_STORE_TIMEOUT``, else 30.
    """

    def __init__(self, uri: str, timeout: float | None = None) -> None:
        given = _checked(uri)
        try:
            import obstore  # noqa: PLC0415 - an extra
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError as error:
            message = f"lakes at {given.scheme}:// need obstore"
            raise MissingDependencyError(message, "pip install 'eventlake[objects]'") from error
        uri = given.uri.rstrip("/")
        self._uri = uri
        self._obstore = obstore
        self._errors = obstore.exceptions
        seconds = _seconds(timeout)
        waits: Any = _client(given.scheme) | {
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=min(seconds, _CONNECT_SECONDS)),
        }
        with self._failures("open", ""):
            self._reader: Any = from_url(
                uri,
                client_options=waits,
                retry_config={"retry_timeout": timedelta(seconds=seconds)},
            )
            # A client of its own, because obstore retries per store and not per request.
            self._creator: Any = from_url(
                uri, client_options=waits, retry_config={"max_retries": 0}
            )

        # obstore normalizes the path; a different prefix would silently open another lake.
        reader: Any = self._reader
        found = str(reader.prefix or "")
        if found.strip("/") != given.path.strip("/"):
            message = f"{self._uri} would be read as the prefix {found!r}"
            raise InvalidInputError(
                message,
                "write the prefix without blanks at its ends, control characters and backslashes.",
                uri=self._uri,
            )

    @property
    def uri(self) -> str:
        """Scheme, bucket and prefix as given; never credentials."""
        return self._uri

    def check(self) -> None:
        """Do nothing: an object store has no files that could be in the way of a folder."""

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        with self._failures("read", path):
            found = self._obstore.get(self._reader, path)
            # The size is in the headers of the answer; the body is not read yet.
            check_size(path, found.meta["size"])
            return bytes(found.bytes())

    def read_sized(self, path: str, size_bytes: int) -> bytes:
        """See ``Storage.read_sized``."""
        with self._failures("read", path):
            found = self._obstore.get(self._reader, path)
            check_recorded(path, found.meta["size"], size_bytes)
            return bytes(found.bytes())

    def read_ranges(self, path: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.read_ranges``; requests run in parallel, and close ranges share one."""
        # A store refuses an empty range.
        requested = [part for part in dict.fromkeys(ranges) if part[0] < part[1]]
        starts, ends = [start for start, _ in requested], [stop for _, stop in requested]
        with self._failures("read", path):
            found = self._obstore.get_ranges(
                self._reader, path, starts=starts, ends=ends, coalesce=_COALESCE_BYTES
            )
        data = {
            part: whole_range(path, bytes(one), part)
            for part, one in zip(requested, found, strict=True)
        }
        return [data.get(part, b"") for part in ranges]

    def exists(self, path: str) -> bool:
        """See ``Storage.exists``."""
        try:
            with self._failures("find", path):
                self._obstore.head(self._reader, path)
        except ObjectMissingError:
            return False
        return True

    def modified(self, path: str) -> int | None:
        """See ``Storage.modified``."""
        with self._failures("find", path):
            return micros(self._obstore.head(self._reader, path)["last_modified"])

    def create(self, path: str, data: bytes) -> None:
        """See ``Storage.create``; sends one request, once."""
        try:
            with self._failures("create", path):
                self._obstore.put(self._creator, path, data, mode="create", use_multipart=False)
        except StorageError as error:
            # Without permission to write, a store refuses the request before it checks whether the
            # name is taken.
            if isinstance(error.__cause__, self._errors.PermissionDeniedError) and self._is_taken(
                path
            ):
                message = f"{path} exists already in {self.uri}"
                raise ObjectExistsError(message, path=path) from None
            raise

    def _is_taken(self, path: str) -> bool:
        try:
            return self.exists(path)
        except StorageError:
            # The caller reports why the store refused the object, which matters more.
            return False

    def replace(self, path: str, data: bytes) -> None:
        """See ``Storage.replace``."""
        with self._failures("replace", path):
            self._obstore.put(self._reader, path, data, use_multipart=False)

    def delete(self, path: str) -> None:
        """See ``Storage.delete``."""
        try:
            with self._failures("delete", path):
                self._obstore.delete(self._reader, path)
        except ObjectMissingError:
            return

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        with self._failures("list", prefix):
            found = [
                # Not every store lists in the order of paths.
                StoredObject(
                    item["path"], item["size"], micros(item["last_modified"]), _state(item)
                )
                for chunk in self._obstore.list(self._reader, prefix or None)
                for item in chunk
            ]
        yield from sorted(found, key=lambda item: item.path)

    def state(self, path: str) -> State | None:
        """Size, second of modification, and ETag, from one request."""
        try:
            with self._failures("find", path):
                found = self._obstore.head(self._reader, path)
        except ObjectMissingError:
            return None
        return _state(found)

    @contextmanager
    def _failures(self, verb: str, path: str) -> Iterator[None]:
        """Translate the store's errors into ours."""
        errors = self._errors
        inside(path)
        try:
            yield
        except (errors.AlreadyExistsError, errors.PreconditionError) as error:
            message = f"{path} exists already in {self.uri}"
            raise ObjectExistsError(message, path=path) from error
        except (errors.NotFoundError, FileNotFoundError) as error:
            self._refuse_no_bucket(verb, path, error)
            message = f"there is no {path} in {self.uri}"
            raise ObjectMissingError(message, path=path) from error
        except errors.BaseError as error:
            self._refuse_no_bucket(verb, path, error)
            reason = _reason(error)
            message = f"could not {verb} {path or '.'} in {self.uri}: {reason}"
            raise StorageError(message, _hint(reason), path=path) from error

    def _refuse_no_bucket(self, verb: str, path: str, error: Exception) -> None:
        # A missing bucket must not look like a missing lake, which the caller might then create.
        code = _CODE.search(str(error))
        if code and code[1] in _NO_BUCKET:
            message = (
                f"could not {verb} {path or '.'} in {self.uri}: there is no such bucket ({code[1]})"
            )
            raise StorageError(
                message,
                "check its name, and the endpoint, region and account in the environment.",
                path=path,
            ) from error


def _client(scheme: str) -> dict[str, Any]:
    """Connection options of the environment, which obstore ignores if other options are given."""
    prefix = SCHEMES[scheme]
    flags = {
        name: os.environ.get(f"{prefix}_{name.upper()}", "").lower()
        for name in ("allow_http", "allow_invalid_certificates")
    }
    proxy = os.environ.get(f"{prefix}_PROXY_URL")
    options: dict[str, Any] = {name: True for name, value in flags.items() if value in _YES}
    if proxy:
        options["proxy_url"] = proxy
    return options


def _seconds(timeout: float | None) -> float:
    """The timeout in seconds: the argument, the environment variable or the default.

    Raises:
        InvalidInputError: It is not a number above 0 and at most a day.
    """
    given: Any = timeout
    if given is None:
        given = os.environ.get(TIMEOUT) or _TIMEOUT_SECONDS
    try:
        found = float(given)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 < found <= _MAX_SECONDS:
        message = f"expected a timeout in seconds, above 0 and at most a day, found {given!r}"
        raise InvalidInputError(message, f"give timeout= to ObjectStorage, or set {TIMEOUT}.")
    return found


def _state(found: Mapping[str, Any]) -> State | None:
    """The state of an object, the same from a request for it and from a listing."""
    # Only some listings name versions, and only some requests tell parts of a second.
    tag = found.get("e_tag") or found.get("version")
    # Size and time alone do not tell apart two objects that were written in one second.
    if tag is None:
        return None
    return found["size"], micros(found["last_modified"]) // 1_000_000, str(tag)


def _reason(error: Exception) -> str:
    """The store's answer on one line; of an XML answer its code and message."""
    # obstore appends the debug output of the error below its own.
    text = str(error).partition("\n\nDebug source")[0]
    before = re.split(r"<\?xml|<Error", text, maxsplit=1)[0]
    details = [found[1] for found in (_CODE.search(text), _MESSAGE.search(text)) if found]
    return " ".join(f"{before.rstrip()} {': '.join(details)}".split())


def _hint(reason: str) -> str:
    # The last pattern matches everything.
    return next(hint for pattern, hint in _HINTS if pattern.search(reason))


def _checked(uri: str) -> Address:
    """Parse a URI that names one bucket and one prefix.

    Raises:
        InvalidInputError: It has a user, a port, or a prefix that a store would normalize.
    """
    given = address(uri)
    if given is None or given.scheme not in SCHEMES or not given.authority:
        message = (
            f"expected a bucket as {', '.join(f'{one}://bucket/prefix' for one in sorted(SCHEMES))}"
        )
        raise InvalidInputError(message)
    user, at, _ = given.authority.rpartition("@")
    if ":" in given.authority or (at and (given.scheme not in _WITH_CONTAINER or not user)):
        message = f"expected a {given.scheme}:// URI without user, password and port"
        raise InvalidInputError(
            message,
            "credentials and endpoints come from the environment, "
            "as the store's own tools read them.",
        )
    parts = given.path.strip("/").split("/") if given.path.strip("/") else []
    # obstore would normalize such a prefix, and open another lake than the one that was named.
    if {"", ".", ".."}.intersection(parts) or given.path.startswith("//"):
        message = f"expected the path of a {given.scheme}:// URI without empty, '.' and '..' parts"
        raise InvalidInputError(message)
    return given
