"""DESIGN.md section 4 a second time: naive, row by row, without a line of eventlake's code."""

import hashlib
import json
import math

ORDER = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "correlation_id",
    "causation_id",
    "corrects",
    "correction",
    "traceparent",
    "extensions",
    "data",
]
"""The fixed order in which attributes enter the leaf."""

ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


def tree_hash(entries):
    """MTH of RFC 6962, section 2.1, as it is printed there."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_hash(entries[:k]) + tree_hash(entries[k:])).digest()


def event_bytes(event):
    """The leaf's bytes; ``time`` in microseconds, ``data`` the payload's text or bytes, ``extensions`` canonical text."""
    out = b""
    for name in ORDER:
        value = event.get(name)
        if value is None:
            continue
        if name == "time":
            value = b"%d" % value
        elif name == "data":
            value = (
                hashlib.sha256(value if isinstance(value, bytes) else value.encode())
                .hexdigest()
                .encode()
            )
        else:
            value = value.encode()
        out += name.encode() + b"=" + b"%d" % len(value) + b":" + value + b","
    return out


def leaf(event):
    """SHA-256(0x00 ‖ event bytes)."""
    return tree_hash([event_bytes(event)])


def root(events):
    """The root over events, hex."""
    return tree_hash([event_bytes(event) for event in events]).hex()


def canonical(value):
    """Canonical JSON: sorted keys, no blanks, no floats, nothing escaped that need not be."""
    if value is None:
        return b"null"
    if value is True:
        return b"true"
    if value is False:
        return b"false"
    if isinstance(value, str):
        text = "".join(
            ESCAPES.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 0x20 else c) for c in value
        )
        return f'"{text}"'.encode()
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, dict):
        return (
            b"{"
            + b",".join(canonical(key) + b":" + canonical(value[key]) for key in sorted(value))
            + b"}"
        )
    return b"[" + b",".join(canonical(item) for item in value) + b"]"


def sealed(document):
    """Canonical JSON of a document that carries a checksum of itself."""
    return canonical({**document, "checksum": hashlib.sha256(canonical(document)).hexdigest()})


def clock_hash(recorded_at):
    """SHA-256 over the runs ``start:recorded_at,`` of the events' ``recorded_at``, equal neighbours joined."""
    text = ""
    for sequence, value in enumerate(recorded_at):
        if sequence == 0 or value != recorded_at[sequence - 1]:
            text += f"{sequence}:{value},"
    return hashlib.sha256(text.encode()).hexdigest()


def is_payload(text):
    """Whether a str is a payload by the event rules, decided with the standard library's parser."""

    def unique(pairs):
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    def finite(number):
        if not math.isfinite(float(number)):
            raise ValueError("beyond a double")
        return 0

    def refuse(constant):
        raise ValueError(constant)

    def check(value, depth):
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, dict | list):
            if depth == 64:
                raise ValueError("too deep")
            for item in value:
                check(item, depth + 1)
                if isinstance(value, dict):
                    check(value[item], depth + 1)

    try:
        text.encode()
        check(
            json.loads(
                text,
                object_pairs_hook=unique,
                parse_float=finite,
                parse_int=finite,
                parse_constant=refuse,
            ),
            0,
        )
    except (ValueError, RecursionError):
        return False
    return len(text.encode()) <= 1 << 20


def read_row(sequence, event, recorded_at):
    """What a reader sees of an event: every column, ``time`` falling back to ``recorded_at``."""
    row = {"sequence": sequence, "recorded_at": recorded_at} | {
        name: event.get(name) for name in ORDER
    }
    row["time"] = recorded_at if row["time"] is None else row["time"]
    return row
