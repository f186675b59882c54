"""JSON text in a Polars plan: which paths of the events' JSON are read, and what is not exact."""

from collections.abc import Iterator
from typing import Any

from eventlake.exactness.on_duckdb.json_text import Path, Read, path_of
from eventlake.exactness.on_polars.nodes import Expression
from eventlake.exactness.refusals import DIGITS, Refusal
from eventlake.exactness.rows import FLOATS, Payload, type_names

READERS = frozenset({"str.json_decode", "str.json_path_match"})
_DECODED = frozenset({"String", "Boolean", "Struct", "List", "Array"}) | FLOATS
"""Types that Polars decodes exactly from JSON whose numbers keep their value as floats."""


def check_json(one: Expression, payload: Payload | None) -> tuple[list[Refusal], set[Read]]:
    """Why a call that reads JSON may not be exact, and what it reads of the JSON of events.

    Args:
        one: A call of one of ``READERS``.
        payload: What is known of its argument; None if that is not JSON of events.
    """
    if payload is None:
        refusal = Refusal(
            f"{one.name}()",
            "it reads JSON numbers as floats, and this text is not the data of an event as it is"
            " stored",
            DIGITS,
            "a column of snapshot.table(…), under a schema that declares it",
        )
        return [refusal], set()
    if one.name == "str.json_decode":
        # Only the members that the type declares are read.
        reads = {Read(path, payload.event_types) for path in _leaf_paths(one.type)}
        inexact = sorted(type_names(one.type) - _DECODED)
        if not inexact:
            return [], reads
        refusal = Refusal(
            "str.json_decode()",
            f"it reads JSON numbers as floats, and converts those to {', '.join(inexact)}",
            DIGITS,
            f"pl.String in place of pl.{inexact[0]} there, and cast(pl.{inexact[0]}) of that text",
        )
        return [refusal], reads
    path = one.children[1]
    # A computed path may be any, so the whole document counts as read.
    constant = path.kind == "literal" and path.options[:1] and isinstance(path.options[0], str)
    return [], {Read(path_of(path.options[0]) if constant else (), payload.event_types)}


def _leaf_paths(kind: Any) -> Iterator[Path]:
    """The paths of everything in a type that is not a struct."""
    if kind["id"] != "Struct":
        yield ()
        return
    for member in kind["child_types"]:
        for path in _leaf_paths(member["type"]):
            yield (member["name"], *path)
