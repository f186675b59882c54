"""Checks that a SQL projection is exact: DuckDB's plan over empty tables against the allow-list."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import duckdb

from eventlake.core.documents.dataset import Parameter
from eventlake.core.sql import integer, quoted
from eventlake.database import check_select, tree_of
from eventlake.errors import InvalidInputError
from eventlake.exactness.on_duckdb.advice import Engine, advise
from eventlake.exactness.on_duckdb.functions import REVIEWED
from eventlake.exactness.on_duckdb.json_text import Read
from eventlake.exactness.on_duckdb.plan import analyse
from eventlake.exactness.refusals import Refusal, check_version, line_of, refuse
from eventlake.exactness.rows import EVENT_KEYS, SPINE_KEYS
from eventlake.exactness.tree import nodes
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Query
from eventlake.projections.on_duckdb.json_numbers import inexact_numbers
from eventlake.projections.on_duckdb.run import PLAN, VERSION, bound


def check_exact(query: Query, version: str = VERSION) -> None:
    """Check that a query gives bit-identical rows under any threads, memory, layout and machine.

    Args:
        query: The query.
        version: The version of DuckDB that will run it.

    Raises:
        InvalidProjectionError: It may not. The message lists every reason: the part of the query,
            its line, why, an example, and what to write instead.
    """
    hint = (
        'write what is suggested; or declare level = "fixed" (the same rows under the recorded '
        'settings alone) or "unproven".'
    )
    name, text = query.name, query.text
    check_version(name, "DuckDB", version, REVIEWED, hint)
    with bound(query) as connection:
        analysis = _analyse(connection, query, text)
        refusals = _advised(analysis, _engine(connection, query))
    refuse(
        name,
        [refusal.text(line_of(refusal.what, text, analysis.tree)) for refusal in refusals],
        hint,
    )
    # Payloads are read last: it is the expensive part, and needless if the query is refused.
    found = inexact_numbers(query.history, analysis.reads)
    refuse(name, [refusal.text(None) for refusal in found], hint)


class _Analysis(NamedTuple):
    """The syntax tree of a query, why it is not exact, and what it reads from event JSON."""

    tree: Any
    refusals: list[Refusal]
    reads: Iterable[Read] = ()


def _analyse(connection: duckdb.DuckDBPyConnection, query: Query, text: str) -> _Analysis:
    """Analyse a text over the history, spine and parameters of a query."""
    tree: Any = {}
    try:
        tree = tree_of(text)
        if tree.get("error"):
            return _Analysis(
                {}, [Refusal("the query", f"it cannot be looked at: {tree.get('error_message')}")]
            )
        plan = plan_of(connection, text, tree, query.parameters)
        if plan.get("error"):
            return _Analysis(
                tree,
                [
                    Refusal(
                        "the query", f"its plan cannot be looked at: {plan.get('error_message')}"
                    )
                ],
            )
        return _Analysis(tree, *analyse(plan, tree, _keys(query.history)))
    except (ValueError, RecursionError, duckdb.Error) as error:
        return _Analysis({}, [Refusal("the query", f"its plan cannot be looked at: {error}")])
    except (LookupError, TypeError, AttributeError) as error:
        return _Analysis(
            tree,
            [Refusal("the query", f"its plan has something that is not understood: {error!r}")],
        )


def _advised(analysis: _Analysis, engine: Engine) -> list[Refusal]:
    try:
        return advise(analysis.tree, analysis.refusals, engine)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError, duckdb.Error):
        # Advice rewrites the query; one that cannot be rewritten is refused without advice.
        return list(dict.fromkeys(analysis.refusals))


def _engine(connection: duckdb.DuckDBPyConnection, query: Query) -> Engine:
    """What advice needs from DuckDB, over empty tables."""

    def values(text: str) -> str:
        return with_values(text, tree_of(text), query.parameters)

    def parse(text: str) -> Any:
        try:
            return tree_of(text)
        except duckdb.Error as error:
            raise ValueError(text) from error

    def refusals(text: str) -> list[Refusal] | None:
        try:
            connection.execute(values(check_select(text))).fetchall()
        except (duckdb.Error, InvalidInputError):
            return None
        return _analyse(connection, query, text).refusals

    def type_of(text: str) -> str | None:
        try:
            return str(connection.sql(values(text)).types[0])
        except duckdb.Error:
            return None

    def render(tree: Any) -> str:
        return str(
            connection.execute(
                "SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)]
            ).fetchall()[0][0]
        )

    return Engine(parse, render, refusals, type_of)


def plan_of(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    tree: Any,
    parameters: Mapping[str, Parameter],
) -> Any:
    """DuckDB's bound plan of a query as JSON; with a member ``error`` if it cannot be serialised.

    Raises:
        RecursionError: It is nested deeper than Python's limit.
    """
    return json.loads(
        connection.execute(PLAN, [with_values(query, tree, parameters)]).fetchall()[0][0]
    )


def _keys(history: PinnedHistory) -> dict[str, tuple[tuple[str, ...], ...]]:
    tables = {event_type.casefold(): EVENT_KEYS for event_type in history.catalogue.types}
    return {**tables, "events": EVENT_KEYS, "spine": SPINE_KEYS}


def with_values(query: str, tree: Any, parameters: Mapping[str, Parameter]) -> str:
    """The query with literals in place of its parameters, for DuckDB cannot plan parameters.

    Args:
        query: One SELECT.
        tree: DuckDB's parse tree, which has the places of the parameters.
        parameters: Values by name.
    """
    # DuckDB counts locations in bytes, not in characters.
    data = query.encode()
    places = [
        (int(node["query_location"]), str(node["identifier"]))
        for node in nodes(tree)
        if node.get("class") == "PARAMETER"
    ]
    # From the end on, so that the places before a replaced parameter stay right.
    for place, name in sorted(places, reverse=True):
        written = re.compile(rb"\$" + re.escape(name.encode())).match(data, place)
        if written is not None and name in parameters:
            data = data[:place] + _literal(parameters[name]).encode() + data[written.end() :]
    return data.decode()


def _literal(value: Parameter) -> str:
    if value is None:
        # Parentheses keep the value whole before a cast or after a sign.
        return "(NULL)"
    # Before integers: in Python a bool is one.
    if isinstance(value, bool):
        return "(true)" if value else "(false)"
    return f"(CAST({integer(value)} AS BIGINT))" if isinstance(value, int) else f"({quoted(value)})"
