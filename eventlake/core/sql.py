"""Spelling SQL, and the settings that every DuckDB connection begins with."""

from collections.abc import Iterable

SAFE: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
"""Nothing is downloaded."""

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def folded(name: str) -> str:
    """A name as DuckDB compares names: without the case of ASCII letters, and of no others."""
    return name.translate(_LOWER)


def named(columns: Iterable[str], name: str) -> str | None:
    """The column that a name means; None where there is none."""
    return next((column for column in columns if folded(column) == folded(name)), None)


def identifier(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
