"""Turn a path or URI into a storage."""

import os
import re
from collections.abc import Callable

from eventlake.core.names import is_text
from eventlake.errors import InvalidInputError
from eventlake.storage.address import Address, address
from eventlake.storage.local import LocalStorage
from eventlake.storage.memory import MemoryStorage
from eventlake.storage.objects import SCHEMES, ObjectStorage
from eventlake.storage.port import Storage

_START = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/?)")


def from_uri(uri: str | os.PathLike[str] | Storage) -> Storage:
    """Open the storage that a path or URI names.

    Args:
        uri: A folder's path, ``file://…``, ``s3://…``, ``gs://…``, ``az://…``, ``abfs://…`` or
            ``memory://``. A storage is returned as it is.

    Raises:
        InvalidInputError: The scheme is unknown, or the URI does not name one place exactly.
    """
    if not isinstance(uri, str | os.PathLike):
        # Only what every storage has: a caller's own class may lack the newer methods of the port.
        if all(callable(getattr(uri, name, None)) for name in ("read", "create", "list")):
            return uri
        message = f"expected a lake as {_FORMS}, or a storage, found {type(uri).__name__}"
        raise InvalidInputError(
            message,
            "write its path or URI as text, such as 'my-lake'; an open lake has it as lake.uri.",
        )
    text = os.fsdecode(uri)
    if not text or "\0" in text or not is_text(text):
        message = (
            f"expected a URI or the path of a folder, in UTF-8 and without NUL, found {text!r}"
        )
        raise InvalidInputError(
            message, "write it as text, such as 'my-lake'; '.' is the current folder."
        )
    # A ``Path`` has already turned ``s3://b/x`` into ``s3:/b/x``, so it is never parsed as a URI.
    given = address(text) if isinstance(uri, str) else None
    if given is None:
        return _folder(text)
    opener = _OPENERS.get(given.scheme)
    if opener is None:
        message = f"expected {_FORMS}, found {given.scheme}://"
        raise InvalidInputError(
            message,
            f"a folder of that name is ./{given.scheme}:…; "
            "other stores are mounted, or copied to a folder.",
        )
    return opener(given)


def is_uri(text: str) -> bool:
    """Whether a text begins like a URI rather than like the path of a folder."""
    start = _START.match(text)
    return start is not None and (bool(start[2]) or start[1].lower() in _OPENERS)


def _folder(text: str) -> LocalStorage:
    if not is_uri(text):
        return LocalStorage(os.path.expanduser(text))  # noqa: PTH111 - a Path would normalize it
    scheme = text.partition(":")[0]
    if text.lower().startswith("file:/"):
        # RFC 8089 allows a file URI without an authority.
        return _file(address(f"file://{text[len('file:') :]}"))
    message = f"expected {_FORMS}, found {scheme}: without two slashes"
    raise InvalidInputError(
        message, f"give a URI as text, not as a Path; a folder of that name is ./{scheme}:…."
    )


def _memory(given: Address) -> MemoryStorage:
    if given.authority or given.path:
        message = "expected memory:// alone, found more after it"
        raise InvalidInputError(
            message, "each memory:// is a lake of its own, and ends with the process."
        )
    return MemoryStorage()


def _objects(given: Address) -> ObjectStorage:
    return ObjectStorage(given.uri)


def _file(given: Address | None) -> LocalStorage:
    if given is None or given.authority.lower() not in {"", "localhost"} or not given.path:
        message = "expected file:///absolute/path, found a host, a user or no path"
        raise InvalidInputError(message, "a file URI has three slashes, and its path is absolute.")
    return LocalStorage(given.path)


_OPENERS: dict[str, Callable[[Address], Storage]] = {
    "file": _file,
    **dict.fromkeys(SCHEMES, _objects),
    "memory": _memory,
}
"""Every scheme, with the function that opens its storage."""
# ``abfss`` is another spelling of ``abfs``.
*_OTHERS, _LAST = (f"{scheme}://" for scheme in _OPENERS if scheme != "abfss")
_FORMS = f"a folder, {', '.join(_OTHERS)} or {_LAST}"


def can_be_reopened(storage: Storage) -> bool:
    """Whether another process can open the same storage by its URI.

    A subclass may behave differently, and the URI of a caller's own class is only a name.
    """
    return type(storage) in {LocalStorage, ObjectStorage}


def is_in_memory(storage: Storage) -> bool:
    """Whether a storage ends with this process, so that no other can open it."""
    return type(storage) is MemoryStorage
