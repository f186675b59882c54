"""Convert events given as Python dicts or NDJSON to Arrow.

Both are CloudEvents in JSON form. Attribute names are spelled as in CloudEvents or with
underscores, and ``data`` is the payload. Unknown attributes are CloudEvents extensions and go into
``extensions``. The payload is copied from an NDJSON line byte for byte.
"""

import contextlib
import difflib
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import jiter
import msgspec
import pyarrow as pa

from eventlake.columns.instants import from_values
from eventlake.columns.intake.envelope import parse_instants
from eventlake.columns.intake.json_scan import NO_JSON, parse_one
from eventlake.columns.intake.payload_text import ALWAYS_THERE, none_if_missing, payload_text
from eventlake.columns.intake.plain_payloads import BLOCK_ROWS, plain_texts
from eventlake.columns.intake.problems import Problem
from eventlake.columns.schema import INSTANT, TYPES
from eventlake.core.attributes import (
    ATTRIBUTES,
    CLOUDEVENTS_NAMES,
    MAX_PAYLOAD_BYTES,
    MAX_PAYLOAD_DEPTH,
    MAX_SEQUENCE,
)
from eventlake.core.instants import micros
from eventlake.core.payload import plain_form, to_json
from eventlake.progress import task

_KNOWN = (*ATTRIBUTES, "recorded_at", "sequence")
_OWN_NAMES = frozenset(_KNOWN)
_SPECVERSION = "1.0"
_STEP = 10_000
_FEW_INSTANTS = 64
"""Up to this many instants are read one by one, which is faster than vectors."""
_MISSPELLED = 0.74
"""Similarity that catches ``tiem`` and ``sbject`` but no documented CloudEvents extension."""
_MEANT = {
    **dict.fromkeys(
        ["timestamp", "ts", "datetime", "eventtime", "occurredat", "createdat", "happenedat"],
        "time",
    ),
    **dict.fromkeys(["payload", "body"], "data"),
    "eventtype": "type",
    "eventid": "id",
}
"""Attribute names of other systems."""
# The payload, and as much again for the attributes.
MAX_LINE_BYTES = 2 * MAX_PAYLOAD_BYTES


class _Payload(msgspec.Struct):
    """The only member that is kept as raw text."""

    data: msgspec.Raw


_LINE = msgspec.json.Decoder(_Payload)


def from_objects(events: Iterable[Any]) -> tuple[pa.Table, list[Problem]]:
    """Convert dicts to a table.

    ``data`` given as text or bytes is kept; any other value is serialized by ``core.payload``.
    """
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for row, event in enumerate(events):
        # Most events have our names alone, so that nothing is renamed or collected.
        if type(event) is dict and _OWN_NAMES.issuperset(event):
            rows.append(event)
        elif isinstance(event, Mapping):
            rows.append(_attributes(row, event, problems))
        else:
            problems.append(Problem(row, "event", f"expected a dict{_dict_of(event)}", event))
            rows.append({})
    return _table(rows, problems), problems


def _dict_of(event: Any) -> str:
    """A hint how to make a dict of an object given in place of an event."""
    if isinstance(event, str):
        return ": write json.loads(value), or give the lines as bytes: '\\n'.join(lines).encode()"
    if isinstance(event, bytes):
        return ": write json.loads(value), or give the lines as bytes: b'\\n'.join(lines)"
    if hasattr(event, "_asdict"):
        return ": write value._asdict()"
    if event is None or isinstance(event, list | tuple):
        return " such as {'id': '1', 'source': 'till', 'type': 'sale', 'data': {…}}"
    form = plain_form(event)
    return f": write {form}" if "dump" in form or "asdict" in form else ""


def from_ndjson(content: bytes) -> tuple[pa.Table, list[Problem]]:
    """Convert NDJSON to a table with one row per line that is not blank."""
    problems: list[Problem] = []
    if (found := _one_document(content)) is not None:
        problems.append(Problem(0, "line", f"expected one JSON object per line, {found}"))
        return _table([{}], problems), problems
    lines = [line for line in content.split(b"\n") if line.strip()]
    rows = []
    with task("reading events", len(lines)) as advance:
        for row, line in enumerate(lines):
            rows.append(_line(row, line, problems))
            if not row % _STEP:
                advance(min(_STEP, len(lines) - row))
    return _table(rows, problems), problems


