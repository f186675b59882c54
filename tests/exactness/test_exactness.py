"""What is accepted as exact, and what is refused with its line, an example and what to write instead."""

import pyarrow as pa
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError
from eventlake.projections.computation import Query
from eventlake.projections.on_duckdb import exact
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_duckdb.exact import check_exact, with_values
from eventlake.storage import MemoryStorage
from tests.support.dataset_fixtures import PAYMENT

SPINE = pa.table(
    {
        "spine_row": pa.array([0], pa.int64()),
        "loan": ["/loan/1"],
        "cutoff": pa.array([0], pa.timestamp("us", "UTC")),
    },
)


@pytest.fixture(scope="module")
def history():
    lake = el.create(MemoryStorage(), "o")
    for name in ("pay", "due"):
        lake.register(name, PAYMENT)
    return lake.snapshot().history


def check(history, query, parameters=None):
    check_exact(Query("p", query, history, SPINE, parameters or {}))


EXACT = {
    "sums and counts per subject": "SELECT subject, sum(amount) AS s, sum(n) AS t, count(*) AS c, count(x) AS k FROM pay GROUP BY subject",
    "distinct counts": "SELECT subject, count(DISTINCT n) AS d FROM pay GROUP BY subject",
    "the last by sequence": "SELECT subject, arg_max(amount, sequence) AS last, arg_min(x, sequence) AS first FROM pay GROUP BY ALL",
    "an ordered list": "SELECT list(n ORDER BY sequence) AS l, string_agg(id, ',' ORDER BY time, sequence) AS s FROM pay GROUP BY subject",
    "window functions by sequence": """
        SELECT sequence, row_number() OVER w AS r, lag(amount) OVER w AS p, first_value(x) OVER w AS f, ntile(4) OVER w AS q
        FROM pay WINDOW w AS (PARTITION BY subject ORDER BY sequence)""",
    "a running decimal sum": "SELECT sequence, sum(amount) OVER (PARTITION BY subject ORDER BY time) AS s FROM pay",
    "a moving sum over a total order": "SELECT sequence, sum(n) OVER (ORDER BY time, sequence ROWS 3 PRECEDING) AS s FROM pay",
    "ranks, whose ties are equal": "SELECT sequence, rank() OVER (ORDER BY n) AS r, dense_rank() OVER (ORDER BY n) AS d FROM pay",
    "as of, after one row an instant": """
        WITH last AS (SELECT * FROM pay QUALIFY row_number() OVER (PARTITION BY subject, time ORDER BY sequence DESC) = 1)
        SELECT d.sequence, p.amount FROM due AS d ASOF LEFT JOIN last AS p ON p.subject = d.subject AND p.time < d.time""",
    "a join of three": """
        SELECT p.subject, sum(p.amount * d.n) AS s FROM pay AS p JOIN due AS d ON d.subject = p.subject JOIN events AS e ON e.id = d.id
        GROUP BY p.subject""",
    "median and quantiles": "SELECT median(n) AS m, quantile_cont(n, 0.25) AS q, quantile_disc(amount, [0.1, 0.9]) AS d FROM pay",
    "a pivot": "PIVOT (SELECT subject, type, sequence FROM events) ON type IN ('a', 'b') USING count(*) GROUP BY subject",
    "the ratio of two decimal sums": "SELECT sum(amount)::DOUBLE / nullif(sum(n), 0)::DOUBLE AS r FROM pay GROUP BY subject",
    "the root of a variance": "SELECT sqrt(sum(n * n)::DOUBLE / count(n) - sum(n)::DOUBLE / count(n) * sum(n) / count(n)) AS s FROM pay",
    "a scalar subquery per row": "SELECT loan, (SELECT max(n) FROM pay WHERE subject = loan AND time < cutoff) AS m FROM spine",
    "features of a spine": """
        SELECT spine_row, loan, count(p.sequence) AS c, sum(p.amount) AS s FROM spine
        LEFT JOIN pay AS p ON p.subject = loan AND p.time < cutoff AND p.time >= cutoff - INTERVAL 30 DAY GROUP BY spine_row, loan""",
    "a fan-out with the whole key": """
        SELECT p.subject, first(p.amount ORDER BY p.sequence, d.sequence) AS f FROM pay AS p JOIN due AS d ON d.subject = p.subject
        GROUP BY p.subject""",
    "a join to one row a key keeps the other side's key": """
        WITH totals AS (SELECT subject, sum(amount) AS s FROM due GROUP BY subject)
        SELECT row_number() OVER (ORDER BY p.sequence) AS r, s FROM pay AS p LEFT JOIN totals AS t ON t.subject = p.subject""",
    "the newest row of a group as a key": """
        SELECT subject, list(amount ORDER BY subject) AS l FROM (
            SELECT * FROM pay QUALIFY row_number() OVER (PARTITION BY subject ORDER BY sequence) = 1) GROUP BY subject""",
    "a limit over a total order": "SELECT sequence, n FROM pay ORDER BY n DESC, sequence LIMIT 5",
    "distinct on over a total order": "SELECT DISTINCT ON (subject) subject, n FROM pay ORDER BY subject, time DESC, sequence DESC",
    "lists inside a row": "SELECT sequence, list_sum(list_transform([n, 1], lambda v: v + 1)) AS s, len(tags) AS l FROM pay",
    "JSON as text": "SELECT sequence, json_extract_string(data, '$.a')::DECIMAL(18, 2) AS a FROM events",
    "a double handed on": "SELECT sequence, x, x * 2 + 1 AS y, x > 1 AS z, {'v': x} AS s FROM pay WHERE x > 0.5",
    "dates": "SELECT sequence, time::DATE AS d, date_trunc('month', time) AS m, date_diff('day', time, recorded_at) AS a FROM pay",
    "hashes of a key": "SELECT sequence, md5(id) AS h FROM events WHERE ('0x' || left(md5(id), 4))::INTEGER % 10 < 8",
    "set operations": "SELECT subject FROM pay UNION SELECT subject FROM due EXCEPT SELECT loan FROM spine",
    "one row at most": "SELECT count(*) AS c FROM pay LIMIT 1",
    "an age of two": "SELECT sequence, age(time, recorded_at) AS a, floor(x) AS f, abs(x) AS b FROM pay",
    "grouping sets": "SELECT subject, n, count(*) AS c FROM pay GROUP BY CUBE (subject, n)",
    "a lateral join": "SELECT loan, p.n FROM spine, LATERAL (SELECT n FROM pay WHERE subject = loan ORDER BY sequence LIMIT 1) AS p",
    "a list in rows": "SELECT sequence, tag, count(*) AS c FROM (SELECT sequence, unnest(tags) AS tag FROM pay) GROUP BY ALL",
    "a calendar": "SELECT i, count(p.sequence) AS c FROM range(10) AS r(i) LEFT JOIN pay AS p ON p.n = i GROUP BY i",
}


