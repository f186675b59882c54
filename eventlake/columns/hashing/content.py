"""The content hash: SHA-256 over canonical columns in stored row order.

docs/reference/format.md, "Content hash", defines it. It does not depend on chunking, writer, row
groups, dictionaries or string layout. It depends on every value, type and name, and on the order of
rows and columns. Types without a canonical form are refused.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.dictionaries import decoded
from eventlake.errors import SchemaMismatchError

MAGIC = b"eventlake content 1\n"
_CANONICAL_NAN = np.uint64(0x7FF8000000000000)
_CANONICAL_NAN_32 = np.uint32(0x7FC00000)
_DECIMAL_DIGITS = 38
_AT_ONCE = 2
_LARGE = 1 << 20
"""From this size on, the columns of a table are hashed in parallel."""

_PLAIN = {
    pa.bool_(): "bool",
    pa.int8(): "int8",
    pa.int16(): "int16",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.uint8(): "uint8",
    pa.uint16(): "uint16",
    pa.uint32(): "uint32",
    pa.uint64(): "uint64",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.date32(): "date",
    pa.time64("us"): "time[us]",
    pa.duration("us"): "duration[us]",
    pa.timestamp("us"): "timestamp[us]",
    pa.timestamp("us", "UTC"): "timestamp[us, UTC]",
    pa.large_string(): "utf8",
    pa.large_binary(): "binary",
}


# The logical type is stored as text, which ``from_logical`` parses again.
_FIELD_NAME = re.compile(r"[^\s<>()\[\],:\x00]([^<>()\[\],:\x00]*[^\s<>()\[\],:\x00])?")
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], pa.DataType]], ...] = (
    (
        lambda kind: pa.types.is_string(kind) or pa.types.is_string_view(kind),
        lambda _: pa.large_string(),
    ),
    (
        lambda kind: pa.types.is_binary(kind) or pa.types.is_binary_view(kind),
        lambda _: pa.large_binary(),
    ),
    (pa.types.is_fixed_size_binary, lambda _: pa.large_binary()),
    (pa.types.is_timestamp, lambda kind: pa.timestamp("us", None if kind.tz is None else "UTC")),
    (pa.types.is_date, lambda _: pa.date32()),
    (pa.types.is_time, lambda _: pa.time64("us")),
    (pa.types.is_duration, lambda _: pa.duration("us")),
    (
        lambda kind: (
            pa.types.is_decimal(kind) and kind.precision <= _DECIMAL_DIGITS and kind.scale >= 0
        ),
        lambda kind: pa.decimal128(kind.precision, kind.scale),
    ),
)


def normal_type(kind: pa.DataType, where: str) -> pa.DataType:
    """The canonical Arrow type: widest offsets, microseconds, decoded dictionaries.

    Raises:
        SchemaMismatchError: The type has no canonical form; the message names ``where``.
    """
    if kind in _PLAIN:
        return kind
    if pa.types.is_dictionary(kind):
        return normal_type(kind.value_type, where)
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        if not names or len(set(names)) < len(names):
            problem = f"several fields of one name: {names}" if names else "structs without fields"
            message = f"column {where} has {problem}"
            raise SchemaMismatchError(
                message, "leave it out, or give each of its fields a name of its own.", column=where
            )
        odd = [name for name in names if not _FIELD_NAME.fullmatch(name)]
        if odd:
            message = (
                f"column {where} has a field called {odd[0]!r}, "
                "whose characters separate fields in the name of a type"
            )
            raise SchemaMismatchError(
                message,
                "rename the field: no blanks at its ends, no NUL, none of < > ( ) [ ] , :",
                column=where,
            )
        return pa.struct(
            [
                pa.field(field.name, normal_type(field.type, f"{where}.{field.name}"))
                for field in kind
            ]
        )
    if any(test(kind) for test in _LISTS):
        return pa.large_list(normal_type(kind.value_type, f"{where}[]"))
    for test, normal in _SCALARS:
        if test(kind):
            return normal(kind)
    message = f"column {where} has type {kind}, which a dataset cannot hold"
    hint = (
        "cast it to integers, decimals, floats, booleans, text, binary, dates, times, "
        "or lists and structs of these."
    )
    if pa.types.is_null(kind):
        hint = "give the null a type: CAST(NULL AS INTEGER), or pl.lit(None, dtype=pl.Int64)."
    raise SchemaMismatchError(message, hint, column=where, found=str(kind))


def logical_type(kind: pa.DataType) -> str:
    """The name of a normal type in manifests."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pa.types.is_struct(kind):
        return (
            "struct<"
            + ", ".join(f"{field.name}: {logical_type(field.type)}" for field in kind)
            + ">"
        )
    return f"list<{logical_type(kind.value_type)}>"


