"""Rewrite ``printf`` and ``format`` as concatenations, in which decimals keep every digit."""

import re
from collections.abc import Iterator, Sequence

from eventlake.core.sql import quoted
from eventlake.exactness.on_duckdb.scope import Scope, Tree, decimal_of

_SPECS = {
    "printf": re.compile(r"%(?:(%)|([-+ #0-9]*(?:\.[0-9]+)?[a-zA-Z]))"),
    "format": re.compile(r"(\{\{|\}\})|\{(?::([^{}]*))?\}"),
}
_PLAIN = re.compile(r"\.([0-9]+)f")


def concatenations(name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    """A call of ``printf`` or ``format`` as its parts, joined by ``||``.

    Yields nothing if the format is computed, or if a part cannot be written otherwise.
    """
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
        if not left:
            return
        value = left.pop(0)
        template = _template(name, found[0], found[2] or "", decimal_of(scope.type_of(value)))
        if template is None:
            return
        parts.append((template, value))
    parts.append((quoted(text[at:]), None))
    parts = [part for part in parts if part[0] != "''"]
    if not left and parts:
        # Every part gets a placeholder of its own.
        texts = [text.replace("x_", f"x{place}_") for place, (text, _) in enumerate(parts)]
        values = {
            f"x{place}_": value for place, (_, value) in enumerate(parts) if value is not None
        }
        yield scope.fill(" || ".join(texts), **values)


def _template(name: str, written: str, spec: str, decimal: tuple[int, int] | None) -> str | None:
    """SQL that formats one argument ``x_``; None if no cast writes the same text."""
    if decimal is None:
        return f"{name}({quoted(written)}, x_)"
    places = _PLAIN.fullmatch(spec)
    if places is None:
        return None
    # The decimal has as many places as the format asks for, and its text writes all of them.
    if int(places[1]) == decimal[1]:
        return "CAST(x_ AS VARCHAR)"
    return f"CAST(CAST(x_ AS DECIMAL(38, {places[1]})) AS VARCHAR)"
