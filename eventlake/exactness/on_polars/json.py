"""JSON text in a Polars plan: which paths are read of the JSON of events, and what of it is not exact."""

from collections.abc import Iterator
from typing import Any

from eventlake.exactness.on_duckdb.json_text import Path, Read, path_of
from eventlake.exactness.on_polars.nodes import Expression
from eventlake.exactness.refusals import DIGITS, Refusal
from eventlake.exactness.rows import FLOATS, Payload, parts

READERS = frozenset({"str.json_decode", "str.json_path_match"})
_DECODED = frozenset({"String", "Boolean", "Struct", "List", "Array"}) | FLOATS
"""Types that a JSON number becomes without loss where a float is enough for it."""


def check_json(one: Expression, payload: Payload | None) -> tuple[list[Refusal], set[Read]]:
    """Why what an expression reads of JSON may not be exact, and what it reads of the JSON of events.

    Args:
        one: A call of one of ``READERS``.
        payload: What is known of the JSON of events that it is over; None if it is over something
            else.
    """
    if payload is None:
        why = "it reads JSON numbers as floats, and here of text that is not the data of an event as it is stored"
        return [
            Refusal(
                f"{one.name}()",
                why,
                DIGITS,
                "a column of snapshot.table(…), under a schema that declares it",
            )
        ], set()
    if one.name == "str.json_decode":
        odd = sorted(parts(one.type) - _DECODED)
        why = f"it reads JSON numbers as floats, and makes {', '.join(odd)} of those"
        instead = (
            f"pl.String in place of pl.{odd[0]} there, and cast(pl.{odd[0]}) of that text"
            if odd
            else ""
        )
        reads = {Read(path, payload.only) for path in _leaves(one.type)}
        return [Refusal("str.json_decode()", why, DIGITS, instead)] if odd else [], reads
    named = one.children[1]
    constant = named.kind == "literal" and named.options[:1] and isinstance(named.options[0], str)
    return [], {Read(path_of(named.options[0]) if constant else (), payload.only)}


def _leaves(kind: Any) -> Iterator[Path]:
    """The paths of what is no struct in a type of JSON."""
    if kind["id"] != "Struct":
        yield ()
        return
    for member in kind["child_types"]:
        for path in _leaves(member["type"]):
            yield (member["name"], *path)
