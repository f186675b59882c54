"""Bound what a Parquet file decodes to, because a few bytes can expand to more than memory holds.

The footer and all page headers are checked here before a Parquet reader sees the file. Every offset
must be inside the file, all counts must agree, and the decoded size of the pages is limited. A
dictionary can repeat long text. So if the headers do not say how much text a column has, it is
measured.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventlake.columns.parquet.thrift import Buffer, ThriftError, Wanted, read
from eventlake.memory import machine_bytes

CELL_BYTES = 8
"""Size of a value without its text.

Equal values take almost no space in a file, so these bytes have a limit of their own.
"""
MOST_ROWS = 1 << 40
MOST_CHUNKS = 1 << 20
MOST_LEVELS = 256
MOST_FOOTER_BYTES = 256 << 20

# Numbers of fields as in parquet.thrift: ColumnMetaData (1 type, 3 path, 5 number of values, 7
# compressed size, 9 first data page, 11 dictionary page), ColumnChunk, SchemaElement, FileMetaData.
_COLUMN: Wanted = {1: None, 3: None, 5: None, 7: None, 9: None, 11: None}
_CHUNK: Wanted = {1: None, 3: _COLUMN, 8: {}}
_ELEMENT: Wanted = {1: None, 2: None, 3: None, 4: None, 5: None, 6: None}
_FOOTER: Wanted = {2: _ELEMENT, 3: None, 4: {1: _CHUNK, 3: None}}
# PageHeader: 1 type, 2 and 3 sizes before and after compression, then the header of its kind.
_PAGE: Wanted = {
    1: None,
    2: None,
    3: None,
    5: {1: None, 2: None},
    7: {1: None, 2: None},
    8: {1: None, 4: None},
}
_DATA, _INDEX, _DICTIONARY, _DATA_2 = range(4)
_BYTE_ARRAY, _FIXED, _TYPES = 6, 7, 8
_DECIMAL, _REPEATED = 5, 2
_WIDEST_NUMBER = 16
_BY_DICTIONARY, _DELTA_TEXT = frozenset({2, 8}), 7
PARQUET_ENDING = b"PAR1"
"""The first and the last bytes of every Parquet file."""
TAIL_BYTES, LENGTH_BYTES = 8, 4
"""What follows the footer: its length, and the ending."""
_INT32 = 1 << 31
_PADDING_BYTES = 100
"""Old writers did not count the dictionary's header in the size of its chunk."""


