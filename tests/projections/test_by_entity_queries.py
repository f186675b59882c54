"""Random queries: what is taken for a function of one entity's rows at a time must be one, joins of every kind above all."""

from collections import Counter

import polars as pl
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.datasets.building.given_spine import given_spine
from eventlake.errors import InvalidProjectionError
from eventlake.history.sql.duckdb_views import ENTITY, EntityFilter
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_duckdb.by_entity import bucketed, entities, entity_columns
from tests.scope import examples

BUCKETS = 4
SPINE = pl.DataFrame({"subject": ["/0", "/1", "/1", None, "/9"], "until": [3, 9, 2, 5, 7]})
TABLES = [
    ("events", "sequence"),
    ("spine", "spine_row"),
    ("(SELECT * FROM events WHERE type = 'a')", "sequence"),
    ("(SELECT subject, max(sequence) AS sequence FROM events GROUP BY subject)", "sequence"),
    ("(SELECT * FROM (VALUES (1, '/0'), (3, '/1')) v(sequence, subject))", "sequence"),
]
KINDS = [
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "SEMI JOIN",
    "ANTI JOIN",
    "ASOF JOIN",
    "ASOF LEFT JOIN",
    "CROSS JOIN",
]
PAIRS = [
    "{a}.subject = {b}.subject",
    "{a}.subject IS NOT DISTINCT FROM {b}.subject",
    "{a}.{an} < {b}.{bn}",
    "{a}.{an} = {b}.{bn}",
    "({a}.subject = {b}.subject OR {a}.{an} = 1)",
]
ALONE = [
    "{a}.subject IS NOT NULL",
    "EXISTS (FROM events z WHERE z.subject = {a}.subject AND z.sequence < {a}.{an})",
    "NOT EXISTS (FROM spine z WHERE z.subject = {a}.subject)",
    "{a}.subject IN (SELECT subject FROM spine)",
    "(SELECT count(*) FROM events z WHERE z.subject = {a}.subject) > 2",
]
SHAPES = [
    "SELECT {rows} FROM {tables}",
    "SELECT {a}.subject AS k, count(*) AS n FROM {tables} GROUP BY {a}.subject",
    "SELECT {a}.{an} AS k, count(*) AS n FROM {tables} GROUP BY {a}.{an}",
    "SELECT {rows}, count(*) OVER (PARTITION BY {a}.subject) AS w FROM {tables}",
    "SELECT DISTINCT {a}.subject AS k, {a}.{an} AS m FROM {tables}",
]
AROUND = [
    "{}",
    "{}",
    "WITH c AS MATERIALIZED ({}) SELECT * FROM c UNION ALL SELECT * FROM c",
    "WITH c AS ({}) SELECT * FROM c UNION SELECT * FROM c",
]


@st.composite
def queries(draw):
    """One to three tables, joined and filtered at random; subjects are compared oftener than anything else."""
    pair = st.sampled_from([PAIRS[0]] * 4 + PAIRS)
    table, number = draw(st.sampled_from(TABLES))
    text, names = f"{table} a", [("a", number)]
    for name in "bc"[: draw(st.integers(0, 2))]:
        table, number = draw(st.sampled_from(TABLES))
        kind, other = draw(st.sampled_from(KINDS)), draw(st.sampled_from(names))
        values = {"a": other[0], "an": other[1], "b": name, "bn": number}
        conditions = [one.format(**values) for one in draw(st.lists(pair, min_size=1, max_size=2))]
        if kind.startswith("ASOF"):
            conditions = [PAIRS[0].format(**values)] * draw(st.integers(0, 1)) + [
                "{a}.{an} >= {b}.{bn}".format(**values)
            ]
        text += f" {kind} {table} {name}" + (
            "" if kind == "CROSS JOIN" else f" ON {' AND '.join(conditions)}"
        )
        if kind not in {"SEMI JOIN", "ANTI JOIN"}:
            names.append((name, number))
    one, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
    values = {"a": one[0], "an": one[1], "b": other[0], "bn": other[1]}
    filters = [
        f.format(**values)
        for f in draw(st.lists(st.sampled_from([PAIRS[0], *PAIRS, *ALONE]), max_size=2))
    ]
    rows = ", ".join(
        f"{name}.subject AS s{name}, {name}.{column} AS q{name}" for name, column in names
    )
    tables = text + (f" WHERE {' AND '.join(filters)}" if filters else "")
    return draw(st.sampled_from(AROUND)).format(
        draw(st.sampled_from(SHAPES)).format(rows=rows, tables=tables, **values)
    )


@pytest.fixture(scope="module")
def history():
    lake = el.create("memory://", "o")
    rows = [
        {
            "id": f"e{n}",
            "source": "s",
            "type": "abc"[n % 3],
            "subject": None if n % 7 == 6 else f"/{n * 5 % 4}",
        }
        for n in range(14)
    ]
    lake.append([{name: value for name, value in row.items() if value is not None} for row in rows])
    return lake.snapshot().history


def bag(table):
    return Counter(map(repr, table.to_pylist()))


@settings(max_examples=examples(60), deadline=None)
@given(query=queries())
def test_what_is_taken_to_be_by_entity_is(history, query):
    projection = el.Projection.sql("made", query, key=["k"], by="subject")
    computation = Computation(projection, history, given_spine(SPINE))
    try:
        entity_columns(computation)
    except InvalidProjectionError:
        return
    chosen = bucketed(entities(computation), BUCKETS)
    parts = Counter()
    for number in range(BUCKETS):
        only = EntityFilter(
            "subject", "subject", chosen.filter(pc.equal(chosen["bucket"], number)).select([ENTITY])
        )
        parts += bag(duckdb_runner.run(computation.query, RunOptions(only=only)))
    assert parts == bag(duckdb_runner.run(computation.query))


def test_random_queries_are_taken_and_refused(history):
    seen = Counter()

    @settings(max_examples=40, deadline=None, database=None)
    @given(query=queries())
    def look(query):
        try:
            projection = el.Projection.sql("made", query, key=["k"], by="subject")
            entity_columns(Computation(projection, history, given_spine(SPINE)))
            seen["taken"] += 1
        except InvalidProjectionError as error:
            seen[
                "refused"
                if "is declared by subject" in error.message
                else f"not understood: {error.message}"
            ] += 1

    look()
    assert seen["taken"] > 5
    assert seen["refused"] > 5
    assert seen["taken"] + seen["refused"] > 0.9 * seen.total()
