"""Formatted text in parts that are joined: decimals keep every digit, which ``printf`` and ``format`` do not."""

import re
from collections.abc import Iterator, Sequence

from eventlake.core.sql import quoted
from eventlake.exactness.on_duckdb.scope import Scope, Tree, decimal_of

_SPECS = {
    "printf": re.compile(r"%(?:(%)|([-+ #0-9]*(?:\.[0-9]+)?[a-zA-Z]))"),
    "format": re.compile(r"(\{\{|\}\})|\{(?::([^{}]*))?\}"),
}
_PLAIN = re.compile(r"\.([0-9]+)f")


def joined(name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    """What may stand in place of ``printf`` or ``format``: its parts, joined by ``||``."""
    literal = arguments[0].get("literal", {})
    if literal.get("kind") != "STRING":
        return
    text, left, at = literal["text"], list(arguments[1:]), 0
    parts: list[tuple[str, Tree | None]] = []
    for found in _SPECS[name].finditer(text):
        parts.append((quoted(text[at : found.start()] + (found[1] or "")[:1]), None))
        at = found.end()
        if found[1]:
            continue
        value = left.pop(0) if left else None
        shown = (
            None
            if value is None
            else _shown(name, found[0], found[2] or "", decimal_of(scope.type_of(value)))
        )
        if shown is None:
            return
        parts.append((shown, value))
    parts.append((quoted(text[at:]), None))
    parts = [part for part in parts if part[0] != "''"]
    if not left and parts:
        texts = [shown.replace("x_", f"x{place}_") for place, (shown, _) in enumerate(parts)]
        values = {
            f"x{place}_": value for place, (_, value) in enumerate(parts) if value is not None
        }
        yield scope.made(" || ".join(texts), **values)


def _shown(name: str, written: str, spec: str, decimal: tuple[int, int] | None) -> str | None:
    """How one argument ``x_`` is written; None where no cast writes the same."""
    if decimal is None:
        return f"{name}({quoted(written)}, x_)"
    places = _PLAIN.fullmatch(spec)
    if places is None:
        return None
    return (
        "CAST(x_ AS VARCHAR)"
        if int(places[1]) == decimal[1]
        else f"CAST(CAST(x_ AS DECIMAL(38, {places[1]})) AS VARCHAR)"
    )
