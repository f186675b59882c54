"""What a refusal of a Python projection says to write is built: it is exact, and means what was asked."""

import math
import re
import statistics
from itertools import count

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError
from eventlake.exactness.on_polars import functions as polars_functions
from tests.support.advice_fixtures import by_time, close, facts, first, lake_of, last, present

NUMBERS = count()
"""Every function has a source of its own."""
WHO, N, AMOUNT = pl.col("who"), pl.col("n"), pl.col("amount")


@pytest.fixture(scope="module")
def tied():
    rows = facts(ties=True)
    return rows, lake_of(rows)


def build(lake, function, level="exact", key="k"):
    options = {"check": "perturb"} if level == "exact" else {}
    made = el.Projection(
        "p", "python", "f.py:run", {"f.py": str(next(NUMBERS))}, (key,), level, function=function
    )
    return lake.build(made, force=True, **options).polars().sort(key).rows(named=True)


def advice(lake, function, key="k"):
    with pytest.raises(InvalidProjectionError, match="declared exact and is not") as caught:
        build(lake, function, key=key)
    return [
        line.strip().removeprefix("write ")
        for line in caught.value.message.splitlines()
        if line.strip().startswith("write ")
    ]


def grouped(expression):
    return lambda snapshot: snapshot.table("moved").group_by(k="subject").agg(v=expression)


def selected(expression, *orders, **options):
    def run(snapshot):
        frame = snapshot.table("moved")
        return (frame.sort(*orders, **options) if orders else frame).select(
            k="sequence", v=expression
        )

    return run


def mean(name):
    return lambda rows: statistics.fmean(float(row[name]) for row in present(rows, name))


GROUPED = {
    "mean of decimals": (AMOUNT.mean(), mean("amount")),
    "mean of integers": (N.mean(), mean("n")),
    "mean of booleans": (
        (WHO == "a").mean(),
        lambda rows: statistics.fmean(row["who"] == "a" for row in present(rows, "who")),
    ),
    "sum of integers": (N.sum(), lambda rows: sum(row["n"] for row in present(rows, "n"))),
    "first": (WHO.first(), first),
    "last": (WHO.last(), last),
    "all": (WHO.implode(), lambda rows: [row.get("who") for row in rows]),
    "first by time": (WHO.sort_by("time").first(), lambda rows: first(by_time(rows))),
    "last by time": (WHO.sort_by("time").last(), lambda rows: last(by_time(rows))),
    "first by time, descending": (
        WHO.sort_by("time", descending=True).first(),
        lambda rows: last(by_time(rows)),
    ),
    "max_by time": (WHO.max_by("time"), lambda rows: last(by_time(rows))),
    "min_by time": (WHO.min_by("time"), lambda rows: first(by_time(rows))),
    "max_by a number": (WHO.max_by("n"), lambda rows: last(by_time(present(rows, "n"), "n"))),
    "last that is known": (WHO.drop_nulls().last(), lambda rows: last(present(rows, "who"))),
    "first of some": (
        WHO.filter(N > 4).first(),
        lambda rows: first([row for row in present(rows, "n") if row["n"] > 4]),
    ),
    "get of the latest": (WHO.get(pl.col("time").arg_max()), lambda rows: last(by_time(rows))),
    "join": (
        WHO.str.join("-", ignore_nulls=True),
        lambda rows: "-".join(row["who"] for row in present(rows, "who")),
    ),
    "std of integers": (
        N.std(),
        lambda rows: statistics.stdev(row["n"] for row in present(rows, "n")),
    ),
    "var of integers": (
        N.var(ddof=0),
        lambda rows: statistics.pvariance(row["n"] for row in present(rows, "n")),
    ),
    "mean of some": (
        N.filter(WHO == "a").mean(),
        lambda rows: statistics.fmean(row["n"] for row in present(rows, "n") if row["who"] == "a"),
    ),
    "sum of a product": (
        (N * 2).sum(),
        lambda rows: 2 * sum(row["n"] for row in present(rows, "n")),
    ),
    "mean of a condition": (
        pl.when(WHO == "a").then(1).otherwise(0).mean(),
        lambda rows: statistics.fmean(row.get("who") == "a" for row in rows),
    ),
    "min_by a number": (WHO.min_by("n"), lambda rows: first(by_time(present(rows, "n"), "n"))),
}


