"""Decode stored documents: check limits before parsing, decode to exact types, name what is wrong.

A document may come from an untrusted source. Annotations define the types, ranges and patterns of
its members. Unknown and missing members are errors. Values are never converted between numbers,
booleans, floats, integers and text.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from eventlake.core.attributes import MAX_ATTRIBUTE_BYTES, MAX_SEQUENCE
from eventlake.core.counts import MAX_INT64
from eventlake.core.documents.formats import check_format
from eventlake.core.hashing.canonical import CHECKSUM, canonical_json, sha256_hex, unseal
from eventlake.core.instants import MAX_US, MIN_US
from eventlake.core.names import DATASET_NAME
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError

FORMAT = 1
"""The newest format of a document that this version reads."""
MAX_VERSION = (1 << 32) - 1
"""Key files store versions of commits in 32 bits."""
_TEXT = r"[^\x00-\x1f\x7f-\x9f]"
_SHOWN = 60

_WORDS: dict[str, str] = {}
"""Descriptions of patterns for messages."""


def spelled(pattern: str, words: str) -> Meta:
    """A constraint that a whole text matches a pattern, with a description for errors."""
    # msgspec searches for the pattern, and ``$`` would accept a line feed at the end.
    whole = rf"\A(?:{pattern})\Z"
    _WORDS[whole] = words
    return Meta(pattern=whole)


Sha256 = Annotated[str, spelled("[0-9a-f]{64}", "64 lower-case hex digits")]
Origin = Annotated[
    str,
    spelled(
        r"[^\s+\x00-\x1f\x7f]{1,200}",
        "1 to 200 characters without blanks, control characters or '+'",
    ),
]
Name = Annotated[str, spelled(DATASET_NAME, "a name of lower-case letters, digits and underscores")]
Text = Annotated[
    str,
    spelled(
        f"{_TEXT}{{1,{MAX_ATTRIBUTE_BYTES}}}", "1 to 4096 characters without control characters"
    ),
]
Column = Annotated[str, spelled(r"[^\x00]{1,4096}", "1 to 4096 characters without NUL")]
SourceFile = Annotated[
    str,
    spelled(
        # No part of the path is empty, ``.`` or ``..``.
        r"(?!.*(?:\A|/)\.{0,2}(?:/|\Z))[A-Za-z0-9_][A-Za-z0-9_./-]{0,999}",
        "a file below its folder, of letters, digits, _ - . /",
    ),
]
Line = Annotated[str, spelled(r"[^\x00]{0,65536}", "at most 65536 characters without NUL")]
Word = Annotated[str, spelled(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,99}", "a word or a version")]
Uuid = Annotated[str, spelled(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID")]
Base64 = Annotated[str, Meta(max_length=16 << 20)]
Instant = Annotated[int, Meta(ge=MIN_US, le=MAX_US)]
Sequence = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]
Count = Annotated[int, Meta(ge=0, le=MAX_INT64)]
Positive = Annotated[int, Meta(ge=1, le=MAX_INT64)]
VersionNumber = Annotated[int, Meta(ge=0, le=MAX_VERSION)]
FormatNumber = Literal[1]


# An unknown member is an error: a reader that ignores it could hand another one to an engine.
class Document(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A stored document, or an object within one, with exact types."""

    UNTYPED: ClassVar[bool] = False
    """Whether a member may be any JSON, whose depth the types then do not limit."""


class Bounds(NamedTuple):
    """Limits of a document, checked before it is parsed."""

    size_bytes: int
    depth: int = 64
    members: int = 2_000_000


LARGE = Bounds(size_bytes=64 << 20)
# The small documents are flat.
SMALL = Bounds(size_bytes=64 << 10, depth=8)

D = TypeVar("D", bound=Document)
Error = Callable[[str], EventlakeError]
"""Makes an error from a description of the problem."""

# Texts match first, so brackets inside them do not count; one that is cut reaches to the end.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]+|[\]}]+', re.DOTALL)


def check_bounds(data: bytes, bounds: Bounds) -> str | None:
    """Why ``data`` exceeds the limits; None if it does not."""
    return _too_large(data, bounds) or _too_deep(data, bounds)