_PLAIN_NAMES = {name: kind for kind, name in _PLAIN.items()}
_DECIMAL = re.compile(r"decimal\(([1-9][0-9]?), (0|[1-9][0-9]?)\)")
_MOST_NESTING = 64
_SHOWN = 100


def from_logical(name: str, depth: int = 0) -> pa.DataType:
    """The normal type with this name: the inverse of ``logical_type``.

    Raises:
        SchemaMismatchError: There is no such type, or it is nested deeper than 64 levels.
    """
    if name in _PLAIN_NAMES:
        return _PLAIN_NAMES[name]
    if match := _DECIMAL.fullmatch(name):
        precision, scale = int(match[1]), int(match[2])
        if precision <= _DECIMAL_DIGITS:
            return pa.decimal128(precision, scale)
    if depth < _MOST_NESTING and name.startswith("list<") and name.endswith(">"):
        return pa.large_list(from_logical(name[5:-1], depth + 1))
    if depth < _MOST_NESTING and name.startswith("struct<") and name.endswith(">"):
        fields = (field.partition(": ") for field in _fields(name[7:-1]))
        return pa.struct(
            [pa.field(field, from_logical(kind, depth + 1)) for field, _, kind in fields]
        )
    message = f"expected a logical type, found {name[:_SHOWN]!r}"
    raise SchemaMismatchError(message)


def _fields(text: str) -> list[str]:
    """Split at commas outside brackets."""
    fields, depth = [""], 0
    for part in re.split(r"([<>()\[\],])", text):
        depth += {"<": 1, "(": 1, "[": 1, ">": -1, ")": -1, "]": -1}.get(part, 0)
        if part == "," and not depth:
            fields.append("")
        else:
            fields[-1] += part
    return [field.strip() for field in fields if field.strip()]