def written(said, name):
    """A suggestion as an expression: three dots stand for what the call is over, and what sorts is followed by what was."""
    assert "…" not in said
    made = eval(said, {"pl": pl})  # noqa: S307 - the suggestion is what is tested
    return (
        getattr(made, name.partition(" ")[0])() if re.search(r"sort_by\([^()]*\)$", said) else made
    )


@pytest.mark.parametrize("name", GROUPED)
def test_advice_for_an_aggregate_keeps_its_meaning_and_breaks_ties_by_sequence(tied, name):
    expression, oracle = GROUPED[name]
    (said,) = advice(tied[1], grouped(expression))
    for row in build(tied[1], grouped(written(said, name))):
        own = [one for one in tied[0] if one["subject"] == row["k"]]
        assert close(row["v"], oracle(own)), said
    plain = facts(ties=False)
    lake = lake_of(plain)
    natural, exact = (
        build(lake, grouped(one), level)
        for one, level in ((expression, "unproven"), (written(said, name), "exact"))
    )
    if name not in {"first", "last", "all", "last that is known", "first of some", "join"}:
        assert all(close(one["v"], other["v"]) for one, other in zip(exact, natural, strict=True))


def test_the_mean_of_a_decimal_keeps_its_cents():
    lake = lake_of(
        [{"sequence": n, "subject": "/a", "time": n, "amount": "0.75"} for n in range(4)]
    )
    (said,) = advice(lake, grouped(AMOUNT.mean()))
    assert said == 'pl.col("amount").sum().cast(pl.Float64) / pl.col("amount").count()'
    assert build(lake, grouped(written(said, "mean"))) == [{"k": "/a", "v": 0.75}]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            AMOUNT.cum_sum().over("subject", order_by="time"),
            'over(…, order_by=pl.struct("time", "sequence"))',
        ),
        (WHO.shift(1).over("subject"), 'over(…, order_by="sequence")'),
        (WHO.first().over("subject"), 'over(…, order_by="sequence")'),
    ],
)
def test_advice_for_a_window_ends_in_a_key(tied, expression, said):
    assert advice(tied[1], selected(expression)) == [said]


@pytest.mark.parametrize("descending", [False, True])
def test_a_running_sum_in_the_order_that_is_advised_is_the_one_by_time_and_sequence(
    tied, descending
):
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
        ([], False, 'sort("sequence").head(5)'),
        (["time"], False, 'sort("time", "sequence").head(5)'),
        (["time"], True, 'sort("time", "sequence", descending=True).head(5)'),
        (
            ["subject", "time"],
            [False, True],
            'sort("subject", "time", "sequence", descending=[False, True, True]).head(5)',
        ),
    ],
)
def test_advice_for_the_first_rows_keeps_the_order_that_was_asked_for(
    tied, orders, descending, said
):
    def run(snapshot, arguments=orders, direction=descending):
        frame = snapshot.table("moved").select("sequence", "subject", "time")
        return (
            (frame.sort(*arguments, descending=direction) if arguments else frame)
            .head(5)
            .select(k="sequence")
        )

    assert advice(tied[1], run) == [said]
    flags = [*descending, descending[-1]] if isinstance(descending, list) else descending
    found = build(tied[1], lambda snapshot: run(snapshot, [*orders, "sequence"], flags))
    expected = sorted(
        tied[0],
        key=lambda row: (row["time"], row["sequence"]) if orders else row["sequence"],
        reverse=descending is True,
    )
    if isinstance(descending, list):
        expected = sorted(tied[0], key=lambda row: (row["subject"], -row["time"], -row["sequence"]))
    assert [row["k"] for row in found] == sorted(row["sequence"] for row in expected[:5])


def test_advice_for_unique_keeps_the_row_that_was_asked_for(tied):
    def run(snapshot, *more, keep="last"):
        frame = (
            snapshot.table("moved")
            .sort("time", *more)
            .unique("subject", keep=keep, maintain_order=True)
        )
        return frame.select(k="subject", v="sequence")

    for keep, pick in (("first", first), ("last", last)):
        (said,) = advice(tied[1], lambda snapshot, keep=keep: run(snapshot, keep=keep))
        assert (
            said
            == f'sort("time", "sequence").unique(subset=["subject"], keep="{keep}", maintain_order=True)'
        )
        for row in build(tied[1], lambda snapshot, keep=keep: run(snapshot, "sequence", keep=keep)):
            assert row["v"] == pick(
                by_time(one for one in tied[0] if one["subject"] == row["k"]), "sequence"
            )