def _too_large(data: bytes, bounds: Bounds) -> str | None:
    if len(data) > bounds.size_bytes:
        return f"expected at most {bounds.size_bytes:,} bytes, found {len(data):,}"
    # A document with fewer bytes than allowed members needs no count. Every commit takes this path.
    if len(data) > bounds.members and sum(map(data.count, (b"[", b"{", b","))) > bounds.members:
        return f"expected at most {bounds.members:,} members, found more"
    return None


def _too_deep(data: bytes, bounds: Bounds) -> str | None:
    # Nothing nests deeper than it has opening brackets, so most documents need no walk.
    if data.count(b"[") + data.count(b"{") <= bounds.depth:
        return None
    depth = 0
    for token in _TOKENS.finditer(data):
        first, length = data[token.start()], token.end() - token.start()
        if first in b"[{":
            depth += length
        elif first in b"]}":
            depth -= length
        if depth > bounds.depth:
            return f"expected at most {bounds.depth} levels of nesting, found more"
    return None


_ENCODER = msgspec.json.Encoder(order="sorted")
"""Encodes documents exactly like ``canonical_json``."""


@cache
def _decoder(model: type[D]) -> msgspec.json.Decoder[D]:
    return msgspec.json.Decoder(model)


def decoded(data: bytes, model: type[D], error: Error, bounds: Bounds = LARGE) -> D:
    """Decode a document in any JSON spelling.

    Raises:
        EventlakeError: The error from ``error``: the document is too large, too deep or not JSON,
            or a member is invalid.
    """
    if problem := check_bounds(data, bounds):
        raise error(problem)
    try:
        document: D = _decoder(model).decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as found:
        raise error(explained(found, data)) from None
    return document


def unsealed(
    data: bytes,
    where: str,
    model: type[D],
    noun: str,
    *,
    bounds: Bounds = LARGE,
    newer: Callable[[dict[str, Any]], None] | None = None,
) -> D:
    """Decode a sealed document, and check every member.

    Args:
        data: The bytes.
        where: Path of the document, for messages.
        model: Type of the document.
        noun: Name of the document in messages.
        bounds: Limits of the document.
        newer: Raises ``UnsupportedFormatError`` for what a newer eventlake wrote in the same
            format.

    Raises:
        CorruptionError: The document is damaged, or a member is invalid; the message names file and
            member.
        UnsupportedFormatError: A newer eventlake wrote it.
    """
    document, problem = _read(data, model, bounds)
    if document is not None and _is_sealed(data, document):
        return document
    # The document is refused. What follows only finds the reason, and parses plain JSON, whose
    # depth no type limits.
    if larger := check_bounds(data, bounds):
        raise damaged(where, noun, larger)
    plain = unseal(data, where)
    if "format" in model.__struct_fields__ or "format" in plain:
        # A newer format may have members that do not decode, so it is named before they are.
        check_format(plain, where, FORMAT)
    if newer is not None:
        newer(plain)
    raise damaged(where, noun, problem)


def _read(data: bytes, model: type[D], bounds: Bounds) -> tuple[D | None, str]:
    """Decode the document; None with a problem if that fails.

    The returned problem of a decoded document applies only if its bytes are not canonical.
    """
    problem = "its spelling is not the one that this version writes"
    if beyond := _too_large(data, bounds) or (model.UNTYPED and _too_deep(data, bounds)):
        return None, beyond
    try:
        return _decoder(model).decode(data), problem
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return None, explained(error, data)


def _is_sealed(data: bytes, document: Document) -> bool:
    """Whether these are the bytes that ``seal`` writes for the document."""
    member = b'"%s":"%s"' % (CHECKSUM.encode(), getattr(document, CHECKSUM).encode())
    # Comparing all bytes finds damage, repeated members and other spellings at once, and costs less
    # than parsing a second time.
    parts = data.split(member)
    if len(parts) != 2 or _ENCODER.encode(document) != data:  # noqa: PLR2004 - before and after it
        return False
    before, after = parts
    rest = (
        before + after.removeprefix(b",") if before == b"{" else before.removesuffix(b",") + after
    )
    return bool(sha256_hex(rest) == getattr(document, CHECKSUM))


def canonical(data: bytes, where: str, model: type[D], noun: str) -> D:
    """Decode a document in canonical JSON without a checksum, whose hash is recorded elsewhere.

    Raises:
        CorruptionError: The spelling is not canonical, or a member is invalid; the message names
            file and member.
        UnsupportedFormatError: A newer eventlake wrote it.
    """
    document, problem = _read(data, model, LARGE)
    if document is not None and (
        _ENCODER.encode(document) == data or canonical_json(_parsed(data)) == data
    ):
        return document
    problem = check_bounds(data, LARGE) or problem
    if problem.startswith("expected") and isinstance(found := _parsed(data), dict):
        check_format(found, where, FORMAT)
    raise damaged(where, noun, problem)


