"""Convert Python values and nested columns to payload text, and recognize missing values."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from eventlake.columns.intake.json_scan import NO_JSON
from eventlake.columns.intake.problems import Problem
from eventlake.columns.rows import narrow
from eventlake.core.attributes import ASSIGNED, ATTRIBUTES, CLOUDEVENTS_NAMES
from eventlake.core.payload import to_json

_NAMES = frozenset({*ATTRIBUTES, *ASSIGNED, *CLOUDEVENTS_NAMES})
ALWAYS_THERE = frozenset({str, int, bool, bytes, dict, list, type(None)})
"""Types of which no value means a missing one."""


def none_if_missing(value: Any) -> Any:
    """The value, or None for the missing values of pandas and numpy: NA, NaN and NaT."""
    if type(value) in ALWAYS_THERE:
        return value
    # By name, so that pandas is not imported for callers who do not use it.
    if type(value).__name__ == "NAType":
        return None
    single = isinstance(value, float | datetime) or (
        type(value).__module__ == "numpy" and not getattr(value, "ndim", 1)
    )
    return None if single and value != value else value  # noqa: PLR0124 - NaN and NaT alone are not equal to themselves


def is_nested(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are JSON objects or arrays."""
    return bool(pa.types.is_struct(kind) or any(test(kind) for test in _LISTS))


def without_json(kind: pa.DataType) -> pa.DataType | None:
    """The first nested type without a unique JSON form, such as a map; None if there is none."""
    if any(test(kind) for test in _FORMLESS) or getattr(kind, "extension_name", "") == "arrow.json":
        return kind
    inner = (
        [kind.value_type]
        if pa.types.is_dictionary(kind)
        else [kind.field(number).type for number in range(kind.num_fields)]
    )
    return next((found for one in inner if (found := without_json(one)) is not None), None)


_FORMLESS = (pa.types.is_map, pa.types.is_interval, pa.types.is_union)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def payload_text(row: int, value: Any, problems: list[Problem]) -> str | None:
    """Convert a payload to JSON text, or return None and report a problem.

    Text and bytes are kept; other values are converted by ``core.payload``.
    """
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8")
        text = value if isinstance(value, str) else to_json(value)
        text.encode("utf-8")
    except UnicodeDecodeError as error:
        problems.append(Problem(row, "data", f"expected UTF-8 (byte {error.start} is not)", value))
    except UnicodeEncodeError:
        problems.append(Problem(row, "data", "expected text without lone surrogates", value))
    except (TypeError, ValueError) as error:
        problems.append(Problem(row, "data", f"{NO_JSON}: {error}", value))
    else:
        return text
    return None


def payload_texts(column: pa.ChunkedArray, problems: list[Problem]) -> pa.ChunkedArray:
    """Convert structs and lists to JSON text, with members in the order of the type.

    The rules are those for Python values; null members stay null.
    """
    texts: list[str | None] = []
    for row, value in enumerate(column):
        plain = None
        try:
            # Fails for instants that Python's types cannot hold.
            plain = value.as_py()
        except (ValueError, OverflowError, pa.ArrowException) as error:
            problems.append(Problem(row, "data", f"{NO_JSON}: {error}"))
        texts.append(None if plain is None else payload_text(row, plain, problems))
    return narrow(pa.chunked_array([pa.array(texts, pa.large_string())]))


def with_payload_texts(frame: Any, problems: list[Problem]) -> Any:
    """Prepare a pandas frame for Arrow; other tables are returned unchanged.

    An index named like an attribute becomes a column, and payloads that are Python objects become
    JSON text. Arrow would give all payloads one type, which adds members to some and turns integers
    into doubles.
    """
    if type(frame).__module__.partition(".")[0] != "pandas":
        return frame
    levels = [name for name in frame.index.names if name in _NAMES and name not in frame.columns]
    frame = frame.reset_index(level=levels) if levels else frame
    if "data" not in frame:
        return frame
    column = frame["data"]
    values = list(column) if str(getattr(column, "dtype", "")) == "object" else []
    if not any(isinstance(value, Mapping | list | tuple) for value in values):
        return frame
    plain = map(none_if_missing, values)
    return frame.assign(
        data=[
            None if value is None else payload_text(row, value, problems)
            for row, value in enumerate(plain)
        ]
    )