@pytest.mark.parametrize("query", EXACT.values(), ids=EXACT.keys())
def test_what_is_exact_is_accepted(history, query):
    check(history, query)


INEXACT = [
    ("SELECT sum(x) FROM pay", r"line 1: sum\(\): of a double", "DECIMAL"),
    ("SELECT\n  avg(n) FROM pay", r"line 2: avg\(\)", "(CAST(sum(n) AS DOUBLE) / count(n))"),
    ("SELECT stddev(n) FROM pay", r"stddev\(\)", "sqrt"),
    ("SELECT fsum(x) FROM pay", r"fsum\(\): compensated, and still not exact", "DECIMAL"),
    ("SELECT product(n), corr(x, n), skewness(x), entropy(n) FROM pay", r"product\(\)", "fixed"),
    ("SELECT first(n) FROM pay", r"first\(\): in no order", "write first(n ORDER BY sequence)"),
    ("SELECT last(n) FROM pay", r"last\(\): in no order", "write last(n ORDER BY sequence)"),
    (
        "SELECT first(n ORDER BY time) FROM pay",
        r"first\(\): its ORDER BY is not total",
        "write first(n ORDER BY time, sequence)",
    ),
    (
        "SELECT list(n), string_agg(id, ',') FROM pay",
        r"list\(\): in no order",
        "write list(n ORDER BY sequence)",
    ),
    (
        "SELECT arg_max(n, time) FROM pay",
        r"arg_max\(\): by a value that two rows can share",
        "write last(n ORDER BY time, sequence) FILTER",
    ),
    (
        "SELECT arg_max(n, x) FROM pay",
        r"arg_max\(\): by a double",
        "write last(n ORDER BY x, sequence) FILTER",
    ),
    ("SELECT min(x), max(x) FROM pay", r"min\(\): of a double: 0\.0 and -0\.0", "DECIMAL"),
    ("SELECT mode(n) FROM pay", r"mode\(\)", "histogram(n)"),
    (
        "SELECT approx_count_distinct(n), approx_quantile(n, 0.5) FROM pay",
        "an approximation",
        "count(DISTINCT n)",
    ),
    ("SELECT x, count(*) FROM pay GROUP BY x", "GROUP BY: by a double", "DECIMAL"),
    ("SELECT DISTINCT x FROM pay", "DISTINCT: by a double", "DECIMAL"),
    ("SELECT count(DISTINCT x) FROM pay", r"count\(\): of a double", "exact value"),
    ("SELECT p.n FROM pay p JOIN due d ON p.x = d.x", "JOIN: by a double", "DECIMAL"),
    ("SELECT sum(x) OVER (ORDER BY sequence) FROM pay", r"sum\(\): of a double", "DECIMAL"),
    (
        "SELECT avg(n) OVER (PARTITION BY subject) FROM pay",
        r"avg\(\)",
        "count(n) OVER (PARTITION BY subject)",
    ),
    (
        "SELECT sequence, row_number() OVER (ORDER BY time) FROM pay",
        r"row_number\(\): the ORDER BY of its window",
        "sequence",
    ),
    (
        "SELECT sequence, lag(n) OVER (PARTITION BY subject ORDER BY time) FROM pay",
        r"lag\(\): the ORDER BY of its window",
        "sequence",
    ),
    (
        "SELECT sequence, sum(n) OVER (ORDER BY time ROWS 3 PRECEDING) FROM pay",
        r"sum\(\): ROWS of a window",
        "sequence",
    ),
    (
        "SELECT sequence, lag(n) OVER (PARTITION BY subject ORDER BY n) FROM pay",
        r"lag\(\): the ORDER BY of its window",
        "sequence",
    ),
    (
        "SELECT sequence, sum(n) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) FROM pay",
        r"sum\(\): ROWS of a window",
        "sequence",
    ),
    (
        "SELECT subject, list(list_transform([n], lambda v: v) ORDER BY time) FROM pay GROUP BY subject",
        r"list\(\)",
        "sequence",
    ),
    (
        "SELECT sequence, rank() OVER (ORDER BY x) FROM pay",
        r"rank\(\): a window over a double",
        "exact value",
    ),
    (
        "SELECT d.sequence, p.n FROM due d ASOF JOIN pay p ON p.subject = d.subject AND p.time < d.time",
        "ASOF: the right side",
        "QUALIFY",
    ),
    ("SELECT * FROM pay ORDER BY time LIMIT 5", "LIMIT: its ORDER BY is not total", "sequence"),
    ("SELECT * FROM pay LIMIT 5", "LIMIT: without an ORDER BY", "write ORDER BY sequence LIMIT 5"),
    (
        "SELECT * FROM pay ORDER BY sequence LIMIT 10%",
        "LIMIT: the number of rows is computed",
        "a number",
    ),
    (
        "SELECT DISTINCT ON (subject) subject, n FROM pay ORDER BY subject, time",
        "DISTINCT ON: which row",
        "sequence",
    ),
    (
        "SELECT p.subject, first(p.n ORDER BY p.sequence) FROM pay p JOIN due d ON d.subject = p.subject GROUP BY 1",
        r"first\(\): its ORDER BY",
        "",
    ),
    ("SELECT sequence, random() FROM pay", r"random\(\)", "md5"),
    ("SELECT sequence, uuid() FROM pay", r"uuid\(\)", "md5"),
    ("SELECT sequence, year(now()) FROM pay", r"now\(\)", "declared parameter"),
    ("SELECT sequence, current_date FROM pay", r"current_date\(\)", "declared parameter"),
    ("SELECT sequence, age(time) FROM pay", r"current_date\(\)", "declared parameter"),
    ("SELECT sequence, getvariable('x') FROM pay", r"getvariable\(\)", "declared parameter"),
    (
        "SELECT sequence, current_setting('TimeZone') FROM pay",
        r"current_setting\(\)",
        "declared parameter",
    ),
    ("SELECT sequence, hash(n) FROM pay", r"hash\(\)", "md5"),
    ("SELECT sequence, exp(n), ln(n), pow(n, 2) FROM pay", r"exp\(\): the maths library", "fixed"),
    (
        "SELECT sequence, round(x, 2), greatest(x, 1.0) FROM pay",
        r"round\(\): of a double",
        "exact value",
    ),
    (
        "SELECT sequence, x::DECIMAL(9, 2) FROM pay",
        "CAST: a double becomes DECIMAL",
        "DECIMAL from the beginning",
    ),
    ("SELECT sequence, x::VARCHAR FROM pay", "CAST: a double becomes VARCHAR", "last step"),
    ("SELECT sequence, list_sum([x]), list_sort([x]) FROM pay", r"sum\(\)|list_aggr\(\)", ""),
    ("SELECT sequence, list_distinct(tags) FROM pay", r"list_distinct\(\)", ""),
    ("SELECT * FROM pay USING SAMPLE 10%", "SAMPLE", ""),
    ("SELECT * FROM pay POSITIONAL JOIN due", "POSITIONAL JOIN", ""),
    ("SELECT rowid FROM pay", "rowid", "sequence"),
    (
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
        "RECURSI",
        "range()",
    ),
    ("SELECT sequence, time::TIMETZ FROM pay", "TIME WITH TIME ZONE", ""),
    ("SELECT list(x ORDER BY x) FROM pay", r"list\(\): its ORDER BY is not total", "sequence"),
    ("SELECT first(x ORDER BY x) FROM pay", r"first\(\)", "sequence"),
    ("SELECT x FROM pay ORDER BY x LIMIT 1", "LIMIT: its ORDER BY", "sequence"),
    ("SELECT DISTINCT ON (one) 1 AS one, x FROM pay ORDER BY one, x", "DISTINCT ON", "sequence"),
    (
        "SELECT min(to_days(n::INTEGER)) FROM pay",
        r"min\(\): of values that can be equal",
        "microseconds",
    ),
    ("SELECT median(time - recorded_at) FROM pay", r"median\(\): of values", "microseconds"),
    ("SELECT DISTINCT subject COLLATE NOCASE AS s FROM pay", "COLLATE", "lower"),
    (
        "SELECT subject COLLATE NOCASE AS s FROM pay UNION SELECT subject FROM due",
        "COLLATE",
        "lower",
    ),
    (
        "SELECT sequence, lag(id ORDER BY time) OVER (ORDER BY sequence) FROM pay",
        r"lag\(\)",
        "sequence",
    ),
    (
        "SELECT sequence, last_value(id ORDER BY time) OVER (ORDER BY sequence) FROM pay",
        r"last_value\(\)",
        "sequence",
    ),
    (
        "SELECT sequence, rank(ORDER BY n) OVER (ORDER BY time ROWS 3 PRECEDING) FROM pay",
        r"rank\(\): ROWS",
        "sequence",
    ),
    (
        "SELECT subject, n, list(n), list(subject) FROM pay GROUP BY GROUPING SETS ((subject), (n))",
        r"list\(\): in no order",
        "sequence",
    ),
    (
        "SELECT list(coalesce(a, b)) FROM (SELECT max(n) AS a FROM pay) FULL JOIN (SELECT -min(n) AS b FROM due) ON a = b",
        r"list\(\): in no order",
        "",
    ),
    ("SELECT sequence, current_user FROM pay", "current_user", ""),
    ("SELECT count(*) FILTER (WHERE rowid % 2 = 0) FROM pay", "rowid", "sequence"),
    ("SELECT p.n FROM pay p JOIN due d ON p.rowid = d.rowid", "rowid", "sequence"),
    ("SELECT sequence, fill(n) OVER (ORDER BY sequence) FROM pay", r"fill\(\)", ""),
    ("SELECT sequence, " + "+".join(["n"] * 900) + " FROM pay", "cannot be looked at", ""),
]


