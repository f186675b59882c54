"""Advice on a query that DuckDB rejected, from its reason, the query, and the history's tables."""

import re
from collections.abc import Callable
from difflib import get_close_matches

from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.core.names import LATEST, LIFETIMES
from eventlake.core.sql import identifier, quoted
from eventlake.schemas.catalogue import Catalogue

_INTERNAL = re.compile(r'\nDid you mean "(?:pg_|duckdb_|sqlite_|pragma_)[^\n]*')
_NO_TABLE = re.compile(r"Table with name (.+?) does not exist!")
_NO_SCHEMA = re.compile(r'Table with name "(.+?)" does not exist because schema')
_NO_COLUMN = re.compile(r'Referenced column "(.+?)" (?:was )?not found')
_NO_VALUES = re.compile(r"Values were not provided for the following parameters: ([^\n]+)")
# Every pattern has one group, because advice takes its text.
_NO_PLACE = re.compile(r"(Parameter/argument count mismatch)")
_NO_TYPE = re.compile(r"(Unable to transform python value)")
_NO_STRUCT = re.compile(r"Cannot extract field '(.+?)' from expression \"data\"")


def reason(error: Exception) -> str:
    """DuckDB's reason, without proposals of its internal tables."""
    return _INTERNAL.sub("", str(error))


def advice(error: Exception, query: str, catalogue: Catalogue, give: str) -> str:
    """What to write instead; empty if it is unknown.

    Args:
        error: DuckDB's error.
        query: The rejected query.
        catalogue: The schemas of the history.
        give: How a caller passes a parameter, with ``{}`` for its name.
    """
    # DuckDB has no error codes, so its messages are matched; an unknown one gets no advice.
    rules: list[tuple[re.Pattern[str], Callable[[str], str]]] = [
        (_NO_SCHEMA, lambda name: _schema(name, catalogue)),
        (_NO_TABLE, lambda name: _table(name, catalogue)),
        (_NO_COLUMN, lambda name: _column(name, query, catalogue)),
        (
            _NO_STRUCT,
            lambda name: f"write data ->> {quoted(name)}, or read the event type's own table. ",
        ),
        (
            _NO_VALUES,
            lambda names: (
                f"write {', '.join(give.format(name.strip()) for name in names.split(','))}. "
            ),
        ),
        (
            _NO_PLACE,
            lambda _: (
                "the query uses the value of n as $n: leave out values that it does not use. "
            ),
        ),
        (
            _NO_TYPE,
            lambda _: (
                "give Python text, numbers, booleans, dates or instants; "
                "for a numpy value, value.item(). "
            ),
        ),
    ]
    text = str(error)
    found = ((write, pattern.search(text)) for pattern, write in rules)
    return next((write(match[1]) for write, match in found if match), "")


def tables_hint(catalogue: Catalogue) -> str:
    """The tables that a query may read."""
    types = ", ".join(identifier(name) for name in catalogue.types)
    known = (
        f"; every registered event type is a table too, in double quotes: {types}"
        if types
        else "; lake.register makes an event type a table"
    )
    return f"the table events has the columns {', '.join(EVENT_COLUMNS)}{known}."


def _schema(name: str, catalogue: Catalogue) -> str:
    """Advice on a type that DuckDB took for a schema, or on a table that a schema does not have."""
    schema, _, rest = name.partition(".")
    if schema in {LATEST, LIFETIMES}:
        return _table(rest, catalogue)
    advised = f"a name with dots needs double quotes: FROM {identifier(name)}. "
    return advised + _table(name, catalogue)


def _table(name: str, catalogue: Catalogue) -> str:
    if name == "spine":
        return "only a build has the table spine: lake.build(projection, spine=frame). "
    if name in catalogue.types:
        return ""
    near = get_close_matches(name, ["events", *catalogue.types], 1)
    if near:
        return f"did you mean {identifier(near[0]) if near[0] != 'events' else 'events'}? "
    return (
        f"lake.register({name!r}, schema) makes an event type a table; "
        f"without one read events WHERE type = {quoted(name)}. "
    )


def _column(name: str, query: str, catalogue: Catalogue) -> str:
    of = [
        event_type
        for event_type, versions in catalogue.types.items()
        if name in versions[-1].schema.columns
    ]
    if of:
        first, all_of = identifier(of[0]), ", ".join(map(identifier, of))
        return (
            f"{name} is a field of {all_of}: read FROM {first}; "
            f"in events it is data ->> {quoted(name)}. "
        )
    if f'"{name}"' in query:
        return f"text needs single quotes: {quoted(name)}. "
    if near := get_close_matches(name, EVENT_COLUMNS, 1, 0.75):
        return f"did you mean {near[0]}? "
    return (
        f"a field of the payload is data ->> {quoted(name)}; "
        "an event type's table has it as a column. "
    )
