"""What a refusal says to write is built: it is exact, means what was asked, and breaks ties as said, under other threads and orders too."""

import math
import random
import statistics
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError

MOVED = {
    "type": "object",
    "properties": {
        "who": {"type": "string"},
        "n": {"type": "integer"},
        "amount": {"type": "number", "multipleOf": 0.01},
        "x": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}


def facts(*, ties):
    """Events of three subjects; told in another order than they happened; with ties two or three at an instant, and members missing."""
    dice = random.Random(8)
    rows = []
    for number in range(60):
        row = {"who": dice.choice("abcd"), "n": dice.randrange(9) if ties else number * 17 % 61, "x": dice.randrange(100) / 4}
        row |= {"amount": Decimal(dice.randrange(-500_000, 500_000)) / 100, "tags": dice.sample("pqrs", 3)}
        at = dice.randrange(12) if ties else number * 7 % 60
        if ties and number % 7 == 0:
            del row["who"], row["n"]
        rows.append({"sequence": number, "subject": f"/s/{number % 3}", "time": at, **row})
    return rows


def lake_of(rows):
    lake = el.create("memory://", "o.example")
    lake.register("moved", MOVED)
    envelope = ("sequence", "subject", "time")
    lake.append(
        {
            "id": str(row["sequence"]), "source": "s", "type": "moved", "subject": row["subject"],
            "time": f"2026-01-01T00:{row['time']:02}:00Z", "data": {name: value for name, value in row.items() if name not in envelope},
        }
        for row in rows
    )  # fmt: skip
    return lake


@pytest.fixture(scope="module")
def plain():
    rows = facts(ties=False)
    return rows, lake_of(rows)


@pytest.fixture(scope="module")
def tied():
    rows = facts(ties=True)
    return rows, lake_of(rows)


def build(lake, query, level="exact", key=("k",), *, perturbed=False):
    options = {"check": "perturb"} if level == "exact" and perturbed else {}
    return lake.build(el.Projection.sql("q", query, key=list(key), level=level), **options).polars().sort(*key).rows(named=True)


def advice(lake, query, key=("k",)):
    """What the refusal of a query says to write, in order."""
    with pytest.raises(InvalidProjectionError, match="declared exact and is not") as caught:
        build(lake, query, key=key)
    return [line.strip().removeprefix("write ") for line in caught.value.message.splitlines() if line.strip().startswith("write ")]


def by_time(rows, name="time"):
    return sorted(rows, key=lambda row: (row[name], row["sequence"]))


def present(rows, *names):
    return [row for row in rows if all(row.get(name) is not None for name in names)]


def first(rows, name="who"):
    return rows[0].get(name) if rows else None


def last(rows, name="who"):
    return rows[-1].get(name) if rows else None


def mode(rows):
    values = [row["who"] for row in present(rows, "who")]
    return max(set(values), key=lambda one: (values.count(one), one))


def kept(row):
    return row["amount"] > 0


AGGREGATES = {
    "first(who ORDER BY time)": lambda rows: first(by_time(rows)),
    "first(who ORDER BY time DESC)": lambda rows: last(by_time(rows)),
    "last(who ORDER BY time)": lambda rows: last(by_time(rows)),
    "last(who ORDER BY time) FILTER (WHERE amount > 0)": lambda rows: last(by_time(filter(kept, rows))),
    "last(upper(who) ORDER BY time)": lambda rows: (last(by_time(rows)) or "").upper() or None,
    "first(who)": first,
    "last(who)": last,
    "any_value(who)": lambda rows: first(present(rows, "who")),
    "any_value(who ORDER BY time)": lambda rows: first(present(by_time(rows), "who")),
    "list(who ORDER BY time)": lambda rows: [row.get("who") for row in by_time(rows)],
    "array_agg(who ORDER BY time DESC)": lambda rows: [row.get("who") for row in reversed(by_time(rows))],
    "list(n)": lambda rows: [row.get("n") for row in rows],
    "string_agg(who, '>' ORDER BY time)": lambda rows: ">".join(row["who"] for row in present(by_time(rows), "who")),
    "string_agg(who, '>')": lambda rows: ">".join(row["who"] for row in present(rows, "who")),
    "arg_max(who, time)": lambda rows: last(present(by_time(rows), "who")),
    "arg_min(who, time)": lambda rows: first(present(by_time(rows), "who")),
    "arg_max(who, n)": lambda rows: last(by_time(present(rows, "who", "n"), "n")),
    "arg_min(who, n) FILTER (WHERE amount > 0)": lambda rows: first(by_time(present(filter(kept, rows), "who", "n"), "n")),
    "max_by(who, x)": lambda rows: last(by_time(present(rows, "who"), "x")),
    "arg_max(who, time, 3)": lambda rows: [row["who"] for row in by_time(present(rows, "who"))[-1:-4:-1]],
    "arg_min(who, time, 2)": lambda rows: [row["who"] for row in by_time(present(rows, "who"))[:2]],
    "mode(who)": mode,
    "avg(n)": lambda rows: statistics.fmean(row["n"] for row in present(rows, "n")),
    "avg(amount)": lambda rows: float(sum(row["amount"] for row in rows) / len(rows)),
    "avg(amount) FILTER (WHERE n > 3)": lambda rows: statistics.fmean(float(row["amount"]) for row in present(rows, "n") if row["n"] > 3),
    "mean((who = 'a')::INT)": lambda rows: statistics.fmean(row["who"] == "a" for row in present(rows, "who")),
    "stddev(n)": lambda rows: statistics.stdev(row["n"] for row in present(rows, "n")),
    "stddev_pop(amount)": lambda rows: statistics.pstdev(float(row["amount"]) for row in rows),
    "variance(amount)": lambda rows: statistics.variance(float(row["amount"]) for row in rows),
    "var_pop(n)": lambda rows: statistics.pvariance(row["n"] for row in present(rows, "n")),
    "sum(n::DOUBLE)": lambda rows: float(sum(row["n"] for row in present(rows, "n"))),
    "max(amount::DOUBLE)": lambda rows: float(max(row["amount"] for row in rows)),
    "approx_count_distinct(who)": lambda rows: len({row["who"] for row in present(rows, "who")}),
}
DIFFERENT = {"approx_count_distinct(who)", "mode(who)", "any_value(who)", "first(who)", "last(who)", "list(n)", "string_agg(who, '>')"}
"""What gives something else at level fixed, by chance or as an approximation, though no two events tie."""


def close(found, expected):
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-9)
    return found == expected