@pytest.mark.parametrize(
    ("query", "complaint", "instead"),
    INEXACT,
    ids=[query.replace("\n", " ")[:100] for query, *_ in INEXACT],
)
def test_what_is_not_exact_is_refused_with_what_to_write_instead(
    history, query, complaint, instead
):
    with pytest.raises(InvalidProjectionError, match=complaint) as caught:
        check(history, query)
    assert instead in caught.value.message
    assert 'level = "fixed"' in caught.value.hint


def test_every_reason_is_told_with_its_line(history):
    with pytest.raises(InvalidProjectionError) as caught:
        check(history, "SELECT\n  sum(x),\n  avg(n),\n  first(n)\nFROM pay")
    assert [
        f"line {line}: {name}()" in caught.value.message
        for line, name in ((2, "sum"), (3, "avg"), (4, "first"))
    ] == [True] * 3


def test_parameters_are_put_in_by_their_place(history):
    query = "SELECT 'é $n', $n + 1, $text FROM pay WHERE n > $n AND $flag AND $nothing IS NULL"
    values = {"n": -7, "text": "it's $n", "flag": True, "nothing": None}
    check(history, query, values)
    asked = Query("p", query, history, SPINE, values)
    with duckdb_runner.bound(asked) as connection:
        tree = exact._analyse(connection, asked, query)[0]
    expected = "SELECT 'é $n', (CAST(-7 AS BIGINT)) + 1, ('it''s $n') FROM pay WHERE n > (CAST(-7 AS BIGINT)) AND (true) AND (NULL) IS NULL"
    assert with_values(query, tree, values) == expected
    with pytest.raises(InvalidProjectionError, match=r"random\(\)"):
        check(history, "SELECT sequence, random() * $n FROM pay", {"n": 1})


