"""The rows that a scan of a table returns."""

from collections.abc import Mapping, Sequence

from eventlake.exactness.on_duckdb.expressions import Node
from eventlake.exactness.rows import EVENT_JSON, Payload, Rows, Type

ROW_ID_TYPE: Type = {"id": "ROWID"}
"""The type that a column gets here if it is the position of a row; compared by identity."""
_ROW_ID = 2**63
"""DuckDB numbers virtual columns, such as the row's position, from here on."""


def columns_read(node: Node) -> list[int | None]:
    """Per column that a scan reads its number in the table; None for the row's position.

    A scan that needs no column, such as that of ``count(*)``, reads the row's position.
    """
    numbers = [
        one if isinstance(one, int) else int(one["index"]) for one in node.get("column_indexes", [])
    ]
    return [number if number < _ROW_ID else None for number in numbers]


def column_types(node: Node) -> list[Type]:
    """The types of the columns that a scan reads."""
    return [
        ROW_ID_TYPE if number is None else node["returned_types"][number]
        for number in columns_read(node)
    ]


def scanned_rows(
    node: Node, types: Sequence[Type], keys: Mapping[str, Sequence[Sequence[str]]]
) -> Rows:
    """The rows of a table, with those of its keys whose columns are all read.

    Args:
        node: The scan.
        types: The output of ``column_types``.
        keys: The keys of each table, by its case-folded name.
    """
    table = str(node["function_data"]["table"]).casefold()
    names = node.get("names", [])
    read = ["" if number is None else names[number] for number in columns_read(node)]
    complete = [
        [read.index(part) for part in key] for key in keys.get(table, ()) if set(key) <= set(read)
    ]
    payload = Payload(read.index("type") if "type" in read else None)
    payloads = {
        place: payload
        for place, name in enumerate(read)
        if table == "events" and name in EVENT_JSON
    }
    return Rows.of(types, complete, payloads=payloads)