@pytest.mark.parametrize("expression", AGGREGATES)
def test_advice_for_an_aggregate_keeps_its_meaning_and_breaks_ties_by_sequence(plain, tied, expression):
    query = "SELECT subject AS k, {} AS v FROM moved GROUP BY subject"
    (said,) = advice(tied[1], query.format(expression))
    for rows, lake in (plain, tied):
        for row in build(lake, query.format(said), perturbed=lake is tied[1]):
            own = [one for one in rows if one["subject"] == row["k"]]
            assert close(row["v"], AGGREGATES[expression](own)), (expression, said)
    if expression not in DIFFERENT:
        natural, exact = (build(plain[1], query.format(one), level) for one, level in ((expression, "fixed"), (said, "exact")))
        assert all(close(one["v"], other["v"]) for one, other in zip(exact, natural, strict=True))


@pytest.mark.parametrize("expression", [one for one in AGGREGATES if one not in DIFFERENT and "stddev" not in one and "var" not in one])
def test_advice_for_one_row_and_for_none_is_what_was_asked(expression):
    lake = lake_of([*facts(ties=False)[:1], {"sequence": 1, "subject": "/none", "time": 5, "amount": Decimal(1), "x": 1.0}])
    query = "SELECT subject AS k, {} AS v FROM moved GROUP BY subject"
    (said,) = advice(lake, query.format(expression))
    assert build(lake, query.format(said)) == build(lake, query.format(expression), "fixed")


def test_a_deviation_of_one_value_is_null():
    lake = lake_of(facts(ties=False)[:2])
    for call in ("stddev(n)", "var_samp(amount)"):
        (said,) = advice(lake, f"SELECT subject AS k, {call} AS v FROM moved GROUP BY subject")
        assert [row["v"] for row in build(lake, f"SELECT subject AS k, {said} AS v FROM moved GROUP BY subject")] == [None, None]


