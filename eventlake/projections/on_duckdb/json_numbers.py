"""Checks that the JSON numbers an exact projection reads are exact as doubles.

Both engines read JSON numbers as doubles, except 64-bit integers. A double keeps every number of up
to 15 digits.
"""

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.intake.exact_json import exact_json
from eventlake.exactness.on_duckdb.json_text import Path, Read
from eventlake.exactness.refusals import DIGITS, Refusal
from eventlake.exactness.rows import EVENT_JSON
from eventlake.history.pinned import PinnedHistory
from eventlake.history.stretch import Stretch
from eventlake.trust import statement

_DIGITS = 15
_EXPONENT = 22
"""Powers of ten up to this one are exact doubles; beyond it Polars' parser rounds twice."""
_CHECK = 2
"""The version of this check. Statements of an earlier version in the ledger do not count."""
# Engines read integers of 64 bits, signed and unsigned, without loss.
_INTEGERS = range(-(2**63), 2**64)
_LONG = rf"-?[0-9][0-9.]{{{_DIGITS},}}|-?[0-9.]+[eE]"


def inexact_numbers(history: PinnedHistory, reads: Iterable[Read]) -> list[Refusal]:
    """The JSON numbers of a history that engines may read as other numbers, one for each read.

    Segments never change, so results by segment and path are kept in the ledger: a later build
    checks only new segments.

    Args:
        history: The events that are read.
        reads: The paths that are read, with everything below them.
    """
    left, ledger = set(reads), history.trust.ledger
    segments = {stretch.segment.sha256 for stretch in history.stretches} if left else ()
    statements = {(sha256, read): _statement(sha256, read) for sha256 in segments for read in left}
    unknown = ledger.unknown(statements.values())
    found = []
    for stretch in history.stretches if unknown else ():
        sha256 = stretch.segment.sha256
        new = {read for read in left if statements[sha256, read] in unknown}
        for read, column, row, number in _first_inexact(history, stretch, new) if new else ():
            event = history.row(stretch.segment.start + row).to_pylist()[0]
            found.append(_refusal(number, column, read.path, event, history))
            left.remove(read)
        # A statement is about a whole segment; of a cut one, only a part was read.
        if stretch.rows == stretch.segment.rows:
            ledger.note(statements[sha256, read] for read in new & left)
    return found


def _statement(sha256: str, read: Read) -> bytes:
    types = () if read.types is None else (sorted(read.types),)
    return statement("json numbers", _CHECK, sha256, read.path, *types)


def _first_inexact(
    history: PinnedHistory, stretch: Stretch, reads: Iterable[Read]
) -> Iterator[tuple[Read, str, int, int | Decimal]]:
    """The first inexact number of a segment for each read: its column, row and value."""
    left = set(reads)
    table = history.read(stretch, ["type", *EVENT_JSON])
    for column in set(table.column_names) & set(EVENT_JSON):
        texts = table.column(column)
        rows = _matches(texts, _LONG)
        for read in sorted(left, key=str) if len(rows) else ():
            for row in _at_path(texts, _of_types(table, rows, read), read.path):
                # The pattern only finds suspects; the decimal parser keeps every digit of them.
                number = next(_inexact(_at(exact_json(texts[row].as_py()), read.path)), None)
                if number is not None:
                    left.remove(read)
                    yield read, column, row, number
                    break


def _of_types(table: pa.Table, rows: pa.Array, read: Read) -> pa.Array:
    if read.types is None:
        return rows
    types = table.column("type").take(rows).combine_chunks()
    return rows.filter(pc.is_in(types, pa.array(sorted(read.types), types.type)))


def _at_path(texts: pa.ChunkedArray, rows: pa.Array, path: Path) -> list[int]:
    """A superset of the rows whose document has an inexact number at the path."""
    if not path or not isinstance(path[0], str):
        return list(rows.to_pylist())
    # A member's name may be written with escapes: then the document is looked at.
    pattern = (
        rf"{re.escape(json.dumps(path[0], ensure_ascii=False))}\s*:\s*(?:{_LONG}|[\[{{])|\\[u/]"
    )
    return list(rows.take(_matches(texts.take(rows), pattern)).to_pylist())


def _matches(texts: pa.ChunkedArray, pattern: str) -> pa.Array:
    return pc.indices_nonzero(pc.match_substring_regex(texts, pattern))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _inexact(value: Any) -> Iterator[int | Decimal]:
    """The numbers in a JSON value that a double may not keep."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _inexact(one)
    elif isinstance(value, list):
        for one in value:
            yield from _inexact(one)
    elif isinstance(value, int) and value not in _INTEGERS:
        yield value
    elif isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int) or len(digits) > _DIGITS or abs(exponent) > _EXPONENT:
            yield value


def _refusal(
    number: int | Decimal, column: str, path: Path, event: dict[str, Any], history: PinnedHistory
) -> Refusal:
    where, kind = ".".join([column, *map(str, path)]), event["type"]
    why = (
        f"event {event['id']!r} of {event['source']!r} has {number} at {where}; "
        f"engines read JSON numbers as doubles, of {_DIGITS} digits"
    )
    declared = (
        {field.name for field in history.catalogue.version(kind).schema.fields}
        if kind in history.catalogue.types
        else set()
    )
    instead = f"a column of the table of {kind!r}, which keeps every digit"
    if declared.isdisjoint(path[:1]):
        register = f"lake.register({kind!r}, lake.infer_schema({kind!r}).schema)"
        instead += f"; first register a schema that declares {where}, such as {register}"
    return Refusal("JSON", why, DIGITS, instead)
