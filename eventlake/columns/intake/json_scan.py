"""Check payloads: strict JSON (RFC 8259 with I-JSON's unique keys), without changing a byte.

Rows that match a template (``json_templates``) are accepted as a whole column; the rest is parsed
one by one. ``jiter`` refuses NaN, Infinity, duplicate keys at any depth, lone surrogates, control
characters, byte order marks, invalid UTF-8 and trailing data. Two things that it accepts are
refused here: numbers beyond a double (1e999, 400 digits) and nesting beyond the limit.
"""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import jiter
import numpy as np

from eventlake.columns.intake.problems import Problem
from eventlake.core.attributes import MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH

if TYPE_CHECKING:
    import polars as pl

NO_JSON = "expected JSON"
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_NUMBERS = b"0" * 200, b"e000"
"""Every number beyond a double has one of these, with all digits mapped to 0 and without signs.

A number with fewer than 200 digits and an exponent below 100 is below 1e299.
"""
_QUOTE, _BACKSLASH = b'"\\'
_BOM = b"\xef\xbb\xbf"


def payload_problems(column: "pl.Series", field: str = "data") -> Iterator[Problem]:
    """Yield a problem for each row of a text column that is not a payload; nulls are allowed."""
    import polars as pl

    from eventlake.columns.intake.json_templates import proven

    # The regular expressions do not bound the length of a text.
    settled = (
        column.is_null().to_numpy()
        | proven(column)
        & (column.str.len_bytes() <= MAX_PAYLOAD_BYTES).fill_null(value=False).to_numpy()
    )
    rest = np.flatnonzero(~settled)
    yield from _problems(
        zip(rest.tolist(), column.gather(rest).cast(pl.Binary), strict=True), field
    )


def few_payload_problems(texts: Iterable[str | None]) -> list[Problem]:
    """``payload_problems`` for a few rows, without templates and vectors."""
    rows = [(row, text.encode()) for row, text in enumerate(texts) if text is not None]
    # One search over all texts; only if it finds something is each of them searched.
    if has_long_number(b"\n".join([text for _, text in rows])):
        return list(_problems(rows, "data"))
    return list(_problems([(row, text) for row, text in rows if not _is_short_json(text)], "data"))


def _is_short_json(text: bytes) -> bool:
    """Whether a text without a long number is a payload; False means unknown."""
    if len(text) > MAX_PAYLOAD_BYTES or text.count(b"[") + text.count(b"{") > MAX_PAYLOAD_DEPTH:
        return False
    try:
        jiter.from_json(text, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        return False
    return True


def _problems(texts: Iterable[tuple[int, bytes]], field: str) -> Iterator[Problem]:
    for row, text in texts:
        reason = scan_one(text)
        if reason:
            yield Problem(row, field, reason, text[:200].decode("utf-8", "replace"))


def scan_one(
    text: bytes, limit: int = MAX_PAYLOAD_BYTES, depth: int = MAX_PAYLOAD_DEPTH
) -> str | None:
    """Why ``text`` is not a payload of at most ``limit`` bytes and ``depth`` levels, or None."""
    return parse_one(text, limit, depth)[1]


def parse_one(text: bytes, limit: int, depth: int) -> tuple[Any, str | None]:
    """Parse strict JSON; return the value and None, or None and the reason for a refusal."""
    if len(text) > limit:
        return None, f"expected at most {limit:,} bytes, found {len(text):,}"
    # Before the parser, whose message does not name the mark.
    if text.startswith(_BOM):
        return None, f"{NO_JSON} without a byte order mark"
    # The loop in Python runs only if there are more brackets than levels.
    if text.count(b"[") + text.count(b"{") > depth and deeper_than(text, depth):
        return None, f"expected at most {depth} levels of nesting"
    try:
        value = jiter.from_json(text, catch_duplicate_keys=True, allow_inf_nan=False)
        if has_long_number(text):
            # jiter accepts numbers beyond a double, so those that look long are converted.
            json.loads(text, parse_float=_finite, parse_int=_finite)
    except ValueError as error:
        return None, f"{NO_JSON} ({error})"
    return value, None


def has_long_number(text: bytes) -> bool:
    """Whether a text may have a number of 200 digits or a three-digit exponent, or surely not."""
    alike = text.translate(_ALIKE, b"+-")
    return any(number in alike for number in _LONG_NUMBERS)


def deeper_than(text: bytes, limit: int) -> bool:
    """Whether brackets outside strings nest deeper than ``limit``; works on invalid JSON too."""
    depth = 0
    in_string = False
    skip = False
    for byte in text:
        if skip:
            skip = False
        elif in_string:
            skip = byte == _BACKSLASH
            in_string = byte != _QUOTE
        elif byte == _QUOTE:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif byte in b"]}":
            depth -= 1
    return False


def _finite(text: str) -> Any:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        message = f"{text[:20]} is beyond what a double can hold"
        raise ValueError(message)
    return value