WINDOWS = {
    "row_number() OVER (PARTITION BY subject ORDER BY time)": lambda before, row, after: len(before) + 1,
    "row_number() OVER (PARTITION BY subject ORDER BY time DESC)": lambda before, row, after: len(after) + 1,
    "lag(who) OVER (PARTITION BY subject ORDER BY time)": lambda before, row, after: last(before),
    "lead(n) OVER (PARTITION BY subject ORDER BY time)": lambda before, row, after: first(after, "n"),
    "first_value(who) OVER (PARTITION BY subject ORDER BY time)": lambda before, row, after: first([*before, row]),
    "last_value(who IGNORE NULLS) OVER (PARTITION BY subject ORDER BY time)": lambda before, row, after: last(
        present([*before, row], "who")
    ),
    "sum(n) OVER (PARTITION BY subject ORDER BY time ROWS 3 PRECEDING)": lambda before, row, after: sum(
        one["n"] for one in present([*before, row][-4:], "n")
    ),
    "avg(n) OVER (PARTITION BY subject ORDER BY time ROWS 9 PRECEDING)": lambda before, row, after: statistics.fmean(
        one["n"] for one in present([*before, row][-10:], "n")
    ),
    "list(who) OVER (PARTITION BY subject ORDER BY time ROWS 2 PRECEDING)": lambda before, row, after: [
        one.get("who") for one in [*before, row][-3:]
    ],
}


@pytest.mark.parametrize("expression", WINDOWS)
def test_advice_for_a_window_keeps_its_meaning_and_breaks_ties_by_sequence(plain, tied, expression):
    query = "SELECT sequence AS k, {} AS v FROM moved"
    said = advice(tied[1], query.format(expression))[-1]
    for rows, lake in (plain, tied):
        for row in build(lake, query.format(said), perturbed=lake is tied[1]):
            own = by_time([one for one in rows if one["subject"] == rows[row["k"]]["subject"]])
            place = own.index(rows[row["k"]])
            expected = WINDOWS[expression](own[:place], own[place], own[place + 1 :]) if row["v"] is not None else None
            assert row["v"] is None or close(row["v"], expected), (expression, said)
    assert build(plain[1], query.format(said)) == build(plain[1], query.format(expression), "fixed")


ORDERS = {
    "SELECT DISTINCT ON (subject) subject AS k, who FROM moved ORDER BY subject, time DESC": (
        "ORDER BY subject, time DESC, sequence DESC",
        lambda rows: [(name, last(by_time(row for row in rows if row["subject"] == name))) for name in ("/s/0", "/s/1", "/s/2")],
    ),
    "SELECT DISTINCT ON (subject) subject AS k, who FROM moved ORDER BY subject, time": (
        "ORDER BY subject, time, sequence",
        lambda rows: [(name, first(by_time(row for row in rows if row["subject"] == name))) for name in ("/s/0", "/s/1", "/s/2")],
    ),
    "SELECT sequence AS k, who FROM moved ORDER BY time DESC LIMIT 7": (
        "ORDER BY time DESC, sequence DESC LIMIT 7",
        lambda rows: sorted((row["sequence"], row.get("who")) for row in by_time(rows)[-7:]),
    ),
    "SELECT sequence AS k, who FROM moved LIMIT 3": (
        "ORDER BY sequence LIMIT 3",
        lambda rows: [(row["sequence"], row.get("who")) for row in rows[:3]],
    ),
    "SELECT subject AS k, count(*) AS n FROM moved GROUP BY subject ORDER BY n DESC LIMIT 2": (
        "ORDER BY n DESC, subject LIMIT 2",
        lambda rows: [("/s/0", 20), ("/s/1", 20)],
    ),
    "SELECT subject AS k, count(*) AS n FROM moved GROUP BY 1 ORDER BY 2 DESC LIMIT 2": (
        "ORDER BY 2 DESC, subject LIMIT 2",
        lambda rows: [("/s/0", 20), ("/s/1", 20)],
    ),
}


@pytest.mark.parametrize("query", ORDERS)
def test_advice_for_an_order_ends_in_a_key_in_its_own_direction(plain, tied, query):
    expected, oracle = ORDERS[query]
    assert advice(tied[1], query) == [expected]
    head = query.partition(" ORDER BY ")[0].partition(" LIMIT ")[0]
    for rows, lake in (plain, tied):
        assert [tuple(row.values()) for row in build(lake, f"{head} {expected}", perturbed=lake is tied[1])] == oracle(rows)
    if "ORDER BY" in query and "count" not in query:
        assert build(plain[1], f"{head} {expected}") == build(plain[1], query, "fixed")