@dataclass(frozen=True, slots=True)
class FooterLimits:
    """The size in bytes that a file may decode to; the largest of three bounds.

    Attributes:
        free_bytes: Any file may decode to this size.
        fair_ratio: Any file may decode to this multiple of its size.
        most_ratio: A file may decode to this multiple of its size if that fits a quarter of the
            memory.
    """

    free_bytes: int = 1 << 30
    fair_ratio: int = 64
    most_ratio: int = 1_000

    def most(self, size_bytes: int) -> int:
        """The bytes that a file of ``size_bytes`` may decode to."""
        return self._most(size_bytes, self.most_ratio)

    def most_cells(self, size_bytes: int) -> int:
        """The number of values that a file of ``size_bytes`` may have."""
        return self._most(size_bytes, self.most_ratio * CELL_BYTES) // CELL_BYTES

    def _most(self, size_bytes: int, ratio: int) -> int:
        # Honest files compress well too: a limit by the ratio alone would refuse small ones, and a
        # limit by size alone large ones.
        fits = min(ratio * size_bytes, machine_bytes() // 4)
        return max(self.free_bytes, self.fair_ratio * size_bytes, fits)


FOOTER_LIMITS = FooterLimits()


class MalformedError(ValueError):
    """The file is not valid Parquet."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf column.

    Attributes:
        path: Names from the outermost to the innermost.
        is_text: Whether values have variable length.
        width: Bytes of a value of fixed length.
        repeated: Whether a row can have several values.
    """

    path: tuple[str, ...]
    is_text: bool
    width: int
    repeated: bool


@dataclass(slots=True)
class Doubt:
    """A text column whose page headers do not say how much text they hold.

    Attributes:
        leaf: The column.
        groups: The row groups concerned.
        most_bytes: Maximum size of the text in bytes.
        longest: Maximum size of a single value in bytes.
        has_deltas: Whether pages use delta byte array encoding, which shares prefixes.
    """

    leaf: Leaf
    groups: list[int] = field(default_factory=list)
    most_bytes: int = 0
    longest: int = 0
    has_deltas: bool = False


Measure = Callable[[Doubt, int], int]
"""Measures the text of a column, stopping once it exceeds the second argument."""


@dataclass(slots=True)
class _Sizes:
    """Total sizes of the pages checked so far."""

    cells: int = 0
    pages: int = 0
    text: int = 0
    doubts: dict[Leaf, Doubt] = field(default_factory=dict)

    def problem(self, size_bytes: int, limits: FooterLimits) -> str | None:
        """Why a file of this size must not be decoded; None if it may be."""
        most = limits.most(size_bytes)
        if self.pages > most:
            return f"expected at most {most:,} bytes of pages, the headers of its pages say more"
        if self.text > most:
            return f"expected at most {most:,} bytes of text, its pages hold more"
        most = limits.most_cells(size_bytes)
        if self.cells > most:
            return f"expected at most {most:,} values, the headers of its pages say more"
        return None


def problem(
    data: Buffer,
    measure: Measure,
    rows: int | None = None,
    limits: FooterLimits = FOOTER_LIMITS,
) -> str | None:
    """Why a file must not be decoded; None if it may be.

    Args:
        data: The bytes, or the memory-mapped file.
        measure: Measures text that the headers do not describe.
        rows: Expected number of rows; None if unknown.
        limits: The size that the file may decode to.

    Raises:
        MalformedError: The file is damaged or not valid Parquet.
    """
    try:
        return _problem(data, measure, rows, limits)
    except KeyError as error:
        message = f"field {error} of its footer or of a page is missing"
        raise MalformedError(message) from error
    except (
        ThriftError,
        TypeError,
        AttributeError,
        UnicodeDecodeError,
    ) as error:  # also a field of another type
        message = f"its footer or the header of a page is damaged: {error}"
        raise MalformedError(message) from error


def stated_bytes(footer: bytes) -> int:
    """The size that the row groups of a file decode to, as its footer states it.

    Raises:
        MalformedError: It is not a footer.
    """
    try:
        found, _ = read(footer, 0, len(footer), {4: {2: None}})
        return sum(max(int(group[2]), 0) for group in found[4])
    except (ThriftError, KeyError, TypeError) as error:
        message = f"it is not a footer: {error}"
        raise MalformedError(message) from error


def _problem(data: Buffer, measure: Measure, rows: int | None, limits: FooterLimits) -> str | None:
    footer, end = _footer(data)
    total, groups = footer[3], footer[4]
    expected = f"exactly {rows:,}" if rows is not None else f"at most {MOST_ROWS:,}"
    # The number of rows that a commit states bounds what is decoded, before anything is.
    if total != rows if rows is not None else not 0 <= total <= MOST_ROWS:
        return f"expected {expected} rows, its footer says {total:,}"
    if any(group[3] < 0 for group in groups) or sum(group[3] for group in groups) != total:
        return f"expected row groups of {total:,} rows together, its footer says otherwise"
    leaves = _leaves(footer[2])
    if len(groups) * len(leaves) > MOST_CHUNKS:
        return (
            f"expected at most {MOST_CHUNKS:,} column chunks, "
            f"its footer says {len(groups) * len(leaves):,}"
        )
    sizes = _Sizes()
    for number, group in enumerate(groups):
        _expect(
            len(group[1]) == len(leaves), f"row group {number:,} has other columns than its schema"
        )
        for leaf, chunk in zip(leaves, group[1], strict=True):
            _add(sizes, data, end, leaf, chunk, group=number, rows=group[3])
            if found := sizes.problem(len(data), limits):
                return found
    # Measuring decodes pages, so it happens only if the largest possible text would exceed the
    # limit.
    most = limits.most(len(data))
    if sum(doubt.most_bytes for doubt in sizes.doubts.values()) > most - sizes.text:
        for doubt in sizes.doubts.values():
            sizes.text += measure(doubt, most - sizes.text)
            if found := sizes.problem(len(data), limits):
                return found
    return None


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise MalformedError(otherwise)


def _footer(data: Buffer) -> tuple[dict[int, Any], int]:
    """The footer and its position."""
    size = len(data)
    _expect(
        size >= len(PARQUET_ENDING) + TAIL_BYTES, f"expected a Parquet file, found {size:,} bytes"
    )
    _expect(
        data[:4] == data[size - 4 :] == PARQUET_ENDING,
        "expected a Parquet file, which begins and ends with PAR1",
    )
    length = int.from_bytes(data[size - TAIL_BYTES : size - 4], "little")
    _expect(
        length <= min(size - len(PARQUET_ENDING) - TAIL_BYTES, MOST_FOOTER_BYTES),
        f"expected a footer, found one of {length:,} bytes",
    )
    begin = size - TAIL_BYTES - length
    footer, _ = read(data, begin, size - TAIL_BYTES, _FOOTER)
    return footer, begin


def _leaves(elements: Sequence[Mapping[int, Any]]) -> list[Leaf]:
    """The leaf columns of the schema, which a footer writes as a list in depth-first order."""
    waiting: list[tuple[int, tuple[str, ...], bool]] = []
    found: list[Leaf] = []
    for number, element in enumerate(elements):
        children, name = element.get(5, 0), element[4].decode()
        path: tuple[str, ...] = ()
        repeated = False
        if number:
            _expect(waiting, "its schema goes on after its end")
            left, path, repeated = waiting.pop()
            if left > 1:
                waiting.append((left - 1, path, repeated))
            path, repeated = (*path, name), repeated or element.get(3) == _REPEATED
        _expect(
            len(waiting) <= MOST_LEVELS and len(path) <= MOST_LEVELS,
            f"its schema is nested in more than {MOST_LEVELS} levels",
        )
        if 1 in element:
            _expect(
                number and not children, "its schema has a column of values with columns inside"
            )
            found.append(_leaf(path, element, repeated=repeated))
        else:
            _expect(children >= (1 if number else 0), "its schema has a column without values")
            if children:
                waiting.append((children, path, repeated))
    _expect(elements and not waiting, "its schema is cut")
    return found


def _leaf(path: tuple[str, ...], element: Mapping[int, Any], *, repeated: bool) -> Leaf:
    kind, length = element[1], element.get(2, 0)
    _expect(0 <= kind < _TYPES, f"its schema has a type {kind}")
    _expect(kind != _FIXED or length > 0, f"its schema has a value of {length} bytes")
    is_text = kind == _BYTE_ARRAY and element.get(6) != _DECIMAL
    return Leaf(path, is_text, length if kind == _FIXED else _WIDEST_NUMBER, repeated)


def _add(
    sizes: _Sizes,
    data: Buffer,
    end: int,
    leaf: Leaf,
    chunk: Mapping[int, Any],
    *,
    group: int,
    rows: int,
) -> None:
    """Add the sizes of a column chunk's pages."""
    where = f"column {'.'.join(leaf.path)[:100]} of row group {group:,}"
    # An entry for another file (1) or a key (8) makes readers look at other bytes than were
    # checked.
    _expect(chunk.keys() == {3}, f"{where} is in another file, or encrypted")
    column = chunk[3]
    values, start = column[5], column[9]
    _expect(tuple(name.decode() for name in column[3]) == leaf.path, f"{where} is out of its place")
    _expect(
        values >= 0 and (leaf.repeated or values == rows),
        f"{where} has {values:,} values in {rows:,} rows",
    )
    dictionary_at = column.get(11, 0)
    # Readers disagree about the first page if a dictionary comes after the values.
    _expect(dictionary_at <= start or not values, f"{where} has its dictionary after its values")
    start = dictionary_at if dictionary_at > 0 else start
    stop = start + column[7]
    _expect(
        len(PARQUET_ENDING) <= start <= stop <= end or not values, f"{where} is outside of the file"
    )
    stop = min(stop + _PADDING_BYTES, end)
    sizes.cells += values * len(leaf.path)  # each level of nesting adds nulls or offsets
    doubt, dictionary, text, by_dictionary = Doubt(leaf), None, 0, 0
    for page, bytes_, count, encoding in _pages(data, start, stop, values, where):
        sizes.pages += bytes_
        if page == _DICTIONARY:
            _expect(dictionary is None, f"{where} has two dictionaries")
            dictionary = max(bytes_ - LENGTH_BYTES * count, 0)
        elif not leaf.is_text:
            text += count * leaf.width if leaf.width > _WIDEST_NUMBER else 0
        elif encoding in _BY_DICTIONARY:
            by_dictionary += count
        elif encoding == _DELTA_TEXT:
            doubt.has_deltas = True
            doubt.longest = max(doubt.longest, bytes_)
            doubt.most_bytes += count * bytes_
        else:
            text += bytes_
    _expect(not by_dictionary or dictionary is not None, f"{where} has no dictionary")
    sizes.text += text
    doubt.most_bytes += by_dictionary * (dictionary or 0)
    if doubt.most_bytes:
        known = sizes.doubts.setdefault(leaf, Doubt(leaf))
        known.groups.append(group)
        known.most_bytes += doubt.most_bytes
        known.longest = max(known.longest, doubt.longest, dictionary or 0)
        known.has_deltas |= doubt.has_deltas


def _pages(
    data: Buffer, at: int, stop: int, values: int, where: str
) -> Iterator[tuple[int, int, int, int]]:
    """Yield kind, decompressed size, number of values and encoding of each page of a chunk."""
    # Readers go by the number of values, not by the number of pages.
    seen = 0
    while seen < values:
        header, at = read(data, at, stop, _PAGE)
        kind, bytes_, stored = header[1], header[2], header[3]
        _expect(
            0 <= bytes_ < _INT32 and 0 <= stored <= stop - at,
            f"{where} has a page of {bytes_:,} bytes, in {stored:,} of the file",
        )
        count, encoding = 0, 0
        if kind in {_DATA, _DICTIONARY}:
            about = header[5 if kind == _DATA else 7]
            count, encoding = about[1], about[2]
        elif kind == _DATA_2:
            count, encoding = header[8][1], header[8][4]
        _expect(kind in {_DATA, _INDEX, _DICTIONARY, _DATA_2}, f"{where} has a page of kind {kind}")
        if kind != _DICTIONARY:
            seen += count
        _expect(
            0 <= count < _INT32 and seen <= values,
            f"{where} has pages of more than its {values:,} values",
        )
        _expect(
            # A value of a dictionary takes at least one byte.
            kind != _DICTIONARY or count <= max(bytes_, 1),
            f"{where} has a dictionary of {count:,} values in {bytes_:,} bytes",
        )
        yield kind, bytes_, count, encoding
        at += stored