def _parsed(data: bytes) -> Any:
    """Parse JSON of bounded depth; None if it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def converted(plain: Any, where: str, model: type[D], noun: str) -> D:
    """Convert a part of a document that has been parsed.

    Raises:
        CorruptionError: A member is invalid.
    """
    try:
        return msgspec.convert(plain, model)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise damaged(where, noun, explained(error, plain)) from None


def check_writable(read: Callable[[bytes, str], object], data: bytes, where: str) -> None:
    """Refuse to store a document that could not be read again.

    Raises:
        InvalidInputError: ``read`` refuses the document.
    """
    try:
        read(data, where)
    except CorruptionError as error:
        raise InvalidInputError(
            f"nothing was stored, because it could not be read again: {error.message}", path=where
        ) from None


def damaged(where: str, noun: str, problem: str) -> CorruptionError:
    """The error for an invalid document."""
    return CorruptionError(
        f"{where} is not a valid {noun}: {problem}",
        "run 'eventlake verify LAKE'; restore the file from a backup.",
        path=where,
    )


_AT = re.compile(r"(?P<what>.*) - at `(?P<key>key` in `)?\$(?P<path>[^`]*)`", re.DOTALL)
_REGEX = re.compile(r"matching regex (.*)", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")


def explained(error: Exception, document: Any) -> str:
    """Rewrite a decoder's error about a document as ``expected …, found …`` with the member."""
    if isinstance(error, RecursionError):
        return "expected fewer levels of nesting"
    if not isinstance(error, msgspec.ValidationError):
        return f"expected JSON, found something else ({error})"
    match = _AT.fullmatch(str(error))
    what, path = (match["what"], match["path"]) if match else (str(error), "")
    is_name = match is not None and bool(match["key"])
    place = path.removeprefix(".")
    member = f" at {place}" if place else ""
    if is_name:
        member = f" as a name in {place or 'the document'}"
    if what.startswith("Object contains unknown field"):
        unknown = what.removeprefix("Object contains unknown field ")
        return f"expected no member {unknown}{member}, found one"
    if what.startswith("Object missing required field"):
        missing = what.removeprefix("Object missing required field ")
        return f"expected a member {missing}{member}, found none"
    expected, _, got = what.partition(", got ")
    pattern = _REGEX.search(expected)
    expected = _REGEX.sub(
        lambda of: _WORDS.get(_unquoted(of[1]), of[1]), expected.removeprefix("Expected ")
    ).replace("`str` ", "")
    if expected.startswith("Invalid"):
        expected = "a value that this version knows"
    name = None
    if is_name and pattern:
        name = _wrong_name(document, path, _unquoted(pattern[1]))
    found = name or _describe(document, path, got)
    return f"expected {expected.replace('`', '')}{member}, found {found}"


def _wrong_name(document: Any, path: str, pattern: str) -> str | None:
    """The first name of an object that does not match a pattern; None if it is unavailable."""
    found = _at(document, path)
    if not isinstance(found, dict):
        return None
    wrong = next((name for name in found if re.search(pattern, name) is None), None)
    return None if wrong is None else _cut(repr(wrong))


def _unquoted(text: str) -> str:
    return text[1:-1].replace("\\\\", "\\").replace("\\'", "'")


def _at(document: Any, path: str) -> Any:
    """The value at a path; None if it is unavailable."""
    if isinstance(document, bytes):
        document = _parsed(document)
    while path:
        step = _STEP.match(path)
        if step is None:
            return None
        try:
            document = document[step[1] if step[1] is not None else int(step[2])]
        except (KeyError, IndexError, TypeError):
            return None
        path = path[step.end() :]
    return document


def _describe(document: Any, path: str, got: str) -> str:
    """The value at a path, shortened; its type if the value is unavailable."""
    fallback = got.replace("`", "") or "another value"
    found = _at(document, path)
    if found is None:
        return fallback
    if isinstance(found, (dict, list)):
        return fallback if got else f"{len(found):,} items"
    return _cut(
        repr(found) if not isinstance(found, int) or abs(found) < 1 << 128 else "a larger number"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