SCALARS = {
    "epoch(time)": lambda row: 1767225600.0 + 60 * row["time"],
    "amount ^ 2": lambda row: float(row["amount"]) ** 2,
    "pow(n, 2)": lambda row: None if row.get("n") is None else float(row["n"] ** 2),
    "list_distinct(tags)": lambda row: sorted(row["tags"]),
}


@pytest.mark.parametrize("expression", SCALARS)
def test_advice_for_a_function_has_its_value_and_type(plain, tied, expression):
    query = "SELECT sequence AS k, {} AS v FROM moved"
    (said,) = advice(plain[1], query.format(expression))
    for rows, lake in (plain, tied):
        assert all(close(row["v"], SCALARS[expression](rows[row["k"]])) for row in build(lake, query.format(said)))
    if "list" not in expression:
        natural, exact = (build(plain[1], query.format(one), level) for one, level in ((expression, "fixed"), (said, "exact")))
        assert all(close(one["v"], other["v"]) and type(one["v"]) is type(other["v"]) for one, other in zip(exact, natural, strict=True))


@pytest.mark.parametrize(("expression", "width"), [("amount / 1000", 1000), ("n / 5", 5)])
def test_advice_for_bins_rounds_negative_numbers_down_too(tied, expression, width):
    query = "SELECT {} AS k, count(*) AS v FROM moved WHERE n IS NOT NULL GROUP BY 1"
    (said,) = advice(tied[1], query.format(f"floor({expression})"))
    name = expression.partition(" ")[0]
    expected = {}
    for row in present(tied[0], "n"):
        place = math.floor(row[name] / width)
        expected[place] = expected.get(place, 0) + 1
    assert {row["k"]: row["v"] for row in build(tied[1], query.format(said))} == expected


@pytest.mark.parametrize("places", [0, 1, 2])
@pytest.mark.parametrize("mean", ["avg({})", "sum({}) / count({})", "sum({})::DOUBLE / count({})", "sum({}) / count(*)"])
@pytest.mark.parametrize("name", ["amount", "n"])
def test_advice_for_a_rounded_mean_rounds_half_away_from_zero(tied, name, mean, places):
    query = "SELECT subject AS k, {} AS v FROM moved GROUP BY subject"
    said = advice(tied[1], query.format(f"round({mean.format(name, name)}, {places})"))[-1]
    for row in build(tied[1], query.format(said)):
        own = [one for one in tied[0] if one["subject"] == row["k"]]
        values = [Decimal(one[name]) for one in present(own, name)]
        exact = Fraction(sum(values)) / (len(own) if "*" in mean else len(values))
        units = (abs(exact) * 10**places + Fraction(1, 2)).__floor__()
        assert row["v"] == (-units if exact < 0 else units) / 10**places


QUERIES = {
    "SELECT a.sequence AS k, any_value(b.who) AS v FROM moved a JOIN moved b USING (subject) GROUP BY 1": ("b.who ORDER BY b.sequence",),
    "SELECT 1 AS k, first(b.n ORDER BY b.time) AS v FROM moved a JOIN moved b USING (subject)": (
        "first(b.n ORDER BY b.time, b.sequence, a.sequence)",
    ),
    "WITH c AS (SELECT subject, who, count(*) AS c FROM moved GROUP BY ALL) SELECT subject AS k, arg_max(who, c) AS v FROM c GROUP BY 1": (
        "last(who ORDER BY c, who) FILTER (WHERE ((who IS NOT NULL) AND (c IS NOT NULL)))",
    ),
    "SELECT subject AS k, row_number() OVER (ORDER BY n) AS v FROM (SELECT subject, count(*) AS n FROM moved GROUP BY 1)": (
        "row_number() OVER (ORDER BY n, subject)",
    ),
    "SELECT o.sequence AS k, (SELECT w.who FROM moved w WHERE w.subject = o.subject AND w.time < o.time ORDER BY w.time DESC LIMIT 1) AS v "
    "FROM moved o": ("ORDER BY w.time DESC, w.sequence DESC LIMIT 1",),
    "SELECT o.sequence AS k, w.who AS v FROM moved o ASOF LEFT JOIN moved w ON o.subject = w.subject AND o.time >= w.time": (
        "PARTITION BY subject, time ORDER BY sequence DESC",
    ),
}


