"""Convert tables to the Arrow schema of events without changing a value."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.dictionaries import decoded
from eventlake.columns.hashing import leaves
from eventlake.columns.instants import from_texts
from eventlake.columns.intake.batch_limits import BATCH_LIMITS, BatchLimits
from eventlake.columns.intake.encode_batch import Encoding
from eventlake.columns.intake.few_rows import FewRows
from eventlake.columns.intake.payload_text import is_nested, payload_texts, without_json
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import Keys
from eventlake.columns.keys.keys import event_keys, subject_keys
from eventlake.columns.rows import chosen, narrow
from eventlake.columns.schema import INSTANT, SCHEMA, TYPES
from eventlake.core.attributes import ASSIGNED, ATTRIBUTES, CLOUDEVENTS_NAMES, MAX_SEQUENCE
from eventlake.core.instants import MAX_US, MIN_US, parse_instant

_FEW_ROWS = 10_000
PANDAS_INDEX = "__index_level_0__"


@dataclass(frozen=True)
class Batch:
    """Events to append.

    Attributes:
        table: All columns of ``SCHEMA``, with rows in the order of the append.
        recorded_at: timestamp[us, UTC] if the batch is a copied history, else None.
        sequence: int64 if the batch expects certain sequences, else None.
        numbers: Row numbers in the given batch if rows were left out since, else None.
        limits: How the batch is encoded.
    """

    table: pa.Table
    recorded_at: pa.Array | None = None
    sequence: pa.Array | None = None
    numbers: npt.NDArray[np.int64] | None = None
    limits: BatchLimits = BATCH_LIMITS

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The table as a Polars frame, converted once; columns of only nulls take no memory."""
        present = [name for name in ATTRIBUTES if self.table.column(name).null_count < self.rows]
        # In a small batch columns of nulls take little memory.
        if not present or self.rows < _FEW_ROWS:
            return pl.DataFrame(self.table)
        empty = [
            pl.lit(None, pl.Datetime("us", "UTC") if name == "time" else pl.String).alias(name)
            for name in ATTRIBUTES
        ]
        absent = [
            column for name, column in zip(ATTRIBUTES, empty, strict=True) if name not in present
        ]
        return pl.DataFrame(self.table.select(present)).with_columns(absent).select(ATTRIBUTES)

    @cached_property
    def few(self) -> FewRows | None:
        """The events as plain values, converted once; None if there are many."""
        return FewRows.of(self.table) if 0 < self.rows <= self.limits.few_rows else None

    @cached_property
    def _keys_of_few(self) -> tuple[Keys, Keys] | None:
        return self.few.keys() if self.few else None

    @cached_property
    def keys(self) -> Keys:
        """The key of every row's ``(source, id)``."""
        return event_keys(self.frame) if self._keys_of_few is None else self._keys_of_few[0]

    @cached_property
    def sorted_keys(self) -> Keys:
        """``keys``, sorted."""
        return np.sort(self.keys)

    @cached_property
    def heads(self) -> Keys:
        """The keys of the subjects and of their ancestors, unordered."""
        return subject_keys(self.frame) if self._keys_of_few is None else self._keys_of_few[1]

    @cached_property
    def leaf_hashes(self) -> leaves.Hashes:
        """The leaf hash of every row."""
        return leaves.leaf_hashes(self.frame)

    @cached_property
    def encoding(self) -> Encoding:
        """The batch's segments; encoding starts with the first access."""
        return Encoding(self.few or self.frame, self.stored_columns(), self.limits.segment_rows)

    def stored_columns(self) -> pa.Table:
        """The columns to store: attributes that are not null in every row, and ``recorded_at``."""
        table = self.table.select(
            [name for name in ATTRIBUTES if self.table.column(name).null_count < self.rows]
        )
        if self.recorded_at is None:
            return table
        return table.append_column("recorded_at", self.recorded_at)

    @property
    def rows(self) -> int:
        """Number of events."""
        return int(self.table.num_rows)

    def pairs(self, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
        """The columns ``source`` and ``id`` of some rows."""
        return self.frame[rows].select("source", "id")

    @property
    def own_numbers(self) -> npt.NDArray[np.int64]:
        """The number of every row in the batch as given."""
        return np.arange(self.rows) if self.numbers is None else self.numbers

    def number(self, row: int) -> int:
        """The number of ``row`` in the batch as given."""
        return row if self.numbers is None else int(self.numbers[row])

    def without(self, rows: npt.NDArray[np.int64]) -> "Batch":
        """The batch without some rows."""
        kept = np.delete(np.arange(self.rows), rows)
        recorded_at = None if self.recorded_at is None else self.recorded_at.take(pa.array(kept))
        # A batch that names its sequences is never shortened.
        return Batch(
            chosen(self.table, kept), recorded_at, None, self.own_numbers[kept], self.limits
        )


def to_batch(table: pa.Table, limits: BatchLimits = BATCH_LIMITS) -> tuple[Batch, list[Problem]]:
    """Convert a table to the event schema.

    CloudEvents spellings are renamed, types are cast without loss, and missing attributes are added
    as nulls.

    Returns:
        The batch, and the problems: unknown or repeated columns, wrong types, values that cannot be
        converted.
    """
    columns: dict[str, pa.Array] = {}
    problems: list[Problem] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        target = CLOUDEVENTS_NAMES.get(name, name)
        # pandas writes its index into Arrow tables; it is not an attribute.
        if target == PANDAS_INDEX:
            continue
        if target in columns:
            problems.append(
                Problem(None, name, f"expected each column once, found {target!r} twice")
            )
        elif target in TYPES or target in ASSIGNED:
            columns[target] = _convert(target, column, problems)
        else:
            known = ", ".join((*ATTRIBUTES, "recorded_at"))
            problems.append(
                Problem(
                    None,
                    name,
                    f"expected one of {known}; other facts belong into data or extensions, "
                    f"such as data=pl.struct({name!r})",
                )
            )
    rows = table.num_rows
    arrays = [
        columns[name] if name in columns else pa.nulls(rows, TYPES[name]) for name in ATTRIBUTES
    ]
    return Batch(
        pa.Table.from_arrays(arrays, schema=SCHEMA),
        columns.get("recorded_at"),
        columns.get("sequence"),
        limits=limits,
    ), problems


def _convert(name: str, column: pa.ChunkedArray, problems: list[Problem]) -> pa.Array:
    try:
        column = decoded(column)
    except pa.ArrowNotImplementedError:
        problems.append(
            Problem(None, name, "expected a type that Arrow decodes", _named(column.type))
        )
        column = pa.chunked_array([pa.nulls(len(column))])
    if name in TYPES and _is_empty(column):
        return pa.nulls(len(column), TYPES[name])
    convert: Callable[[str, pa.ChunkedArray, list[Problem]], pa.ChunkedArray]
    if name in {"time", "recorded_at"}:
        convert = _instants
    elif name == "sequence":
        convert = _integers
    else:
        convert = _text
    converted = convert(name, column, problems)
    if name in ASSIGNED and isinstance(converted, pa.ChunkedArray):
        return converted.combine_chunks()
    return converted


def _is_empty(column: pa.ChunkedArray) -> bool:
    """Whether a column of any type has no value; pandas fills missing attributes with NaN."""
    if column.null_count == len(column):
        return True
    return pa.types.is_floating(column.type) and bool(
        pc.all(pc.is_nan(column.cast(pa.float64()))).as_py()
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _text(name: str, column: pa.ChunkedArray, problems: list[Problem]) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    binary = (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )
    if _is_text(kind) or (binary and name == "data"):
        with contextlib.suppress(pa.ArrowInvalid):
            result = column if pa.types.is_string(kind) else narrow(column)
            # Arrow does not check text that a caller's buffers hold.
            result.validate(full=True)
            return result
        # Some row is not UTF-8. Only now is it worth the time to find out which.
        return _decode(name, column.cast(pa.large_binary()), problems)
    odd = without_json(kind) if name == "data" else None
    if name == "data" and is_nested(kind) and odd is None:
        return payload_texts(column, problems)
    hint = (
        "JSON text, structs or lists"
        if name == "data"
        else "text (utf8): write .cast(pl.String) in Polars, .astype('string') in pandas"
        if pa.types.is_integer(kind)
        else "text (utf8)"
    )
    inside = f" (write a {odd} as text, structs or lists of them)" if odd is not None else ""
    problems.append(Problem(None, name, f"expected {hint}{inside}", _named(kind)))
    return pa.chunked_array([pa.nulls(len(column), pa.string())])


def _decode(name: str, column: pa.ChunkedArray, problems: list[Problem]) -> pa.ChunkedArray:
    """Decode row by row, to list the rows that are not UTF-8."""
    values: list[str | None] = []
    for row, value in enumerate(column.to_pylist()):
        try:
            values.append(value if value is None else value.decode("utf-8"))
        except UnicodeDecodeError as error:
            problems.append(
                Problem(row, name, f"expected UTF-8 (byte {error.start} is not)", value)
            )
            values.append(None)
    return narrow(pa.chunked_array([pa.array(values, pa.large_string())]))


def _instants(name: str, column: pa.ChunkedArray, problems: list[Problem]) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(INSTANT)
    if _is_text(kind):
        found = from_texts(column)
        if found is not None:
            return found
        return parse_instants(name, _text(name, column, problems).to_pylist(), problems)
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        is_naive = pa.types.is_timestamp(kind)
        found = "timestamps without a zone" if is_naive else _named(kind)
        hint = (
            ": write .dt.replace_time_zone('UTC') in Polars, .dt.tz_localize('UTC') in pandas, "
            "if they are in UTC"
        )
        expected = f"expected timestamps with a zone or RFC 3339 text{hint if is_naive else ''}"
        problems.append(Problem(None, name, expected, found))
        return pa.chunked_array([pa.nulls(len(column), INSTANT)])
    try:
        result = column if kind == INSTANT else column.cast(INSTANT)
    except pa.ArrowInvalid:
        # The checked cast names no row.
        result = _without_nanoseconds(name, column, problems)
    found = pc.min_max(result.cast(pa.int64()))
    if (
        found["min"].as_py() is None
        or MIN_US <= found["min"].as_py() <= found["max"].as_py() <= MAX_US
    ):
        return result
    outside = pc.or_kleene(pc.less(result, _bound(MIN_US)), pc.greater(result, _bound(MAX_US)))
    rows = pc.indices_nonzero(outside.combine_chunks()).to_pylist()
    problems.extend(
        Problem(row, name, "expected an instant in the years 1 to 9999 UTC") for row in rows
    )
    return result


def _bound(value: int) -> pa.Scalar:
    return pa.scalar(value, pa.int64()).cast(INSTANT)


def _without_nanoseconds(
    name: str, column: pa.ChunkedArray, problems: list[Problem]
) -> pa.ChunkedArray:
    """Report the rows that are finer than a microsecond or out of its range; they become null."""
    # Cut and cast back: a row that changes was finer, or beyond the range.
    result = column.cast(INSTANT, safe=False)
    ticks = column.cast(pa.int64())
    lossy = pc.fill_null(
        pc.not_equal(result.cast(column.type, safe=False), column), fill_value=False
    )
    rows = pc.indices_nonzero(lossy.combine_chunks()).to_pylist()
    problems.extend(
        Problem(row, name, "expected an instant that microseconds can hold", ticks[row].as_py())
        for row in rows
    )
    return pc.if_else(lossy, pa.scalar(None, INSTANT), result)


def parse_instants(name: str, values: list[Any], problems: list[Problem]) -> pa.Array:
    """Parse RFC 3339 text to timestamp[us, UTC]; invalid values become null and a problem."""
    micros: list[int | None] = []
    for row, value in enumerate(values):
        try:
            micros.append(value if value is None else parse_instant(value))
        except ValueError as error:
            problems.append(Problem(row, name, str(error), value))
            micros.append(None)
    return pa.array(micros, pa.int64()).cast(INSTANT)


def _integers(name: str, column: pa.ChunkedArray, problems: list[Problem]) -> pa.ChunkedArray:
    if pa.types.is_integer(column.type) and not column.null_count:
        with contextlib.suppress(pa.ArrowInvalid):
            result = column.cast(pa.int64())
            bounds = pc.min_max(result)
            if not len(result) or (
                bounds["min"].as_py() >= 0 and bounds["max"].as_py() < MAX_SEQUENCE
            ):
                return result
    problems.append(Problem(None, name, "expected int64 from 0 without nulls", _named(column.type)))
    return pa.chunked_array([pa.nulls(len(column), pa.int64())])


def _named(kind: pa.DataType) -> str:
    return f"a column of {kind}"
