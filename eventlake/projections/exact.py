"""Whether a SQL projection is exact: how DuckDB understands it over empty tables, against the allow-list of ``exactness``."""

import json
import re
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from eventlake.core.dataset import Parameter
from eventlake.core.sql import quoted
from eventlake.errors import InvalidProjectionError
from eventlake.exactness.plan import analyse
from eventlake.exactness.refusals import Refusal, line_of
from eventlake.exactness.tree import nodes
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.duckdb_runner import VERSION, bound

KNOWN = ("2.0",)
"""Versions of DuckDB whose plans were looked at; of others nobody knows what they mean."""
_SPINE_KEY = ("spine_row",)
_EVENT_KEYS = (("sequence",), ("source", "id"))
_SHOWN = 10


def check_exact(name: str, query: str, history: PinnedHistory, spine: pa.Table | None, parameters: Mapping[str, Parameter]) -> None:
    """Refuses a query that may not give the same rows to the last bit under other threads, memory, layouts and machines.

    Raises:
        InvalidProjectionError: With every reason: the function or part of the query, its line, why, an example, and what to write instead.
    """
    hint = 'write what is suggested; or declare level = "fixed" (the same rows under the recorded settings alone) or "unproven".'
    if not VERSION.startswith(tuple(f"{known}." for known in KNOWN)):
        message = f"projection {name}: nothing is proven of DuckDB {VERSION}, only of {', '.join(KNOWN)}"
        raise InvalidProjectionError(message, hint, projection=name)
    with bound(name, query, history, spine, parameters) as connection:
        tree, refusals = _refusals(connection, query, history, parameters)
    if refusals:
        shown = "\n".join(f"  {refusal.text(line_of(refusal.what, query, tree))}" for refusal in refusals[:_SHOWN])
        more = f"\n  … and {len(refusals) - _SHOWN} more" if len(refusals) > _SHOWN else ""
        message = f"projection {name} is declared exact and is not:\n{shown}{more}"
        raise InvalidProjectionError(message, hint, projection=name)


def _refusals(
    connection: duckdb.DuckDBPyConnection, query: str, history: PinnedHistory, parameters: Mapping[str, Parameter]
) -> tuple[Any, list[Refusal]]:
    tree: Any = {}
    try:
        tree = json.loads(_asked(connection, "json_serialize_sql(?)", query))
        if tree.get("error"):
            return {}, [Refusal("the query", f"it cannot be looked at: {tree.get('error_message')}")]
        plain = with_values(query, tree, parameters)
        plan = json.loads(_asked(connection, "json_serialize_plan(?, skip_null := true, skip_empty := true, optimize := false)", plain))
        if plan.get("error"):
            return tree, [Refusal("the query", f"its plan cannot be looked at: {plan.get('error_message')}")]
        return tree, analyse(plan, tree, _keys(history))[1]
    except (ValueError, RecursionError, duckdb.Error) as error:
        return {}, [Refusal("the query", f"its plan cannot be looked at: {error}")]
    except (LookupError, TypeError, AttributeError) as error:
        return tree, [Refusal("the query", f"its plan has something that is not understood: {error!r}")]


def _asked(connection: duckdb.DuckDBPyConnection, expression: str, query: str) -> str:
    return str(connection.execute(f"SELECT {expression}", [query]).fetchall()[0][0])


def _keys(history: PinnedHistory) -> dict[str, tuple[tuple[str, ...], ...]]:
    tables = {event_type.casefold(): _EVENT_KEYS for event_type in history.catalogue.types}
    return {**tables, "events": _EVENT_KEYS, "spine": (_SPINE_KEY,)}


def with_values(query: str, tree: Any, parameters: Mapping[str, Parameter]) -> str:
    """The query with the values of its parameters in their place: a plan is made of nothing else.

    Args:
        query: One SELECT.
        tree: How DuckDB parses it; says where its parameters stand.
        parameters: By name.
    """
    data = query.encode()
    places = [(int(node["query_location"]), str(node["identifier"])) for node in nodes(tree) if node.get("class") == "PARAMETER"]
    for place, name in sorted(places, reverse=True):
        written = re.compile(rb"\$" + re.escape(name.encode())).match(data, place)
        if written is not None and name in parameters:
            data = data[:place] + _literal(parameters[name]).encode() + data[written.end() :]
    return data.decode()


def _literal(value: Parameter) -> str:
    if value is None:
        return "(NULL)"
    if isinstance(value, bool):
        return "(true)" if value else "(false)"
    return f"(CAST({value} AS BIGINT))" if isinstance(value, int) else f"({quoted(value)})"