@pytest.mark.parametrize("query", QUERIES)
def test_advice_after_joins_and_groups_names_what_tells_rows_apart_there(tied, query):
    said = advice(tied[1], query)
    assert len(said) == 1
    for part in QUERIES[query]:
        assert part in said[0]


def test_advice_inside_of_a_query_that_another_reads_keeps_the_names_of_its_columns(tied):
    query = """
        WITH d AS (SELECT a.subject, {} AS who FROM moved a JOIN moved w USING (subject) GROUP BY a.subject)
        SELECT subject AS k, upper(who) AS v FROM d"""
    (said,) = advice(tied[1], query.format("arg_min(a.who, a.sequence)"))
    assert said == "first(a.who ORDER BY a.sequence, w.sequence) FILTER (WHERE ((a.who IS NOT NULL) AND (a.sequence IS NOT NULL)))"
    for row in build(tied[1], query.format(said), perturbed=True):
        assert row["v"] == first(present((one for one in tied[0] if one["subject"] == row["k"]), "who")).upper()


def test_a_tuple_orders_like_its_members(tied):
    query = "SELECT subject AS k, arg_max(who, (time, sequence)) AS v FROM moved GROUP BY subject"
    for row in build(tied[1], query, perturbed=True):
        assert row["v"] == last(present(by_time(one for one in tied[0] if one["subject"] == row["k"]), "who"))


def test_the_last_event_before_each_is_found_by_asof_as_advised(tied):
    rows, lake = tied
    query = "SELECT o.sequence AS k, w.sequence AS v FROM moved o ASOF LEFT JOIN {} ON o.subject = w.subject AND o.time > w.time"
    (said,) = advice(lake, query.format("moved w"))
    for row in build(lake, query.format(said), perturbed=True):
        own = rows[row["k"]]
        before = by_time(one for one in rows if one["subject"] == own["subject"] and one["time"] < own["time"])
        assert row["v"] == last(before, "sequence")


DECISIONS = [
    "sum(x)",
    "avg(x)",
    "max(x)",
    "stddev(x)",
    "round(x, 1)",
    "avg(time)",
    "corr(n, amount)",
    "count(DISTINCT x)",
    "median(x)",
    "quantile_cont(x, 0.5)",
    "skewness(n)",
    "kurtosis(amount)",
    "approx_top_k(who, 2)",
    "max(x::DECIMAL(9, 2))",
    "max(ln(n + 1))",
    "max(random())",
    "max(now())",
]


@pytest.mark.parametrize("expression", DECISIONS)
def test_where_nothing_keeps_the_meaning_no_call_is_suggested(plain, expression):
    query = f"SELECT subject AS k, {expression} AS v FROM moved GROUP BY subject"
    if expression == "round(x, 1)":
        query = "SELECT sequence AS k, round(x, 1) AS v FROM moved"
    for said in advice(plain[1], query):
        assert "sequence" not in said
        assert "(x)" not in said
        assert len(said) > 20  # a sentence that says what is to be decided


def test_a_query_with_parameters_is_advised_with_them():
    lake = lake_of(facts(ties=True))
    query = "SELECT subject AS k, first(who || $after ORDER BY time) FILTER (WHERE n > $least) AS v FROM moved GROUP BY subject"
    made = el.Projection.sql("q", query, key=["k"], parameters={"after": "!", "least": 2})
    with pytest.raises(InvalidProjectionError) as caught:
        lake.build(made)
    assert "write first((who || $after) ORDER BY time, sequence) FILTER (WHERE (n > $least))" in caught.value.message


def test_advice_for_several_places_makes_the_whole_query_exact(tied):
    query = """
        SELECT subject AS k, first(who ORDER BY time) AS a, last(who ORDER BY time DESC) AS b, avg(n) AS c, avg(amount) AS d
        FROM moved GROUP BY subject"""
    said = advice(tied[1], query)
    assert said == [
        "first(who ORDER BY time, sequence)",
        "last(who ORDER BY time DESC, sequence DESC)",
        "(CAST(sum(n) AS DOUBLE) / count(n))",
        "(CAST(sum(amount) AS DOUBLE) / count(amount))",
    ]
    parts = ", ".join(f"{one} AS v{place}" for place, one in enumerate(said))
    assert pl.DataFrame(build(tied[1], f"SELECT subject AS k, {parts} FROM moved GROUP BY subject")).height == 3