def test_of_another_duckdb_nothing_is_proven(history):
    query = Query("p", "SELECT sequence FROM pay", history)
    exact.check_exact(query)
    with pytest.raises(InvalidProjectionError, match=r"nothing is proven of DuckDB 2\.10\.0"):
        exact.check_exact(query, version="2.10.0")


def test_a_build_checks_what_is_declared_exact_and_records_it(history):
    lake = el.create(MemoryStorage(), "o")
    lake.append([{"id": "a", "source": "s", "type": "t"}])
    query = "SELECT sequence AS k, random() AS r FROM events"
    with pytest.raises(InvalidProjectionError, match="declared exact and is not"):
        lake.build(el.Projection.sql("p", query, key=["k"]))
    assert lake.datasets() == []
    unproven = lake.build(el.Projection.sql("p", query, key=["k"], level="unproven"))
    assert unproven.manifest.recipe.check == "declared, unchecked"
    assert (
        lake.build(
            el.Projection.sql("p", "SELECT sequence AS k FROM events", key=["k"])
        ).manifest.recipe.check
        == "allow-list"
    )


ALSO_EXACT = {
    "rows of columns": "UNPIVOT (SELECT subject, sum(n)::BIGINT AS a, max(n) AS b FROM pay GROUP BY 1) ON a, b INTO NAME name VALUE v",
    "doubles as rows": "UNPIVOT (SELECT sequence, x, x * 2 AS y FROM pay) ON x, y INTO NAME name VALUE v",
    "how long it took, compared": "SELECT subject, max(time) - min(time) > INTERVAL 1 HOUR AS long FROM pay GROUP BY 1",
    "sessions": """
        SELECT subject, session, count(*) AS n FROM (SELECT subject, sum(new) OVER (PARTITION BY subject ORDER BY time) AS session FROM (
            SELECT subject, time, CASE WHEN time - lag(time) OVER (PARTITION BY subject ORDER BY time) > INTERVAL 1 HOUR THEN 1 ELSE 0 END
            AS new FROM pay)) GROUP BY ALL""",
    "members of a list, each once": "SELECT sequence, list_sort(list_distinct(tags)) AS t FROM pay",
}