STEPS = {
    'sort("n", "sequence", descending=True, nulls_last=True).head(5)': (
        lambda frame: frame.sort("n", descending=True, nulls_last=True).head(5),
        lambda rows: by_time(present(rows, "n"), "n")[-5:],
    ),
    'sort("n", "sequence").tail(4)': (
        lambda frame: frame.sort("n").tail(4),
        lambda rows: by_time(present(rows, "n"), "n")[-4:],
    ),
    'sort("n", "sequence").head(3)': (
        lambda frame: frame.sort("n").head(3),
        lambda rows: [row for row in rows if row.get("n") is None][:3],
    ),
    'sort("time", "sequence").slice(2, 3)': (
        lambda frame: frame.sort("time").slice(2, 3),
        lambda rows: by_time(rows)[2:5],
    ),
    'sort("sequence").with_row_index("place")': (
        lambda frame: frame.with_row_index("place"),
        lambda rows: rows,
    ),
    'sort("subject", "sequence").unique(subset=["subject"], keep="first")': (
        lambda frame: frame.sort("subject").unique("subject", keep="first"),
        lambda rows: rows[:3],
    ),
}
TOP = {
    'sort("n", "sequence", descending=True, nulls_last=True).head(5)': lambda frame: frame.top_k(
        5, by="n"
    ),
    'sort("n", "sequence", nulls_last=True).head(5)': lambda frame: frame.bottom_k(5, by="n"),
}


@pytest.mark.parametrize("said", STEPS)
def test_advice_for_a_step_that_counts_rows_is_run_as_it_is_written(tied, said):
    step, oracle = STEPS[said]
    assert advice(
        tied[1], lambda snapshot: step(snapshot.table("moved").drop("tags")).select(k="sequence")
    ) == [said]
    sorted_first = said.partition(".")[0]

    def run(snapshot):
        frame = snapshot.table("moved").drop("tags")
        return eval(f"frame.{said}", {"frame": frame}).select(k="sequence")  # noqa: S307 - the suggestion is what is tested

    assert sorted_first.startswith("sort(")
    assert [row["k"] for row in build(tied[1], run)] == sorted(
        row["sequence"] for row in oracle(tied[0])
    )


@pytest.mark.parametrize("said", TOP)
def test_advice_for_the_top_rows_leaves_nulls_behind(tied, said):
    assert advice(
        tied[1], lambda snapshot: TOP[said](snapshot.table("moved")).select(k="sequence")
    ) == [said]
    found = build(
        tied[1],
        lambda snapshot: eval(f"frame.{said}", {"frame": snapshot.table("moved")}).select(  # noqa: S307
            k="sequence"
        ),
    )
    ordered = by_time(present(tied[0], "n"), "n")
    assert [row["k"] for row in found] == sorted(
        row["sequence"] for row in (ordered[-5:] if "descending" in said else ordered[:5])
    )


def test_a_step_that_is_refused_draws_no_advice_about_what_is_around_it(tied):
    for expression in (
        N.value_counts(),
        WHO.mode().first(),
        pl.corr("n", "amount"),
        WHO.approx_n_unique(),
        WHO.top_k_by("time", 2),
    ):
        assert len(advice(tied[1], grouped(expression))) == 1
    (said,) = advice(tied[1], selected(WHO.shift(1).over("subject", order_by=["time", "sequence"])))
    assert said == "over(…, order_by=pl.struct(…)) of the same columns"
    order = pl.struct("time", "sequence")
    for row in build(tied[1], selected(WHO.shift(1).over("subject", order_by=order))):
        own = by_time([one for one in tied[0] if one["subject"] == tied[0][row["k"]]["subject"]])
        assert row["v"] == last(own[: own.index(tied[0][row["k"]])])