def _one_document(content: bytes) -> str | None:
    """What to write if the content is one JSON document instead of lines; None if it is not."""
    begin = content.lstrip()[:2]
    # Most lines begin with a member's name.
    if begin[:1] != b"[" and begin not in {b"{\n", b"{\r"}:
        return None
    try:
        jiter.from_json(content, catch_duplicate_keys=False)
    except ValueError:
        return None
    if begin[:1] == b"{":
        return "found one over several: write msgspec.json.format(value, indent=-1)"
    rows = "msgspec.json.decode(value, type=list[msgspec.Raw])"
    array = f"b'\\n'.join(msgspec.json.format(one, indent=-1) for one in {rows})"
    return f"found an array: write {array}, which changes no digit"


def _line(row: int, line: bytes, problems: list[Problem]) -> dict[str, Any]:
    """The attributes in a line, with ``data`` as raw text; null means no payload."""
    # The event is one level above its payload.
    value, reason = parse_one(line, MAX_LINE_BYTES, MAX_PAYLOAD_DEPTH + 1)
    if reason is None and not isinstance(value, dict):
        reason = "expected one JSON object per line"
    if reason is not None:
        problems.append(Problem(row, "line", reason, line.decode("utf-8", "replace")))
        return {}
    payload = value.pop("data", None)
    attributes = _attributes(row, value, problems, has_payload=payload is not None)
    if payload is not None:
        # Decoded once more for the payload's own bytes. The exact parser has judged the line, so
        # that its ``data`` is a single one and valid.
        attributes["data"] = bytes(_LINE.decode(line).data).decode()
    return attributes


def _attributes(
    row: int, event: Mapping[Any, Any], problems: list[Problem], *, has_payload: bool = False
) -> dict[str, Any]:
    """The members of an event by our names, with unknown ones collected as extensions."""
    attributes: dict[str, Any] = {}
    strangers: dict[str, Any] = {}
    for name, value in event.items():
        target = CLOUDEVENTS_NAMES.get(name, name)
        if target in attributes:
            problems.append(
                Problem(row, str(name), f"expected {target!r} once, found it under two spellings")
            )
        elif target in _KNOWN:
            attributes[target] = none_if_missing(value)
        elif target == "specversion":
            # By the type first: comparing a caller's object may fail.
            if not isinstance(value, str) or value != _SPECVERSION:
                problems.append(Problem(row, "specversion", f"expected {_SPECVERSION!r}", value))
        else:
            _extension(row, name, none_if_missing(value), strangers, problems)
    for name in [
        name for name in strangers if _instead_of(name, attributes, has_payload=has_payload)
    ]:
        message = (
            f"expected {_MEANT[name]!r}, which the event does not have; "
            "an extension of this name goes into extensions"
        )
        problems.append(Problem(row, name, message, strangers.pop(name)))
    if strangers:
        _add_extensions(row, attributes, strangers, problems)
    return attributes


def _instead_of(name: str, attributes: Mapping[str, Any], *, has_payload: bool) -> bool:
    """Whether a name is another system's word for an attribute that the event lacks."""
    meant = _MEANT.get(name)
    return (
        meant is not None
        and attributes.get(meant) is None
        and not (meant == "data" and has_payload)
    )


def _extension(
    row: int, name: Any, value: Any, strangers: dict[str, Any], problems: list[Problem]
) -> None:
    # CloudEvents puts binary payloads there.
    if name == "data_base64":
        problems.append(Problem(row, name, "binary payloads are not kept; expected JSON in data"))
        return
    text = name if isinstance(name, str) else ""
    # A misspelled attribute must not silently become an extension.
    close = difflib.get_close_matches(text, ATTRIBUTES, n=1, cutoff=_MISSPELLED)
    if close or not (text.isascii() and text.isalnum() and text == text.lower()):
        other = _MEANT.get(text.replace("_", "").lower())
        meant = (
            f"did you mean {(other or close[0])!r}?"
            if other or close
            else "other facts belong into data"
        )
        message = (
            "expected a known attribute or a CloudEvents extension "
            f"(lower-case letters and digits); {meant}"
        )
        problems.append(Problem(row, str(name), message, name))
    else:
        strangers[text] = value


def _add_extensions(
    row: int, attributes: dict[str, Any], strangers: dict[str, Any], problems: list[Problem]
) -> None:
    given = attributes.get("extensions")
    if given is None:
        attributes["extensions"] = strangers
    elif isinstance(given, Mapping):
        problems += [
            Problem(row, name, "expected an extension once, it is in extensions too")
            for name in strangers
            if name in given
        ]
        attributes["extensions"] = {**given, **strangers}
    else:
        problems.append(
            Problem(
                row, "extensions", "expected an object beside the extensions given by name", given
            )
        )


