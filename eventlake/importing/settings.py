"""One table of a mapping file, read and checked setting by setting.

The checks are written by hand because a message names the table, the setting and the settings that
exist; a schema library reports a path and a type.
"""

from collections.abc import Collection, Mapping
from typing import Any

from eventlake.errors import InvalidInputError


class Settings:
    """One table of settings.

    Args:
        where: The table's name in messages, such as ``[[events]] 2``.
        values: The table as parsed.
        known: Every setting that is allowed.

    Raises:
        InvalidInputError: ``values`` is not a table, or has an unknown setting.
    """

    def __init__(self, where: str, values: Any, known: Collection[str]) -> None:
        self.where = where
        if not isinstance(values, Mapping):
            raise self.wrong(f"expected a table of settings, found {values!r}")
        unknown = sorted(str(name) for name in set(values) - set(known))
        if unknown:
            raise self.wrong(
                f"unknown setting {', '.join(map(repr, unknown))}",
                f"the settings here are {', '.join(known)}.",
            )
        self._values = values

    def wrong(self, message: str, hint: str | None = None) -> InvalidInputError:
        """Make an error that names this table."""
        return InvalidInputError(f"mapping, {self.where}: {message}", hint)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def any(self, name: str) -> Any:
        """A setting of any type; None if it is absent."""
        return self._values.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """A non-empty text.

        Raises:
            InvalidInputError: The setting is not text, or missing without a default.
        """
        found = self.text_or_none(name)
        if found is None and default is None:
            raise self.wrong(f"{name} is required")
        return found if found is not None else default or ""

    def text_or_none(self, name: str) -> str | None:
        """A non-empty text; None if it is absent."""
        value = self._values.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.wrong(f"expected {name} as text, found {value!r}")
        return value

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """One of some words."""
        value = self._values.get(name, default)
        if value not in choices:
            raise self.wrong(
                f"expected {name} as one of {', '.join(map(repr, choices))}, found {value!r}"
            )
        return str(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(f"expected {name} as true or false, found {value!r}")
        return value

    def character(self, name: str, default: str) -> str:
        """A single character, or an empty text if that is the default."""
        value = self._values.get(name, default)
        if not isinstance(value, str) or len(value) > 1 or (not value and default):
            raise self.wrong(f"expected {name} as one character, found {value!r}")
        return value

    def whole(self, name: str, default: int | None) -> int | None:
        """An integer of at least 1."""
        value = self._values.get(name, default)
        # The exact type, because True is an integer in Python.
        if value is not None and (type(value) is not int or value < 1):
            raise self.wrong(f"expected {name} as a whole number from 1, found {value!r}")
        return value

    def items(self, name: str) -> list[Any]:
        """A list; empty if it is absent."""
        value = self._values.get(name, [])
        if not isinstance(value, list | tuple):
            raise self.wrong(f"expected {name} as a list, found {value!r}")
        return list(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, which may be empty; an empty list if it is absent."""
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(f"expected {name} as a list of text, found {values!r}")
        return tuple(values)

    def table(self, name: str) -> dict[str, Any]:
        """A table with any settings; empty if it is absent."""
        value = self._values.get(name, {})
        if not isinstance(value, Mapping):
            raise self.wrong(f"expected {name} as a table, found {value!r}")
        return dict(value)
