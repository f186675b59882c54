"""Cast to decimals exactly.

Arrow changes the scale of a decimal in as many bits as its type has, and does not notice every
overflow: as decimal(38, 31), 4449734546176139861 becomes 7509727.72. In 256 bits, 38 digits times
38 powers of ten do not overflow.
"""

from typing import TypeVar

import pyarrow as pa

_DIGITS = 76

Numbers = TypeVar("Numbers", pa.Array, pa.ChunkedArray)


def wide(kind: pa.DataType) -> pa.DataType:
    """The decimal of 256 bits with the precision and scale of ``kind``."""
    return pa.decimal256(kind.precision, kind.scale)


def rescaled(numbers: Numbers, target: pa.DataType) -> Numbers:
    """Integers or decimals of 128 bits as decimals of another precision and scale.

    Raises:
        pa.ArrowInvalid: A value has digits for which ``target`` has no place.
    """
    return numbers.cast(pa.decimal256(_DIGITS, target.scale)).cast(target)
