"""What a refusal of a Python projection says to write is built: it is exact, and means what was asked."""

import math
import statistics
from itertools import count

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError
from tests.integration.test_advice import by_time, close, facts, first, lake_of, last, present

NUMBERS = count()
"""Every function has a source of its own."""
WHO, N, AMOUNT = pl.col("who"), pl.col("n"), pl.col("amount")


@pytest.fixture(scope="module")
def tied():
    rows = facts(ties=True)
    return rows, lake_of(rows)


def build(lake, function, level="exact", key="k"):
    options = {"check": "perturb"} if level == "exact" else {}
    made = el.Projection("p", "python", "f.py:run", {"f.py": str(next(NUMBERS))}, (key,), level, function=function)
    return lake.build(made, force=True, **options).polars().sort(key).rows(named=True)


def advice(lake, function, key="k"):
    with pytest.raises(InvalidProjectionError, match="declared exact and is not") as caught:
        build(lake, function, key=key)
    return [line.strip().removeprefix("write ") for line in caught.value.message.splitlines() if line.strip().startswith("write ")]


def grouped(expression):
    return lambda snapshot: snapshot.table("moved").group_by(k="subject").agg(v=expression)


def selected(expression, *orders, **options):
    def run(snapshot):
        frame = snapshot.table("moved")
        return (frame.sort(*orders, **options) if orders else frame).select(k="sequence", v=expression)

    return run


def mean(name):
    return lambda rows: statistics.fmean(float(row[name]) for row in present(rows, name))


GROUPED = {
    "mean of decimals": (AMOUNT.mean(), mean("amount")),
    "mean of integers": (N.mean(), mean("n")),
    "mean of booleans": ((WHO == "a").mean(), lambda rows: statistics.fmean(row["who"] == "a" for row in present(rows, "who"))),
    "sum of integers": (N.sum(), lambda rows: sum(row["n"] for row in present(rows, "n"))),
    "first": (WHO.first(), first),
    "last": (WHO.last(), last),
    "all": (WHO.implode(), lambda rows: [row.get("who") for row in rows]),
    "first by time": (WHO.sort_by("time").first(), lambda rows: first(by_time(rows))),
    "last by time": (WHO.sort_by("time").last(), lambda rows: last(by_time(rows))),
    "first by time, descending": (WHO.sort_by("time", descending=True).first(), lambda rows: last(by_time(rows))),
    "max_by time": (WHO.max_by("time"), lambda rows: last(by_time(rows))),
    "min_by time": (WHO.min_by("time"), lambda rows: first(by_time(rows))),
    "max_by a number": (WHO.max_by("n"), lambda rows: last(by_time(present(rows, "n"), "n"))),
    "min_by a number": (WHO.min_by("n"), lambda rows: first(by_time(present(rows, "n"), "n"))),
}


def written(said, name):
    """A suggestion as an expression: three dots stand for what the call is over, and what sorts is followed by what was."""
    made = eval(said.replace("…", "pl.col('who').eq('a')"), {"pl": pl})  # noqa: S307 - the suggestion is what is tested
    return getattr(made, name.partition(" ")[0])() if "sort_by" in said and not said.endswith("()") else made


@pytest.mark.parametrize("name", GROUPED)
def test_advice_for_an_aggregate_keeps_its_meaning_and_breaks_ties_by_sequence(tied, name):
    expression, oracle = GROUPED[name]
    (said,) = advice(tied[1], grouped(expression))
    for row in build(tied[1], grouped(written(said, name))):
        own = [one for one in tied[0] if one["subject"] == row["k"]]
        assert close(row["v"], oracle(own)), said
    plain = facts(ties=False)
    lake = lake_of(plain)
    natural, exact = (build(lake, grouped(one), level) for one, level in ((expression, "unproven"), (written(said, name), "exact")))
    if name not in {"first", "last", "all"}:
        assert all(close(one["v"], other["v"]) for one, other in zip(exact, natural, strict=True))


def test_the_mean_of_a_decimal_keeps_its_cents():
    lake = lake_of([{"sequence": n, "subject": "/a", "time": n, "amount": "0.75"} for n in range(4)])
    (said,) = advice(lake, grouped(AMOUNT.mean()))
    assert said == 'pl.col("amount").sum().cast(pl.Float64) / pl.col("amount").count()'
    assert build(lake, grouped(written(said, "mean"))) == [{"k": "/a", "v": 0.75}]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (AMOUNT.cum_sum().over("subject", order_by="time"), 'over(…, order_by=pl.struct("time", "sequence"))'),
        (WHO.shift(1).over("subject"), 'over(…, order_by="sequence")'),
        (WHO.first().over("subject"), 'over(…, order_by="sequence")'),
    ],
)
def test_advice_for_a_window_ends_in_a_key(tied, expression, said):
    assert advice(tied[1], selected(expression)) == [said]


