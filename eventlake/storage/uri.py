"""From what a person types to a storage."""

import os
from urllib.parse import unquote, urlsplit

from eventlake.errors import InvalidInputError
from eventlake.storage.local import LocalStorage
from eventlake.storage.memory import MemoryStorage
from eventlake.storage.objects import SCHEMES, ObjectStorage
from eventlake.storage.port import Storage


def from_uri(uri: str | os.PathLike[str] | Storage) -> Storage:
    """A folder's path, ``file://…``, ``s3://…``, ``gs://…``, ``az://…``, ``memory://``, or a storage itself.

    Raises:
        InvalidInputError: Another scheme.
    """
    if not isinstance(uri, str | os.PathLike):
        return uri
    text = os.fspath(uri)
    if not text:
        message = "a lake needs a folder, found an empty path"
        raise InvalidInputError(message)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalStorage(os.path.expanduser(text))  # noqa: PTH111 - a Path would lose what it was
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in {"", "localhost"}:
            message = f"expected file:///absolute/path, found {text}"
            raise InvalidInputError(message, "a file URI has three slashes.")
        return LocalStorage(unquote(parts.path))
    if scheme == "memory" and not rest:
        return MemoryStorage()
    if scheme in SCHEMES:
        return ObjectStorage(text)
    message = f"expected a folder, file://, s3://, gs://, az:// or memory://, found {scheme}://"
    raise InvalidInputError(message)
