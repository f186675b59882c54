"""Whether a SQL projection is exact: how DuckDB understands it over empty tables, against the allow-list of ``exactness``."""

import json
import re
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from eventlake.core.dataset import Parameter
from eventlake.core.sql import integer, quoted
from eventlake.database import tree_of
from eventlake.exactness.json_text import Path
from eventlake.exactness.plan import analyse
from eventlake.exactness.refusals import Refusal, check_version, line_of, refuse
from eventlake.exactness.rows import EVENT_KEYS, SPINE_KEYS
from eventlake.exactness.tree import nodes
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.duckdb_runner import PLAN, VERSION, bound
from eventlake.projections.json_numbers import inexact_numbers

KNOWN = ("2.0",)
"""Versions of DuckDB whose plans were looked at; of others nobody knows what they mean."""


def check_exact(name: str, query: str, history: PinnedHistory, spine: pa.Table | None, parameters: Mapping[str, Parameter]) -> None:
    """Refuses a query that may not give the same rows to the last bit under other threads, memory, layouts and machines.

    Raises:
        InvalidProjectionError: With every reason: the function or part of the query, its line, why, an example, and what to write instead.
    """
    hint = 'write what is suggested; or declare level = "fixed" (the same rows under the recorded settings alone) or "unproven".'
    check_version(name, "DuckDB", VERSION, KNOWN, hint)
    with bound(name, query, history, spine, parameters) as connection:
        tree, refusals, paths = _refusals(connection, query, history, parameters)
    refuse(name, [refusal.text(line_of(refusal.what, query, tree)) for refusal in refusals], hint)
    # Only what is exact otherwise is worth reading the payloads for.
    refuse(name, [refusal.text(None) for refusal in inexact_numbers(history, paths)], hint)


def _refusals(
    connection: duckdb.DuckDBPyConnection, query: str, history: PinnedHistory, parameters: Mapping[str, Parameter]
) -> tuple[Any, list[Refusal], set[Path]]:
    tree: Any = {}
    try:
        tree = tree_of(query)
        if tree.get("error"):
            return {}, [Refusal("the query", f"it cannot be looked at: {tree.get('error_message')}")], set()
        plan = plan_of(connection, query, tree, parameters)
        if plan.get("error"):
            return tree, [Refusal("the query", f"its plan cannot be looked at: {plan.get('error_message')}")], set()
        return tree, *analyse(plan, tree, _keys(history))
    except (ValueError, RecursionError, duckdb.Error) as error:
        return {}, [Refusal("the query", f"its plan cannot be looked at: {error}")], set()
    except (LookupError, TypeError, AttributeError) as error:
        return tree, [Refusal("the query", f"its plan has something that is not understood: {error!r}")], set()


def plan_of(connection: duckdb.DuckDBPyConnection, query: str, tree: Any, parameters: Mapping[str, Parameter]) -> Any:
    """How DuckDB binds a query over the tables of ``connection``, as JSON; with ``error`` where that cannot be written.

    Raises:
        RecursionError: It is nested deeper than Python goes.
    """
    return json.loads(connection.execute(PLAN, [with_values(query, tree, parameters)]).fetchall()[0][0])


def _keys(history: PinnedHistory) -> dict[str, tuple[tuple[str, ...], ...]]:
    tables = {event_type.casefold(): EVENT_KEYS for event_type in history.catalogue.types}
    return {**tables, "events": EVENT_KEYS, "spine": SPINE_KEYS}


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
    return f"(CAST({integer(value)} AS BIGINT))" if isinstance(value, int) else f"({quoted(value)})"