@pytest.mark.parametrize(
    "expression",
    [WHO.unique(maintain_order=True), WHO.head(2).first(), pl.col("tags").explode().first()],
)
def test_nothing_is_suggested_that_does_not_run(tied, expression):
    for said in advice(tied[1], grouped(expression)):
        assert "…" not in said
        if said.startswith("pl."):
            assert build(tied[1], grouped(eval(said, {"pl": pl})))  # noqa: S307 - the suggestion is what is tested


def test_whole_numbers_to_a_power_and_exploded_rows_in_order_are_exact(tied):
    for row in build(tied[1], selected(N**2)):
        n = tied[0][row["k"]].get("n")
        assert row["v"] == (None if n is None else n**2)
    places = build(
        tied[1],
        lambda snapshot: (
            snapshot.table("moved")
            .sort("sequence")
            .explode("tags")
            .with_row_index("k")
            .select("k", "tags")
        ),
    )
    assert [row["tags"] for row in places] == [tag for row in tied[0] for tag in row["tags"]]


def test_advice_for_the_average_rank_has_its_value(tied):
    (said,) = advice(tied[1], selected(N.rank("average")))
    exact = build(tied[1], selected(eval(said, {"pl": pl})))  # noqa: S307 - the suggestion is what is tested
    assert exact == build(tied[1], selected(N.rank("average")), "unproven")


def test_advice_for_asof_joins_the_last_event_of_an_instant(tied):
    def run(snapshot, *, advised=False):
        frame = snapshot.table("moved")
        right = frame.select("subject", "time", "sequence")
        right = (
            right.group_by("subject", "time").agg(pl.all().max_by("sequence")) if advised else right
        )
        return frame.sort("time").join_asof(right.sort("time"), on="time", by="subject", allow_exact_matches=False).select(
            k="sequence", v="sequence_right"
        )  # fmt: skip

    assert advice(tied[1], run) == [
        'one row per key and instant on the right side: group_by("time", "subject").agg(pl.all().max_by("sequence"))'
    ]
    for row in build(tied[1], lambda snapshot: run(snapshot, advised=True)):
        own = tied[0][row["k"]]
        before = by_time(
            one for one in tied[0] if one["subject"] == own["subject"] and one["time"] < own["time"]
        )
        assert row["v"] == last(before, "sequence")


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("x").mean(),
        pl.col("x").sum(),
        N.std(),
        N.mode(),
        pl.col("x").max(),
        pl.col("time").mean(),
    ],
)
def test_where_nothing_keeps_the_meaning_no_expression_is_suggested(tied, expression):
    for said in advice(tied[1], grouped(expression)):
        assert not said.startswith("pl.col")
        assert not math.isclose(len(said), 0)


PLACED = {
    "backward_fill": WHO.backward_fill(),
    "forward_fill": WHO.forward_fill(),
    "cum_count": WHO.cum_count(),
    "cum_max": N.cum_max(),
    "cum_min": N.cum_min(),
    "cum_sum": AMOUNT.cum_sum(),
    "diff": N.diff(),
    "int_range": pl.int_range(pl.len()),
    "is_first_distinct": WHO.is_first_distinct(),
    "is_last_distinct": WHO.is_last_distinct(),
    "rle_id": WHO.rle_id(),
    "reverse": WHO.reverse(),
    "shift": WHO.shift(2),
}


@pytest.mark.parametrize("name", PLACED)
def test_what_depends_on_the_place_of_rows_is_told_an_order_in_which_the_sequence_breaks_ties(
    tied, name
):
    assert PLACED.keys() == polars_functions.POSITIONAL
    columns = ["sequence", "time", "who", "n", "amount"]

    def run(snapshot, *orders):
        return snapshot.table("moved").select(columns).sort(*orders).with_columns(v=PLACED[name])

    assert 'sort("time", "sequence") of the frame right before' in advice(
        tied[1], lambda snapshot: run(snapshot, "time"), "sequence"
    )
    if name == "reverse":
        return  # beside the rows it has no meaning
    found = build(tied[1], lambda snapshot: run(snapshot, "time", "sequence"), key="sequence")
    ordered = [{column: row.get(column) for column in columns} for row in by_time(tied[0])]
    rows = pl.DataFrame(ordered, infer_schema_length=None).with_columns(
        pl.col("amount").cast(pl.Decimal(18, 2))
    )
    assert [row["v"] for row in found] == rows.with_columns(v=PLACED[name]).sort("sequence")[
        "v"
    ].to_list()