@pytest.mark.parametrize("descending", [False, True])
def test_a_running_sum_in_the_order_that_is_advised_is_the_one_by_time_and_sequence(tied, descending):
    inner, order = AMOUNT.cum_sum(), pl.struct("time", "sequence")
    found = build(tied[1], selected(inner.over("subject", order_by=order, descending=descending)))
    for subject in ("/s/0", "/s/1", "/s/2"):
        own = by_time([row for row in tied[0] if row["subject"] == subject])
        total = 0
        for row in reversed(own) if descending else own:
            total += row["amount"]
            assert found[row["sequence"]]["v"] == total


@pytest.mark.parametrize(
    ("orders", "descending", "said"),
    [
        ([], False, 'sort("sequence") right before'),
        (["time"], False, 'sort("time", "sequence") right before'),
        (["time"], True, 'sort("time", "sequence", descending=True) right before'),
        (["subject", "time"], [False, True], 'sort("subject", "time", "sequence", descending=[False, True, True]) right before'),
    ],
)
def test_advice_for_the_first_rows_keeps_the_order_that_was_asked_for(tied, orders, descending, said):
    def run(snapshot, arguments=orders, direction=descending):
        frame = snapshot.table("moved").select("sequence", "subject", "time")
        return (frame.sort(*arguments, descending=direction) if arguments else frame).head(5).select(k="sequence")

    assert advice(tied[1], run) == [said]
    flags = [*descending, descending[-1]] if isinstance(descending, list) else descending
    found = build(tied[1], lambda snapshot: run(snapshot, [*orders, "sequence"], flags))
    expected = sorted(tied[0], key=lambda row: (row["time"], row["sequence"]) if orders else row["sequence"], reverse=descending is True)
    if isinstance(descending, list):
        expected = sorted(tied[0], key=lambda row: (row["subject"], -row["time"], -row["sequence"]))
    assert [row["k"] for row in found] == sorted(row["sequence"] for row in expected[:5])


def test_advice_for_unique_keeps_the_row_that_was_asked_for(tied):
    def run(snapshot, *more, keep="last"):
        frame = snapshot.table("moved").sort("time", *more).unique("subject", keep=keep, maintain_order=True)
        return frame.select(k="subject", v="sequence")

    for keep, pick in (("first", first), ("last", last)):
        (said,) = advice(tied[1], lambda snapshot, keep=keep: run(snapshot, keep=keep))
        assert said == f'sort("time", "sequence") and unique(…, keep="{keep}")'
        for row in build(tied[1], lambda snapshot, keep=keep: run(snapshot, "sequence", keep=keep)):
            assert row["v"] == pick(by_time(one for one in tied[0] if one["subject"] == row["k"]), "sequence")


def test_advice_for_the_average_rank_has_its_value(tied):
    (said,) = advice(tied[1], selected(N.rank("average")))
    exact = build(tied[1], selected(eval(said, {"pl": pl})))  # noqa: S307 - the suggestion is what is tested
    assert exact == build(tied[1], selected(N.rank("average")), "unproven")


def test_advice_for_asof_joins_the_last_event_of_an_instant(tied):
    def run(snapshot, *, advised=False):
        frame = snapshot.table("moved")
        right = frame.select("subject", "time", "sequence")
        right = right.group_by("subject", "time").agg(pl.all().max_by("sequence")) if advised else right
        return frame.sort("time").join_asof(right.sort("time"), on="time", by="subject", allow_exact_matches=False).select(
            k="sequence", v="sequence_right"
        )  # fmt: skip

    assert advice(tied[1], run) == [
        'one row per key and instant on the right side: group_by("time", "subject").agg(pl.all().max_by("sequence"))'
    ]
    for row in build(tied[1], lambda snapshot: run(snapshot, advised=True)):
        own = tied[0][row["k"]]
        before = by_time(one for one in tied[0] if one["subject"] == own["subject"] and one["time"] < own["time"])
        assert row["v"] == last(before, "sequence")


@pytest.mark.parametrize("expression", [pl.col("x").mean(), pl.col("x").sum(), N.std(), N.mode(), pl.col("x").max(), pl.col("time").mean()])
def test_where_nothing_keeps_the_meaning_no_expression_is_suggested(tied, expression):
    for said in advice(tied[1], grouped(expression)):
        assert not said.startswith("pl.col")
        assert not math.isclose(len(said), 0)
