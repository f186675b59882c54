"""Whether the JSON numbers that an exact projection reads keep their value as doubles, as which both engines read them.

A double keeps every number of up to 15 digits; 64-bit integers do not become doubles.
"""

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import jiter
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.exactness.json_text import Path
from eventlake.exactness.refusals import DIGITS, Refusal
from eventlake.exactness.rows import EVENT_JSON
from eventlake.history.pinned import PinnedHistory

_DIGITS = 15
_EXPONENT = 22
"""Powers of ten up to this one are doubles; Polars' parser rounds twice beyond."""
_INTEGERS = range(-(2**63), 2**64)
_LONG = rf"-?[0-9][0-9.]{{{_DIGITS},}}|-?[0-9.]+[eE]"


def inexact_numbers(history: PinnedHistory, paths: Iterable[Path]) -> list[Refusal]:
    """Why numbers at these paths of the history's payloads may be read as other numbers; at most one reason a path.

    Args:
        history: What is read.
        paths: Of JSON documents; everything below a path is read.
    """
    left = {path: _pattern(path) for path in paths}
    found = []
    for stretch in history.stretches if left else ():
        table = history.read(stretch, ["id", "source", "type", *EVENT_JSON])
        for column in (name for name in EVENT_JSON if name in table.column_names):
            texts = table.column(column)
            for path, pattern in list(left.items()):
                for row in _rows(texts, pattern):
                    number = next(_inexact(_at(jiter.from_json(texts[row].as_py().encode(), float_mode="decimal"), path)), None)
                    if number is not None:
                        found.append(_refusal(number, column, path, table.slice(row, 1).to_pylist()[0], history))
                        del left[path]
                        break
    return found


def _pattern(path: Path) -> str:
    """Text that a document matches if it has a number at the path that may be inexact."""
    if not path or not isinstance(path[0], str):
        return _LONG
    # A member's name may be written with escapes: then the document is looked at.
    return rf"{re.escape(json.dumps(path[0], ensure_ascii=False))}\s*:\s*(?:{_LONG}|[\[{{])|\\u"


def _rows(texts: pa.ChunkedArray, pattern: str) -> list[int]:
    if texts.null_count == len(texts):
        return []
    matched: list[int] = pc.indices_nonzero(pc.match_substring_regex(texts, pattern)).to_pylist()
    return matched


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
    """The numbers in a value that a double may not keep."""
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


def _refusal(number: int | Decimal, column: str, path: Path, event: dict[str, Any], history: PinnedHistory) -> Refusal:
    where, kind = ".".join([column, *map(str, path)]), event["type"]
    why = f"event {event['id']!r} of {event['source']!r} has {number} at {where}; engines read JSON numbers as doubles, of {_DIGITS} digits"
    declared = {field.name for field in history.catalogue.version(kind).schema.fields} if kind in history.catalogue.types else set()
    instead = f"a column of the table of {kind!r}, which keeps every digit"
    if declared.isdisjoint(path[:1]):
        instead += f"; first register a schema that declares {where}, such as lake.register({kind!r}, lake.infer_schema({kind!r}).schema)"
    return Refusal("JSON", why, DIGITS, instead)
