"""Find the tables of events that a query reads."""

from dataclasses import dataclass

from eventlake.caches import CACHES
from eventlake.core.names import AS_RECORDED, LATEST, LIFETIMES
from eventlake.core.sql import identifier
from eventlake.database import tree_of
from eventlake.exactness.tree import nodes
from eventlake.schemas.catalogue import Catalogue
from eventlake.tables.columns import NAMED

_COMPUTED = frozenset({"query", "query_table"})
"""Table functions whose argument names a table, or is a query."""


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """An event type's table, as a query names it.

    Attributes:
        event_type: A registered type.
        corrections: ``as_recorded``, or the schema before the name: ``latest`` or ``lifetimes``.
    """

    event_type: str
    corrections: str = AS_RECORDED


def tables_read(text: str, catalogue: Catalogue) -> list[TableName]:
    """The event types whose tables a query names, ignoring case; all types if that is unknown."""
    if not catalogue.types:
        return []
    named = _names(text)
    if named is None:
        schemas = [AS_RECORDED, LATEST]
        if LIFETIMES in text.casefold():
            schemas.append(LIFETIMES)
        return sorted(
            TableName(name, corrections) for name in catalogue.types for corrections in schemas
        )
    registered = {name.casefold(): name for name in catalogue.types}
    return sorted(
        {
            TableName(registered[table], schema if schema in {LATEST, LIFETIMES} else AS_RECORDED)
            for schema, table in named
            if table in registered
        }
    )


def views_read(text: str, catalogue: Catalogue) -> list[str]:
    """The tables of events that a query reads, by their names in SQL."""
    events = ["events"] if reads_table(text, "events") else []
    typed = []
    for name in tables_read(text, catalogue):
        schema = f"{LATEST}." if name.corrections == LATEST else ""
        typed.append(schema + identifier(name.event_type))
    return [*events, *typed]


def reads_table(text: str, name: str) -> bool:
    """Whether a query reads, or may read, a table."""
    named = _names(text)
    return named is None or any(table == name for _, table in named)


@CACHES.memo(64)
def _names(text: str) -> frozenset[tuple[str, str]] | None:
    """The ``(schema, table)`` names in a query, case folded; None if they are unknown."""
    try:
        tree = tree_of(text)
        # A query inside of a text constant is not parsed here, so its tables are unknown.
        if tree.get("error") or not _COMPUTED.isdisjoint(
            str(node.get("function_name")).casefold() for node in nodes(tree)
        ):
            return None
        named = [node for node in nodes(tree) if node.get("type") == "BASE_TABLE"]
        return frozenset(
            (node.get("schema_name", "").casefold(), node.get("table_name", "").casefold())
            for node in named
        )
    # DuckDB's parser returns a tree as deep as the query.
    except RecursionError:
        return None


def attributes_named(text: str, event_type: str) -> list[str]:
    """The attributes in ``NAMED`` that a query reads from an event type's table.

    The table's view has no others of them. So ``*`` selects the same columns as before these
    attributes were columns, and no older query becomes ambiguous. An unqualified name counts only
    if no other table or expression can have it; a name qualified by the table always counts.
    """
    return [
        name
        for name in NAMED
        # The cheap test first: few queries name one of these attributes.
        if name in text.casefold() and _reads(text, event_type.casefold(), name)
    ]


@CACHES.memo(256)
def _reads(text: str, event_type: str, attribute: str) -> bool:
    try:
        found = list(nodes(tree_of(text)))
    except RecursionError:
        return False
    tables = [one for one in found if one.get("type") == "BASE_TABLE"]
    called = {
        str(one.get("alias") or event_type).casefold()
        for one in tables
        if str(one.get("table_name")).casefold() == event_type
    }
    # Both have columns with these names, so an unqualified name may mean theirs.
    shared = {"events", "spine"} & {str(one.get("table_name")).casefold() for one in tables}
    alone = not shared and all(str(one.get("alias")).casefold() != attribute for one in found)
    for one in found:
        # USING names a column of both sides without a reference to it.
        if attribute in {str(name).casefold() for name in one.get("using_columns") or ()}:
            return True
        path = (
            [str(name).casefold() for name in one.get("column_names") or ()]
            if one.get("class") == "COLUMN_REF"
            else []
        )
        if path[-1:] == [attribute] and (alone if len(path) == 1 else path[-2] in called):
            return True
    return False