def normalise(table: pa.Table) -> pa.Table:
    """Cast a table to normal types without changing a value, and drop its metadata.

    Raises:
        SchemaMismatchError: A type has no canonical form, or a time is finer than a microsecond.
    """
    fields = [pa.field(field.name, normal_type(field.type, field.name)) for field in table.schema]
    columns = []
    for field, column in zip(fields, table.columns, strict=True):
        try:
            columns.append(decoded(column).cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            message = (
                f"column {field.name} cannot become {logical_type(field.type)} "
                f"without loss: {error}"
            )
            hint = (
                "round it or cast it where it is made; "
                "instants have microseconds: pl.col(name).dt.round('1us')."
            )
            raise SchemaMismatchError(message, hint, column=field.name) from error
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def schema_of(table: pa.Table) -> list[list[str]]:
    """``[[name, logical type], …]`` of a normalised table."""
    return [[field.name, logical_type(field.type)] for field in table.schema]


def content_hash(table: pa.Table) -> str:
    """The content hash of a table in hex; the table is normalized first.

    Raises:
        SchemaMismatchError: A column has no canonical form.
    """
    table = normalise(table)
    running = RunningHash(table.schema)
    running.update(table)
    return running.hexdigest()


class RunningHash:
    """The content hash of a table that arrives in normalized pieces of ``schema``, in row order."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows = 0
        self._columns = [_Hasher(field.type) for field in schema]

    def update(self, table: pa.Table) -> None:
        """Add the next rows."""
        self._rows += table.num_rows
        each = zip(self._columns, table.columns, strict=True)
        if table.nbytes < _LARGE:
            for hasher, column in each:
                hasher.update_all(column)
            return
        # hashlib releases the GIL for large buffers, so the columns are hashed in parallel.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda pair: pair[0].update_all(pair[1]), each):
                pass

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        digest = hashlib.sha256(MAGIC + _size(self._rows) + _size(len(self._columns)))
        for field, hasher in zip(self._schema, self._columns, strict=True):
            digest.update(_text(field.name) + _text(logical_type(field.type)) + hasher.digest())
        return digest.hexdigest()


def column_digest(column: pa.ChunkedArray) -> bytes:
    """SHA-256 over one normalized column: rows, nulls, validity, lengths, values, children."""
    hasher = _Hasher(column.type)
    hasher.update_all(column)
    return hasher.digest()


def _size(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _text(value: str) -> bytes:
    encoded = value.encode()
    # With the length in front, no two lists of texts have the same bytes.
    return _size(len(encoded)) + encoded


class _Hasher:
    """Running digests of one column, which may be nested."""

    def __init__(self, kind: pa.DataType) -> None:
        self._rows = 0
        self._nulls = 0
        self._validity = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._values = hashlib.sha256()
        if pa.types.is_struct(kind):
            self._children = [_Hasher(field.type) for field in kind]
        elif pa.types.is_large_list(kind):
            self._children = [_Hasher(kind.value_type)]
        else:
            self._children = []

    def update_all(self, column: pa.ChunkedArray) -> None:
        for chunk in column.chunks:
            self.update(chunk)

    def update(self, array: pa.Array) -> None:
        self._rows += len(array)
        self._nulls += array.null_count
        self._validity.update(array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False))
        if pa.types.is_struct(array.type):
            # ``flatten`` makes the fields of a null struct null. ``field`` would return what is
            # stored there.
            for child, values in zip(self._children, array.flatten(), strict=True):
                child.update(values)
        elif pa.types.is_large_list(array.type):
            self._lengths.update(
                pc.fill_null(pc.list_value_length(array), 0)
                .cast(pa.int64())
                .to_numpy(zero_copy_only=False)
            )
            # ``flatten`` leaves out the items of null lists, which may hold anything.
            self._children[0].update(array.flatten())
        elif pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type):
            filled = array
            if array.null_count:
                filled = array.fill_null(b"" if pa.types.is_large_binary(array.type) else "")
            offsets, data = _bytes_of(filled)
            self._lengths.update(np.diff(offsets).data)
            self._values.update(data)
        else:
            self._values.update(_fixed_width(array))

    def digest(self) -> bytes:
        parts: Iterable[bytes] = (
            _size(self._rows),
            _size(self._nulls),
            self._validity.digest(),
            self._lengths.digest(),
            self._values.digest(),
            *(child.digest() for child in self._children),
        )
        return hashlib.sha256(b"".join(parts)).digest()


def _bytes_of(array: pa.Array) -> tuple[npt.NDArray[np.int64], memoryview]:
    """Offsets and bytes of a large string or binary array without nulls."""
    _, offsets_buffer, data_buffer = array.buffers()
    # An empty array may have no buffers.
    if not len(array):
        return np.zeros(1, "<i8"), memoryview(b"")
    # A slice shares the buffers of the whole array, and begins at ``array.offset``.
    offsets = np.frombuffer(offsets_buffer, "<i8", count=len(array) + 1, offset=8 * array.offset)
    data = memoryview(data_buffer if data_buffer is not None else b"")
    return offsets, data[offsets[0] : offsets[-1]]


def _fixed_width(array: pa.Array) -> memoryview:
    """Little-endian values with nulls as zero and a single NaN."""
    kind = array.type
    if pa.types.is_decimal(kind):
        return _decimal_bytes(array)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    elif pa.types.is_temporal(kind):
        array = array.cast(pa.int64())
    if pa.types.is_floating(kind):
        return np.ascontiguousarray(canonical_bits(array)).data
    values = (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values).data


def canonical_bits(array: pa.Array) -> npt.NDArray[np.uint64] | npt.NDArray[np.uint32]:
    """The bits of floats with nulls as zero and a single NaN."""
    # What lies under a null is undefined, so it is replaced before it is hashed.
    values = (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)
    double = array.type == pa.float64()
    # Compared as bits, 0.0 and -0.0 differ: SQL and Polars can tell them apart.
    bits = values.view(np.uint64 if double else np.uint32)
    return np.where(np.isnan(values), _CANONICAL_NAN if double else _CANONICAL_NAN_32, bits)


def _decimal_bytes(array: pa.Array) -> memoryview:
    """Unscaled values as 16-byte two's complement integers."""
    if array.null_count:
        array = array.fill_null(pa.scalar(Decimal(0), array.type))
    values = memoryview(array.buffers()[1]) if len(array) else memoryview(b"")
    return values[16 * array.offset : 16 * (array.offset + len(array))]
