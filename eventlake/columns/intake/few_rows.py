"""A small batch as plain Python values.

A vector function costs a tenth of a millisecond on any input, and a batch needs dozens of them. For
up to some hundreds of rows, loops over values are much faster. The results are those of ``leaves``,
``keys`` and ``segments``; tests hold the two together.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from eventlake.columns.hashing.leaves import Hashes
from eventlake.columns.keys.key_runs import Keys
from eventlake.columns.keys.keys import keys_of_few
from eventlake.columns.parquet.segments import Statistics
from eventlake.core.attributes import (
    ATTRIBUTES,
    MAX_ATTRIBUTE_BYTES,
    REQUIRED,
    RESERVED_TYPES,
    WITH_OWN_RULES,
)
from eventlake.core.hashing.merkle import HASH_BYTES

_UTF8_BYTES = 4
"""Maximum bytes of a character."""
_PLAIN_CONTENT = frozenset({"application/json", None})
_WITH_OWN_RULES = frozenset({"corrects", "correction", "traceparent"})


@dataclass(frozen=True)
class FewRows:
    """The events of a small batch.

    Attributes:
        rows: Number of events.
        values: Values by attribute, without attributes that are null in every row; ``time`` in
            microseconds.
    """

    rows: int
    values: dict[str, list[Any]]

    @classmethod
    def of(cls, table: pa.Table) -> "FewRows":
        """The rows of a table of the event schema."""
        columns = ((name, table.column(name)) for name in ATTRIBUTES)
        values = {
            name: _values(name, column)
            for name, column in columns
            if column.null_count < table.num_rows
        }
        return cls(table.num_rows, values)

    def slice(self, start: int, length: int) -> "FewRows":
        """A part of the rows."""
        if start == 0 and length >= self.rows:
            return self
        values = {name: column[start : start + length] for name, column in self.values.items()}
        rows = len(range(self.rows)[start : start + length])
        return FewRows(
            rows, {name: column for name, column in values.items() if column.count(None) < rows}
        )

    def surely_keep_text_rules(self) -> bool:
        """Whether no attribute except the payload can break a rule; False means unknown."""
        values = self.values
        # Rules that are rarely needed are left to the vectors, so that each is written once.
        if any(
            name not in values or None in values[name] for name in REQUIRED
        ) or not _WITH_OWN_RULES.isdisjoint(values):
            return False
        if not RESERVED_TYPES.isdisjoint(values["type"]) or not _PLAIN_CONTENT.issuperset(
            values.get("datacontenttype", ())
        ):
            return False
        return all(
            _is_plain(column) for name, column in values.items() if name not in WITH_OWN_RULES
        )

    def keys(self) -> tuple[Keys, Keys] | None:
        """The keys of the events in row order, and of the subjects; None if an event has no key."""
        sources, ids = self.values.get("source", [None]), self.values.get("id", [None])
        if None in sources or None in ids:
            return None
        return keys_of_few(sources, ids, self.values.get("subject", ()))

    def leaf_hashes(self) -> Hashes:
        """SHA-256(0x00 ‖ event bytes) of every row (docs/reference/format.md, "Event bytes")."""
        pieces = [
            _SPELLED.get(name, _spelled)(name, column) for name, column in self.values.items()
        ]
        events = map("".join, zip(*pieces, strict=True)) if pieces else [""] * self.rows
        digests = b"".join([hashlib.sha256(b"\x00" + event.encode()).digest() for event in events])
        return np.frombuffer(digests, np.uint8).reshape(-1, HASH_BYTES)

    def statistics(self) -> Statistics:
        """The facts for the commit, without ``recorded_at``."""
        dated = [value for value in self.values.get("time", ()) if value is not None]
        types = tuple(sorted(Counter(self.values["type"]).items()))
        return Statistics(
            types, (min(dated), max(dated)) if dated else None, self.rows - len(dated), None
        )


def _values(name: str, column: pa.ChunkedArray) -> list[Any]:
    if name != "time":
        return list(column.to_pylist())
    return [value for chunk in column.chunks for value in chunk.view(pa.int64()).to_pylist()]


def _is_plain(column: list[str | None]) -> bool:
    """Whether every text is short, not empty, and printable, so free of control characters."""
    texts = [text for text in column if text is not None]
    return (
        # ``isprintable`` is False for some harmless characters too, which the exact rules then
        # accept.
        "" not in texts
        # Bounds the bytes without encoding the text.
        and _UTF8_BYTES * max(map(len, texts)) <= MAX_ATTRIBUTE_BYTES
        and "".join(texts).isprintable()
    )


def _spelled(name: str, column: list[str | None]) -> list[str]:
    # ASCII has as many bytes as characters, and one look at the joined text is faster than one per
    # value.
    if None not in column and "".join(cast("list[str]", column)).isascii():
        return [f"{name}={len(text)}:{text}," for text in cast("list[str]", column)]
    return [
        ""
        if text is None
        else f"{name}={len(text) if text.isascii() else len(text.encode())}:{text},"
        for text in column
    ]


def _spelled_time(name: str, column: list[int | None]) -> list[str]:
    return _spelled(name, [None if value is None else str(value) for value in column])


def _spelled_data(name: str, column: list[str | None]) -> list[str]:
    return [
        "" if text is None else f"{name}=64:{hashlib.sha256(text.encode()).hexdigest()},"
        for text in column
    ]


_SPELLED: dict[str, Callable[[str, list[Any]], list[str]]] = {
    "time": _spelled_time,
    "data": _spelled_data,
}
