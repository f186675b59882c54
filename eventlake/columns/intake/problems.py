"""The problems of a batch by row and field, collected so that all are reported at once."""

from dataclasses import dataclass, replace
from typing import Any

from eventlake.visible import safe

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule.

    Attributes:
        row: 0-based row in the batch, not counting blank lines of NDJSON; None for a whole column.
        field: The attribute.
        message: What was expected.
        found: The value found.
        earlier: The earlier row with the same value, if only one row may have it.
    """

    row: int | None
    field: str
    message: str
    found: Any = None
    earlier: int | None = None

    def shifted(self, rows: int) -> "Problem":
        """The same problem with row numbers larger by ``rows``."""
        if self.row is None:
            return self
        earlier = None if self.earlier is None else self.earlier + rows
        return replace(self, row=self.row + rows, earlier=earlier)

    @property
    def rule(self) -> str:
        """The message, with the earlier row."""
        return (
            self.message
            if self.earlier is None
            else f"{self.message}, row {self.earlier:,} has it already"
        )

    def __str__(self) -> str:
        """``row 3, field time: expected …, found …``."""
        # A name from Python may contain lone surrogates, which no output can encode.
        field = self.field.encode("utf-8", "backslashreplace").decode()
        where = f"row {self.row:,}, field {field}" if self.row is not None else f"column {field}"
        found = "" if self.found is None else f", found {shorten(self.found)}"
        return safe(f"{where}: {self.rule}{found}")


def shorten(value: Any) -> str:
    """``repr`` of a value, shortened for a message."""
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to print integers of more than 4,300 digits.
        text = f"a {type(value).__name__} too long to print"
    except Exception:  # noqa: BLE001 - a caller's object, whose own error would hide the problem
        text = f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
