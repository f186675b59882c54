"""Is this text a payload? Strict JSON (RFC 8259, I-JSON's unique keys), checked row by row without changing a byte.

``jiter`` refuses NaN, Infinity, duplicate keys at any depth, lone surrogates, control characters, byte order marks, invalid UTF-8 and
trailing anything. It lets two things pass that are refused here: numbers no double can hold (1e999, 400 digits) and nesting
deeper than the limit. Rows that could hold either are screened by a vectorised test and then parsed once more, exactly.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import jiter
import polars as pl
import pyarrow as pa

from eventlake.columns.problems import Problem
from eventlake.core.attributes import MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH

NO_JSON = "expected JSON"
_LONG_NUMBER = r"[0-9]{300}|[eE][+-]?[0-9]{3}"
_LONG_NUMBER_BYTES = re.compile(_LONG_NUMBER.encode())
_QUOTE, _BACKSLASH = b'"\\'
_BOM = b"\xef\xbb\xbf"


def payload_problems(data: pa.Array, field: str = "data") -> Iterator[Problem]:
    """The rows of ``data`` (utf8, nulls allowed) that are not payloads, each with its reason."""
    column = pl.Series("data", data)
    too_large = column.str.len_bytes() > MAX_PAYLOAD_BYTES
    deep = column.str.count_matches("[", literal=True) + column.str.count_matches("{", literal=True) > MAX_PAYLOAD_DEPTH
    suspect = (deep | column.str.contains(_LONG_NUMBER)).fill_null(value=False).to_numpy()
    parse = jiter.from_json
    for row, text in enumerate(data.cast(pa.binary()).to_pylist()):
        if text is None:
            continue
        if suspect[row] or too_large[row]:
            reason = scan_one(text)
            if reason:
                yield Problem(row, field, reason, text[:200].decode("utf-8", "replace"))
            continue
        try:
            parse(text, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
        except ValueError as error:
            yield Problem(row, field, f"{NO_JSON} ({error})", text[:200].decode("utf-8", "replace"))


def scan_one(text: bytes, limit: int = MAX_PAYLOAD_BYTES) -> str | None:
    """Why ``text`` is no payload of at most ``limit`` bytes, or None where it is one."""
    if len(text) > limit:
        return f"expected at most {limit:,} bytes, found {len(text):,}"
    if text.startswith(_BOM):
        return f"{NO_JSON} without a byte order mark"
    if text.count(b"[") + text.count(b"{") > MAX_PAYLOAD_DEPTH and deeper_than(text, MAX_PAYLOAD_DEPTH):
        return f"expected at most {MAX_PAYLOAD_DEPTH} levels of nesting"
    try:
        jiter.from_json(text, catch_duplicate_keys=True, allow_inf_nan=False, float_mode="lossless-float")
        if _LONG_NUMBER_BYTES.search(text):
            json.loads(text, parse_float=_finite, parse_int=_finite)
    except ValueError as error:
        return f"{NO_JSON} ({error})"
    return None


def deeper_than(text: bytes, limit: int) -> bool:
    """Whether brackets outside strings nest deeper than ``limit``; needs no valid JSON and no recursion."""
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
