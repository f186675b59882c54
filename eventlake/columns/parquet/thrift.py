"""Read Thrift's compact protocol, in which Parquet writes its footer and page headers.

Only the requested fields are kept.
"""

from collections.abc import Mapping
from typing import Any

Buffer = Any
"""Bytes or a memory-mapped file."""
Wanted = Mapping[int, Any]
"""Requested fields by number: None for a value, ``Wanted`` for a struct or a list of structs."""
_MOST_LEVELS = 32
_BOOLEANS = frozenset({1, 2})
_INTEGERS = frozenset({4, 5, 6})
_BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 3, 7, 8, 9, 10, 12
_MOST_VARINT_BYTES = 10
NOTHING: Wanted = {}


class ThriftError(ValueError):
    """The bytes are not valid in the compact protocol."""


def read(data: Buffer, at: int, end: int, wanted: Wanted) -> tuple[dict[int, Any], int]:
    """Read the struct at a position.

    Args:
        data: The bytes.
        at: Position of the struct's first byte.
        end: Position that the struct must not exceed.
        wanted: Fields to keep.

    Returns:
        The wanted fields by number, and the position after the struct.

    Raises:
        ThriftError: There is no valid struct.
    """
    reader = _Reader(data, at, end)
    try:
        found = reader.struct(wanted, 0)
    except IndexError:
        message = "it ends in the middle of a value"
        raise ThriftError(message) from None
    return found, reader.at


class _Reader:
    def __init__(self, data: Buffer, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def struct(self, wanted: Wanted, level: int) -> dict[int, Any]:
        # Fields that nobody asked for are walked too, and a stranger may nest them as deeply as
        # Python's stack.
        if level > _MOST_LEVELS:
            message = f"nested in more than {_MOST_LEVELS} levels"
            raise ThriftError(message)
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            step = head >> 4
            # Readers disagree about a repeated field, so the order must be strict.
            after = number + step if step else self._zigzag()
            if after <= number:
                message = f"field {after} follows field {number}"
                raise ThriftError(message)
            number = after
            value = self._value(head & 15, wanted.get(number, NOTHING), level, in_list=False)
            if number in wanted:
                found[number] = value
        return found

    def _value(self, kind: int, wanted: Wanted | None, level: int, *, in_list: bool) -> Any:
        """Read the value at the current position; booleans and doubles are skipped."""
        value: Any = None
        if kind in _INTEGERS:
            value = self._zigzag()
        elif kind == _BINARY:
            start = self._skip(self._varint())
            value = bytes(self.data[start : self.at]) if wanted is None else None
        elif kind == _STRUCT:
            value = self.struct(wanted or NOTHING, level + 1)
        elif kind in {_LIST, _SET}:
            value = self._list(wanted, level + 1)
        elif kind == _BYTE or (kind in _BOOLEANS and in_list):
            value = self._byte()
        elif kind == _DOUBLE:
            self._skip(8)
        elif kind not in _BOOLEANS:
            message = f"a value of kind {kind}"
            raise ThriftError(message)
        return value

    def _list(self, wanted: Wanted | None, level: int) -> list[Any] | None:
        head = self._byte()
        count = head >> 4 if head >> 4 != 15 else self._varint()  # noqa: PLR2004 - 15: the count follows
        if count > self.end - self.at:
            # Every value takes at least a byte. Without this bound, a few bytes could ask for
            # billions of values.
            message = f"a list of {count:,} values in {self.end - self.at:,} bytes"
            raise ThriftError(message)
        kept = wanted is None or bool(wanted)
        values = []
        for _ in range(count):
            value = self._value(head & 15, wanted, level, in_list=True)
            if kept:
                values.append(value)
        return values if kept else None

    def _skip(self, count: int) -> int:
        """Skip bytes, and return the position of the first."""
        start = self.at
        if count > self.end - start:
            message = f"a value of {count:,} bytes where {self.end - start:,} are left"
            raise ThriftError(message)
        self.at += count
        return start

    def _byte(self) -> int:
        at = self.at
        if at >= self.end:
            raise IndexError
        self.at = at + 1
        return int(self.data[at])

    def _varint(self) -> int:
        value = shift = 0
        for _ in range(_MOST_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004 - the last byte has no top bit
                return value
            shift += 7
        message = f"an integer of more than {_MOST_VARINT_BYTES} bytes"
        raise ThriftError(message)

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