def _table(rows: list[dict[str, Any]], problems: list[Problem]) -> pa.Table:
    """The columns of events, which may be a caller's own dicts and are not changed."""
    named = set().union(*rows)
    columns: dict[str, pa.Array] = {}
    for name in (name for name in _KNOWN if name in named):
        values = [attributes.get(name) for attributes in rows]
        if not ALWAYS_THERE.issuperset(map(type, values)):
            values = list(map(none_if_missing, values))
        if name in {"time", "recorded_at"}:
            columns[name] = _instants(name, values, problems)
        elif name == "sequence":
            columns[name] = pa.array(
                [_sequence(row, v, problems) for row, v in enumerate(values)], pa.int64()
            )
        else:
            texts = _payloads(values, problems) if name == "data" else values
            columns[name] = pa.array(_texts(name, texts, problems), TYPES[name])
    # A table without columns would lose the number of rows, and with it the problems of each.
    return pa.table(columns) if columns else pa.table({"id": pa.nulls(len(rows), pa.string())})


def _payloads(values: list[Any], problems: list[Problem]) -> list[str | None]:
    texts: list[str | None] = []
    for start in range(0, len(values), BLOCK_ROWS):
        block = values[start : start + BLOCK_ROWS]
        written = plain_texts(block)
        texts += (
            [
                None if value is None else payload_text(row, value, problems)
                for row, value in enumerate(block, start)
            ]
            if written is None
            else written
        )
    return texts


def _sequence(row: int, value: Any, problems: list[Problem]) -> int | None:
    # Arrow takes no bool for an integer, which it is in Python.
    if isinstance(value, int) and type(value) is not bool and 0 <= value < MAX_SEQUENCE:
        return value
    problems.append(Problem(row, "sequence", "expected an int64 from 0", value))
    return None


def _instants(name: str, values: list[Any], problems: list[Problem]) -> pa.Array:
    if len(values) > _FEW_INSTANTS:
        found = from_values(values)
        if found is not None:
            return found
    texts: list[Any] = [None] * len(values)
    exact: list[int | None] = [None] * len(values)
    for row, value in enumerate(values):
        if isinstance(value, str):
            texts[row] = value
        elif isinstance(value, datetime):
            try:
                exact[row] = micros(value)
            except ValueError as error:
                hint = "" if value.tzinfo else ": write value.replace(tzinfo=UTC) if it is in UTC"
                problems.append(Problem(row, name, f"{error}{hint}", str(value)))
        elif value is not None:
            problems.append(Problem(row, name, _no_instant(value), value))
    parsed = parse_instants(name, texts, problems).cast(pa.int64()).to_pylist()
    merged = [a if a is not None else b for a, b in zip(exact, parsed, strict=True)]
    return pa.array(merged, pa.int64()).cast(INSTANT)


def _no_instant(value: Any) -> str:
    if isinstance(value, date):
        return "expected an instant, not a day: write datetime.combine(value, time(), UTC)"
    expected = "expected a datetime with a zone or RFC 3339"
    if isinstance(value, int | float):
        return f"{expected}: write datetime.fromtimestamp(value, UTC) if it counts seconds"
    return expected


def _texts(name: str, values: list[Any], problems: list[Problem]) -> list[str | None]:
    # The values are checked one by one only if one of them may not be text.
    if {str, type(None)}.issuperset(map(type, values)):
        with contextlib.suppress(UnicodeEncodeError):
            "".join(filter(None, values)).encode("utf-8")
            return values
    return [_text(row, name, value, problems) for row, value in enumerate(values)]


def _text(row: int, name: str, value: Any, problems: list[Problem]) -> str | None:
    if name == "extensions" and isinstance(value, Mapping):
        try:
            value = to_json(value)
        except (TypeError, ValueError) as error:
            problems.append(Problem(row, name, f"{NO_JSON}: {error}", value))
            return None
    if value is None:
        return None
    if not isinstance(value, str):
        hint = ": write str(value)" if isinstance(value, int | UUID) else ""
        problems.append(Problem(row, name, f"expected text{hint}", value))
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        problems.append(Problem(row, name, "expected text without lone surrogates", value))
        return None
    return value