@pytest.mark.parametrize("query", ALSO_EXACT.values(), ids=ALSO_EXACT.keys())
def test_what_is_exact_comes_out_the_same_under_other_circumstances(query):
    lake = el.create(MemoryStorage(), "o")
    lake.register("pay", PAYMENT)
    lake.append(
        {
            "id": str(n), "source": "s", "type": "pay", "subject": f"/{n % 3}", "time": f"2026-01-0{1 + n % 4}T0{n % 5}:00:00Z",
            "data": {"n": n % 7, "x": n / 3, "amount": f"{n}.50", "tags": ["b", "a", "b", str(n % 2)]},
        }
        for n in range(300)
    )  # fmt: skip
    key = {
        "rows": ["subject", "name"],
        "doub": ["sequence", "name"],
        "sess": ["subject", "session"],
        "memb": ["sequence"],
    }
    name = next(name for name, one in ALSO_EXACT.items() if one == query)
    built = lake.build(
        el.Projection.sql("p", query, key=key.get(name[:4], ["subject"])), check="perturb"
    )
    assert built.manifest.recipe.check == "allow-list"
    assert built.manifest.rows > 0


def test_a_pivot_without_its_values_says_what_to_list(history):
    with pytest.raises(InvalidProjectionError, match="found MULTI") as caught:
        check(history, "PIVOT pay ON id USING count(*) GROUP BY subject")
    assert "PIVOT … ON type IN ('a', 'b')" in caught.value.hint
