"""Which Python projections are accepted as exact, and which are refused with what to write instead."""

import contextlib
import random
from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from itertools import count

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError
from eventlake.exactness.on_polars.functions import FRAMES
from eventlake.projections.on_polars import exact as polars_exact
from eventlake.projections.on_polars import run as polars_runner
from eventlake.projections.projection import Projection
from eventlake.storage import MemoryStorage
from tests.support.dataset_fixtures import PAYMENT

SPINE = pl.DataFrame(
    {"loan": [f"/loan/{n}" for n in range(4)], "cutoff": ["2026-01-01T06:00:00Z"] * 4}
).with_columns(pl.col("cutoff").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"))
WIDE = pl.col("n").cast(pl.Int128)
TOTAL = WIDE.sum().cast(pl.Int64)

NUMBERS = count()  # every function is a projection of its own


def payment(number, kind="pay", **attributes):
    data = {
        "amount": number * 7 % 5 + 0.5,
        "n": number % 3,
        "x": number / 7,
        "tags": [f"t{number % 2}", "u"],
    }
    return {
        "id": f"{kind}{number}",
        "source": "s",
        "type": kind,
        "subject": f"/loan/{number % 3}",
        "time": f"2026-01-01T{number % 5:02d}:00:00Z",
        "data": data,
        **attributes,
    }


@pytest.fixture(scope="module", params=["memory", "folder"])
def lake(request, tmp_path_factory):
    where = (
        MemoryStorage() if request.param == "memory" else tmp_path_factory.mktemp("exact") / "lake"
    )
    lake = el.create(where, "o")
    for name in ("pay", "due"):
        lake.register(name, PAYMENT)
    for first in (0, 12):
        lake.append(
            [
                payment(number, kind)
                for kind in ("pay", "due")
                for number in range(first, first + 12)
            ]
        )
    lake.append([payment(99, corrects="pay3", subject="/loan/0")])
    return lake


def made(function, key, level="exact"):
    return Projection(
        "p",
        "python",
        "p.py:p",
        {"p.py": f"def p(snapshot): ...  # {next(NUMBERS)}"},
        tuple(key),
        level=level,
        function=function,
    )


def pay(snapshot, **options):
    return snapshot.table("pay", **options)


def newest(snapshot, name="pay"):
    return (
        snapshot.table(name)
        .group_by("subject", "time")
        .agg(pl.col("amount").max_by("sequence").alias("newest"))
    )


EXACT = {
    "sums, counts and extremes per subject": (
        lambda s: (
            pay(s)
            .group_by("subject")
            .agg(
                pl.col("amount").sum(),
                TOTAL.alias("t"),
                pl.len(),
                pl.col("x").count(),
                pl.col("n").min(),
                (pl.col("n") > 1).sum().alias("many"),
                pl.col("n").n_unique().alias("u"),
                pl.col("n").median().alias("m"),
                pl.col("n").quantile(0.9, "lower").alias("q"),
                (pl.col("n") > 0).any().alias("any"),
                pl.col("x").null_count().alias("nulls"),
            )
        ),
        ["subject"],
    ),
    "the last by sequence": (
        lambda s: (
            pay(s)
            .group_by("subject")
            .agg(
                pl.col("amount").sort_by("sequence").last(),
                pl.col("x").sort_by("time", "sequence").first(),
                pl.col("n").max_by("sequence"),
            )
        ),
        ["subject"],
    ),
    "the first of those that a condition leaves": (
        lambda s: (
            pay(s)
            .group_by("subject")
            .agg(
                pl.col("amount")
                .filter(pl.col("n") > 0)
                .sort_by(pl.col("sequence").filter(pl.col("n") > 0))
                .first()
            )
        ),
        ["subject"],
    ),
    "first and lists of sorted rows": (
        lambda s: (
            pay(s)
            .sort("time", "sequence")
            .group_by("subject")
            .agg(pl.col("x").first(), pl.col("n").alias("l"), pl.col("n").head(2).alias("h"))
        ),
        ["subject"],
    ),
    "distinct values, sorted": (
        lambda s: (
            pay(s)
            .group_by("subject")
            .agg(
                pl.col("n").unique().sort().alias("l"),
                WIDE.top_k(3).sum().cast(pl.Int64).alias("t"),
            )
        ),
        ["subject"],
    ),
    "windows by sequence": (
        lambda s: pay(s).select(
            "sequence",
            pl.col("amount").cum_sum().over("subject", order_by="sequence").alias("c"),
            pl.col("x").shift(1).over("subject", order_by="sequence").alias("p"),
            pl.col("n").max().over("subject").alias("m"),
            pl.col("n").rank("dense").over("subject").alias("r"),
            pl.int_range(pl.len())
            .over("subject", order_by=pl.struct("time", "sequence"))
            .alias("i"),
        ),
        ["sequence"],
    ),
    "running values of sorted rows": (
        lambda s: (
            pay(s)
            .sort("sequence")
            .with_columns(
                pl.col("amount").cum_sum(),
                pl.col("n").diff().alias("d"),
                pl.col("x").forward_fill(),
            )
        ),
        ["sequence"],
    ),
    "rows by their number": (
        lambda s: pay(s).sort("time", "sequence").with_row_index("k").select("k", "n"),
        ["k"],
    ),
    "the top of a total order": (
        lambda s: pay(s).sort("n", "sequence", descending=True).head(5),
        ["sequence"],
    ),
    "the first of every subject": (
        lambda s: pay(s).sort("sequence").unique("subject", keep="first"),
        ["subject"],
    ),
    "distinct rows": (lambda s: pay(s).select("subject", "n").unique(), ["subject", "n"]),
    "as of, after one row an instant": (
        lambda s: (
            s.table("due")
            .sort("time")
            .join_asof(newest(s).sort("time"), on="time", by="subject")
            .select("sequence", "newest")
        ),
        ["sequence"],
    ),
    "a fan-out with the whole key": (
        lambda s: (
            pay(s)
            .join(s.table("due"), on="subject")
            .group_by("subject")
            .agg(pl.col("n").sort_by("sequence", "sequence_right").first())
        ),
        ["subject"],
    ),
    "a join to one row a key keeps the other side's key": (
        lambda s: (
            pay(s)
            .join(
                s.table("due").group_by("subject").agg(pl.col("amount").sum().alias("all")),
                on="subject",
                how="left",
            )
            .sort("sequence")
            .with_columns(pl.col("all").cum_sum())
        ),
        ["sequence"],
    ),
    "who never paid": (
        lambda s: (
            s.table("due").join(pay(s), on=["subject", "sequence"], how="anti").select("sequence")
        ),
        ["sequence"],
    ),
    "corrections, and events of one subject": (
        lambda s: pay(s, corrections="latest", where=pl.col("n") >= 0).filter(
            pl.col("subject") == "/loan/1"
        ),
        ["sequence"],
    ),
    "known at an instant": (
        lambda s: pay(s, known_at="2100-01-01T00:00:00Z").select("sequence", "n"),
        ["sequence"],
    ),
    "JSON as text": (
        lambda s: s.scan(types="pay").select(
            "sequence", pl.col("data").str.json_path_match("$.n").cast(pl.Int64).alias("n")
        ),
        ["sequence"],
    ),
    "a mean and a deviation of exact sums": (
        lambda s: (
            pay(s)
            .group_by("subject")
            .agg(
                WIDE.sum().alias("s"),
                (WIDE * WIDE).sum().alias("q"),
                pl.col("n").count().alias("c"),
            )
            .select(
                "subject",
                (pl.col("s").cast(pl.Float64) / pl.col("c")).alias("mean"),
                (
                    pl.col("q").cast(pl.Float64) / pl.col("c")
                    - (pl.col("s").cast(pl.Float64) / pl.col("c"))
                    * (pl.col("s").cast(pl.Float64) / pl.col("c"))
                )
                .abs()
                .sqrt()
                .alias("sd"),
            )
        ),
        ["subject"],
    ),
    "a float handed on": (
        lambda s: (
            pay(s)
            .filter(pl.col("x") > 0.5)
            .select(
                "sequence",
                "x",
                (pl.col("x") * 2 + 1).alias("y"),
                pl.struct("x").alias("s"),
                pl.coalesce("x", 0.0).alias("c"),
            )
        ),
        ["sequence"],
    ),
    "dates, text, lists and conditions": (
        lambda s: pay(s).select(
            "sequence",
            pl.col("time").dt.truncate("1mo").alias("m"),
            (pl.col("recorded_at") - pl.col("time")).dt.total_days().alias("d"),
            pl.col("subject").str.split("/").list.get(1).alias("t"),
            pl.col("tags").list.sort().list.join(",").alias("l"),
            pl.when(pl.col("n").is_in([1, 2])).then(1).otherwise(0).alias("w"),
        ),
        ["sequence"],
    ),
    "rows of lists": (
        lambda s: pay(s).explode("tags").group_by("subject", "tags").agg(pl.len()),
        ["subject", "tags"],
    ),
    "two types beneath each other": (
        lambda s: pl.concat([pay(s), s.table("due")]).select("sequence", "n"),
        ["sequence"],
    ),
    "one row": (lambda s: pay(s).select(TOTAL.alias("s"), pl.len().alias("c")).head(1), ["c"]),
    "rows of the greatest value": (
        lambda s: pay(s).filter(pl.col("sequence") == pl.col("sequence").max().over("subject")),
        ["sequence"],
    ),
    "renamed, dropped, cached": (
        lambda s: (
            pay(s)
            .rename({"n": "m"})
            .drop("x")
            .cache()
            .with_columns(k=pl.col("sequence"))
            .sort("k")
            .head(3)
        ),
        ["k"],
    ),
    "SQL over frames": (
        lambda s: pay(s).sql("SELECT subject, max(n) AS m FROM self GROUP BY subject"),
        ["subject"],
    ),
}


@pytest.mark.parametrize(("function", "key"), EXACT.values(), ids=EXACT.keys())
def test_what_is_exact_is_accepted_and_comes_out_the_same_in_another_order(lake, function, key):
    dataset = lake.build(made(function, key), check="perturb")
    assert dataset.manifest.recipe.check == "allow-list"
    assert dataset.manifest.rows


def keyed(snapshot, name="pay"):
    return snapshot.table(name).select("sequence", "subject", "time", "n", "tags")


FRAME_CALLS = {
    "select": lambda s: pay(s).select("sequence", "n"),
    "with_columns": lambda s: keyed(s).with_columns(more=pl.col("n") + 1),
    "filter": lambda s: keyed(s).filter(pl.col("n") > 0),
    "group_by": lambda s: keyed(s).group_by("sequence").agg(pl.col("n").max()),
    "join": lambda s: keyed(s).join(pay(s).select("sequence", "amount"), on="sequence"),
    "join_asof": lambda s: (
        keyed(s)
        .sort("sequence")
        .join_asof(pay(s).select("sequence", m="n").sort("sequence"), on="sequence")
    ),
    "sort": lambda s: keyed(s).sort("sequence"),
    "slice": lambda s: keyed(s).sort("sequence").slice(1, 3),
    "head": lambda s: keyed(s).sort("sequence").head(3),
    "tail": lambda s: keyed(s).sort("sequence").tail(3),
    "unique": lambda s: pay(s).select("sequence", "subject").unique(),
    "concat": lambda s: pl.concat([keyed(s), keyed(s, "due")]),
    "explode": lambda s: keyed(s).select("sequence", "tags").explode("tags").unique(),
    "unpivot": lambda s: pay(s).select("sequence", "n").unpivot(["n"], index="sequence"),
    "unnest": lambda s: pay(s).select("sequence", both=pl.struct("n", "x")).unnest("both"),
    "with_row_index": lambda s: keyed(s).sort("sequence").with_row_index("place"),
    "cache": lambda s: keyed(s).cache(),
}


@pytest.mark.parametrize("method", sorted(FRAMES))
def test_every_method_of_frames_that_is_listed_is_accepted_by_the_check(lake, method):
    key = ["sequence", "tags"] if method == "explode" else ["sequence"]
    dataset = lake.build(made(FRAME_CALLS[method], key), check="perturb")
    assert dataset.manifest.recipe.check == "allow-list"
    assert dataset.manifest.rows


def test_a_spine_is_read_by_its_row(lake):
    def features(snapshot, spine):
        seen = spine.join(snapshot.table("pay"), left_on="loan", right_on="subject").filter(
            pl.col("time") < pl.col("cutoff")
        )
        last = seen.group_by("spine_row").agg(pl.col("amount").sort_by("sequence").last(), pl.len())
        return spine.join(last, on="spine_row", how="left")

    assert (
        lake.build(
            made(features, ["spine_row"]), spine=SPINE, check="perturb"
        ).manifest.recipe.check
        == "allow-list"
    )


def over(frame):
    return lambda snapshot: frame(pay(snapshot))


def grouped(*aggregates):
    return lambda snapshot: pay(snapshot).group_by("subject").agg(*aggregates)


def columns(*expressions):
    return lambda snapshot: pay(snapshot).select(
        "sequence", *(one.alias(f"c{place}") for place, one in enumerate(expressions))
    )


N, X, AMOUNT = pl.col("n"), pl.col("x"), pl.col("amount")
INEXACT = [
    (grouped(X.sum()), r"sum\(\): of a float", "Decimal"),
    (grouped(X.cast(pl.Float32).sum()), r"sum\(\): of a float", "Decimal"),
    (grouped((X + AMOUNT.cast(pl.Float64)).sum()), r"sum\(\): of a float", "Decimal"),
    (
        grouped(X.cast(pl.Decimal(18, 2)).sum()),
        r"cast\(\): a float becomes Decimal",
        "Decimal from the beginning",
    ),
    (grouped((X * 100).cast(pl.Int64).max()), r"cast\(\): a float becomes Int64", "Decimal"),
    (
        grouped(N.sum()),
        r"sum\(\): of Int64: a sum that does not fit wraps around",
        r"cast(pl.Int128).sum()",
    ),
    (columns(N.sum().over("subject")), r"sum\(\): of Int64", "Int128"),
    (grouped(N.mean()), r"mean\(\)", "count()"),
    (grouped(AMOUNT.mean()), r"mean\(\)", "count()"),
    (grouped(N.std(), N.var().alias("v")), r"std\(\)", "sqrt()"),
    (grouped(X.min()), r"min\(\): of a float: 0\.0 and -0\.0", "Decimal"),
    (grouped(X.median()), r"median\(\): of a float", "Decimal"),
    (grouped(X.n_unique()), r"n_unique\(\): of a float", "Decimal"),
    (grouped(pl.struct("x", "n").n_unique()), r"n_unique\(\): of a float", ""),
    (grouped(N.quantile(0.5, "linear")), r"quantile\(\): between two values", "lower"),
    (grouped(N.first()), r"first\(\): in no total order", "sequence"),
    (grouped(N.last()), r"last\(\): in no total order", "sequence"),
    (grouped(N.get(0)), r"get\(\): in no total order", "sequence"),
    (grouped(N.head(1)), r"head\(\), tail\(\), slice\(\): in no total order", "sequence"),
    (grouped(N), r"implode\(\): in no total order", "sort_by"),
    (grouped(N.implode().list.sort()), r"implode\(\): in no total order", "sort"),
    (grouped(N.unique()), r"implode\(\): in no total order", "sort"),
    (
        grouped(N.sort_by("time").first()),
        r"sort_by\(\): by a value that two rows can share",
        "sequence",
    ),
    (grouped(N.max_by("time")), r"max_by\(\): by a value that two rows can share", "sequence"),
    (grouped(N.max_by("x")), r"max_by\(\): by a float", ""),
    (grouped(N.arg_max()), r"arg_max\(\): a position among rows", "max_by"),
    (grouped(N.mode()), r"mode\(\)", "frequent"),
    (over(lambda f: f.select(N.value_counts())), r"value_counts\(\)", "group_by"),
    (grouped(pl.corr("n", "x")), r"corr\(\)", "sqrt()"),
    (grouped(N.product(), N.entropy().alias("e")), r"product\(\)", ""),
    (grouped(N.sample(1)), r"sample\(\): it is another value", "sequence % 10"),
    (columns(N.shuffle()), r"shuffle\(\): it is another value", ""),
    (columns(N.hash()), r"hash\(\): the engine's hash changes", ""),
    (columns(N.rank("random")), r"rank\(\): random", "dense"),
    (columns(N.rank("ordinal")), r"rank\(\): ordinal", "dense"),
    (columns(X.rank("dense")), r"rank\(\): of a float", ""),
    (columns(AMOUNT.cum_sum()), r"cum_sum\(\): in no total order", "sequence"),
    (columns(AMOUNT.cum_sum().over("subject")), r"cum_sum\(\): in no total order", "sequence"),
    (
        columns(AMOUNT.cum_sum().over("subject", order_by="time")),
        r"cum_sum\(\): in no total order",
        "sequence",
    ),
    (columns(X.cum_sum().over("subject", order_by="sequence")), r"cum_sum\(\): of a float", ""),
    (columns(N.cum_sum().over("subject", order_by="sequence")), r"cum_sum\(\): of Int64", "Int128"),
    (columns(N.first().over("subject")), r"first\(\): in no total order", "sequence"),
    (columns(N.max().over("x")), r"over\(\): by a float", "Decimal"),
    (columns(N.sort().over("subject")), r"over\(\): values that do not belong", ""),
    (columns(N.shift(1)), r"shift\(\): in no total order", "sequence"),
    (columns(N.forward_fill()), r"forward_fill\(\): in no total order", "sequence"),
    (columns(N.fill_null(strategy="mean")), r"fill_null_mean\(\)", ""),
    (columns(pl.int_range(pl.len())), r"int_range\(\): in no total order", "sequence"),
    (columns(N.interpolate()), r"interpolate\(\)", "forward_fill"),
    (columns(X.ewm_mean(alpha=0.5)), r"ewm\.mean\(\)", "Int128"),
    (columns(N.rolling_sum(2)), r"rolling\.sum\(\)", ""),
    (columns(N.sum().rolling("time", period="1d")), "rolling", ""),
    (columns(X.log(), X.exp()), r"log\(\): the maths library", ""),
    (columns(X.round(2)), r"round\(\): of a float", ""),
    (columns(X // 1), r"//: of a float", ""),
    (columns(N.sort()), r"select\(\): columns that are each in an order of their own", ""),
    (columns(N.reverse()), r"reverse\(\): in no total order", ""),
    (columns(N.filter(N > 1)), r"select\(\): columns of different rows", "filter()"),
    (
        columns(N.filter(N > 1) + N.filter(N > 0)),
        r"\+: of values that do not belong to the same rows",
        "",
    ),
    (columns(X.is_in([1.0])), r"is_in\(\): of a float", ""),
    (columns(pl.lit(pl.Series([1])).first()), "a Series: values from elsewhere", "spine"),
    (columns(N.cast(pl.String).cast(pl.Categorical)), "Categorical: a type", "Enum"),
    (
        columns(pl.col("subject").cast(pl.Date, strict=False)),
        r"cast\(\): text becomes a time",
        "str.to_date",
    ),
    (
        columns(pl.col("subject").str.to_date(strict=False)),
        r"str\.to_date\(\): a format that is guessed",
        "format",
    ),
    (
        columns(N.map_batches(lambda v: v, return_dtype=pl.Int64)),
        r"map_batches\(\), map_elements\(\)",
        "fixed",
    ),
    (
        columns(N.map_elements(lambda v: v, return_dtype=pl.Int64)),
        r"map_batches\(\), map_elements\(\)",
        "fixed",
    ),
    (columns(pl.col("tags").list.eval(pl.element().first())), r"list\.eval", "fixed"),
    (
        columns(AMOUNT.cum_sum().over("subject", order_by=["time", "sequence"])),
        r"over\(order_by=\[…\]\)",
        "fixed",
    ),
    (over(lambda f: f.group_by("x").agg(pl.len())), r"group_by\(\): by a float", "Decimal"),
    (
        over(lambda f: f.group_by(pl.struct("x")).agg(pl.len())),
        r"group_by\(\): by a float",
        "Decimal",
    ),
    (
        over(lambda f: f.group_by(X.implode().over("sequence")).agg(pl.len())),
        r"group_by\(\): by a float",
        "Decimal",
    ),
    (
        over(lambda f: f.head(3)),
        r"head\(\), tail\(\), slice\(\): of rows in no total order",
        "sequence",
    ),
    (
        over(lambda f: f.sort("time").head(3)),
        r"head\(\), tail\(\), slice\(\): of rows in no total order",
        "sequence",
    ),
    (
        over(lambda f: f.sort("time", maintain_order=True).tail(3)),
        r"head\(\), tail\(\), slice\(\): of rows in no total order",
        "sequence",
    ),
    (over(lambda f: f.sort("x").head(3)), r"sort\(\): by a float", "Decimal"),
    (
        over(lambda f: f.sort("sequence").join(f, on="subject").head(3)),
        r"head\(\), tail\(\), slice\(\)",
        "sequence",
    ),
    (
        over(lambda f: f.join(f, on="subject").sort("sequence").head(3)),
        r"head\(\), tail\(\), slice\(\)",
        "sequence",
    ),
    (over(lambda f: f.top_k(3, by="n")), r"head\(\), tail\(\), slice\(\)", "sequence"),
    (
        over(lambda f: f.unique("subject")),
        r"unique\(\): which row of several is kept",
        'keep="first"',
    ),
    (
        over(lambda f: f.unique("subject", keep="first", maintain_order=True)),
        r"unique\(\): which row of several is kept",
        'sort("sequence")',
    ),
    (over(lambda f: f.select("x").unique()), r"unique\(\): by a float", "Decimal"),
    (
        over(lambda f: f.sort("time").group_by("subject").agg(N.first())),
        r"first\(\): in no total order",
        "sequence",
    ),
    (over(lambda f: f.with_row_index()), r"with_row_index\(\)", "sequence"),
    (over(lambda f: f.set_sorted("time")), r"hint_sorted\(\): a claim", "sort()"),
    (
        over(lambda f: f.group_by("subject").map_groups(lambda d: d, schema=None)),
        r"map_groups\(\)",
        "fixed",
    ),
    (over(lambda f: f.map_batches(lambda d: d)), r"map_batches\(\)", "fixed"),
    (over(lambda f: f.pipe(lambda g: g.select(X.sum()))), r"sum\(\): of a float", "Decimal"),
    (over(lambda f: pl.concat([f.select("n"), f.select("x")], how="horizontal")), "h_concat", ""),
    (
        over(lambda f: pl.concat([f, f]).sort("sequence").head(1)),
        r"head\(\), tail\(\), slice\(\)",
        "decide which",
    ),
    (over(lambda f: f.merge_sorted(f, "sequence")), "merge_sorted", ""),
    (
        over(lambda f: f.sort("time").group_by_dynamic("time", every="1d").agg(pl.len())),
        "group_by_dynamic",
        "",
    ),
    (over(lambda f: f.sort("time").rolling("time", period="1d").agg(pl.len())), "rolling", ""),
    (over(lambda f: f.join(f.select("x", "n"), on="x")), r"join\(\): by a float", "Decimal"),
    (
        over(lambda f: f.sort("time").join_asof(f.sort("time"), on="time", by="subject")),
        r"join_asof\(\): the right side may have several",
        "group_by",
    ),
    (
        over(
            lambda f: f.join_asof(
                f.group_by("subject", "time").agg(N.max_by("sequence")), on="time", by="subject"
            )
        ),
        r"join_asof\(\): rows that are not sorted",
        "sort",
    ),
    (
        over(lambda f: f.sort("sequence").select(N.cum_count().sort_by("n").first())),
        r"sort_by\(\): by a value that two rows can share",
        "",
    ),
    (
        grouped(N.rank("dense").over("subject").max()),
        r"over\(\): a window inside a group",
        "step before",
    ),
    (
        over(lambda f: f.join(pl.LazyFrame({"n": [1]}), on="n")),
        "a DataFrame: a frame from elsewhere",
        "spine",
    ),
    (
        over(lambda f: pl.concat([f.select("n"), pl.LazyFrame({"n": [1]})])),
        "a DataFrame: a frame from elsewhere",
        "spine",
    ),
    (lambda _: pl.select(a=1).lazy(), r"may not collect", "collect"),
    (over(lambda f: f.collect().lazy()), r"may not collect", ""),
    (
        over(lambda f: f.with_columns(pl.lit(f.select(X.sum()).collect().item()).alias("s"))),
        r"may not collect",
        "",
    ),
    (over(lambda f: f.join(pl.collect_all([f])[0].lazy(), on="sequence")), r"may not collect", ""),
    (
        over(
            lambda f: f.select(
                "sequence", s=pl.col("tags").list.len().cast(pl.Float64).sum().over("subject")
            )
        ),
        r"sum\(\): of a float",
        "",
    ),
    (columns(pl.concat_list("x", "x").list.sum()), r"list\.sum\(\)", ""),
    (columns(pl.struct("x", "n").struct.field("x").sum()), r"sum\(\): of a float", ""),
    (columns(pl.sum_horizontal("x", "x")), r"sum_horizontal\(\)", ""),
    (columns(pl.max_horizontal("x", "n")), r"max_horizontal\(\): of a float", ""),
]


@pytest.mark.parametrize(
    ("function", "complaint", "instead"),
    INEXACT,
    ids=[f"{place} {one[1]}" for place, one in enumerate(INEXACT)],
)
def test_what_is_not_exact_is_refused_with_what_to_write_instead(
    lake, function, complaint, instead
):
    with pytest.raises(InvalidProjectionError, match=complaint) as caught:
        lake.build(made(function, ["sequence"]))
    assert instead in f"{caught.value.message} {caught.value.hint}"
    assert 'level="fixed"' in caught.value.hint


def test_collecting_is_refused_though_the_function_goes_on(lake):
    def stubborn(snapshot):
        frame = pay(snapshot)
        with contextlib.suppress(Exception):
            frame.collect()
        return frame.with_columns(r=pl.lit(frame.select(X.sum()).collect().item()))

    with pytest.raises(InvalidProjectionError, match="may not collect"):
        lake.build(made(stubborn, ["sequence"]))


def test_files_of_others_are_refused(lake, tmp_path):
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "n.parquet")
    pl.DataFrame({"n": [1]}).write_csv(tmp_path / "n.csv")
    for other in (
        pl.scan_parquet(tmp_path / "n.parquet"),
        pl.scan_csv(tmp_path / "n.csv"),
        pl.defer(lambda: pl.DataFrame({"n": [1]}), schema={"n": pl.Int64}),
    ):
        with pytest.raises(
            InvalidProjectionError, match=r"a scan: of files that are not the history's|python_scan"
        ):
            lake.build(made(lambda s, other=other: pay(s).join(other, on="n"), ["sequence"]))


def test_another_history_is_from_elsewhere(lake):
    other = el.create(MemoryStorage(), "other")
    other.append([payment(1)])
    frame = other.snapshot().scan()
    with pytest.raises(InvalidProjectionError, match="from elsewhere"):
        lake.build(made(lambda _: frame, ["sequence"]))


@pytest.fixture(scope="module")
def zeros():
    """Numbers of either zero, as doubles in the first version of a schema's field and as decimals in another type."""
    made = el.create(MemoryStorage(), "zeros")
    made.register("double", {"type": "object", "properties": {"x": {"type": "number"}}})
    decimal = {"type": "number", "multipleOf": 0.01}
    made.register(
        "decimal",
        {
            "type": "object",
            "properties": {"x": decimal, "y": {"type": "number", "multipleOf": 0.0001}},
        },
    )
    for number, x in enumerate(ZEROS):
        for kind in ("double", "decimal"):
            data = f'{{"x":{x},"y":{DIVISORS[number % len(DIVISORS)]}}}'
            made.append(
                [
                    {
                        "id": f"{kind}{number}",
                        "source": "s",
                        "type": kind,
                        "subject": f"/{number % 2}",
                        "data": data,
                    }
                ]
            )
    return made


ZEROS = ("-0.00", "0.00", "0.00", "-0.00", "-1.50", "0.05", "-0.05", "0.15", "2.50", "10.00")
DIVISORS = ("2.0000", "3.0000", "-0.0700")
EXTREMES = [("/0", Decimal("2.50"), Decimal("-1.50")), ("/1", Decimal("10.00"), Decimal("0.00"))]


def test_extremes_and_groups_of_numbers_with_two_zeros_follow_the_advice(zeros):
    for query in (
        "max(x)",
        "max(x + 0.0)",
        "max(x + 0.0::DOUBLE)",
        "min(CASE WHEN x = 0 THEN 0.0 ELSE x END)",
    ):
        with pytest.raises(
            InvalidProjectionError,
            match=r"0.0 and -0.0(?s:.*)over DECIMAL: declare the field in a schema",
        ):
            zeros.build(
                el.Projection.sql(
                    "p",
                    f"SELECT subject, {query} AS m FROM double GROUP BY subject",
                    key=["subject"],
                )
            )
    x = pl.col("x")
    for value in (x, x + 0.0):
        with pytest.raises(
            InvalidProjectionError, match=r"0.0 and -0.0(?s:.*)max\(\) of a Decimal"
        ):
            zeros.build(
                made(
                    lambda s, value=value: (
                        s.table("double").group_by("subject").agg(value.max().alias("m"))
                    ),
                    ["subject"],
                )
            )
    digits = "(data ->> 'x')::DECIMAL(18, 2)"
    for column, table in ((digits, "events WHERE type = 'double'"), ("x", "decimal")):
        query = f"SELECT subject, max({column}) AS high, min({column}) AS low FROM {table} GROUP BY subject"
        assert (
            zeros.build(el.Projection.sql("p", query, key=["subject"])).polars().rows() == EXTREMES
        )
        query = f"SELECT {column} AS v, count(*) AS n FROM {table} GROUP BY ALL"
        assert zeros.build(el.Projection.sql("p", query, key=["v"])).polars().rows() == sorted(
            Counter(map(Decimal, ZEROS)).items()
        )
    frame = zeros.build(
        made(
            lambda s: s.table("decimal").group_by("subject").agg(high=x.max(), low=x.min()),
            ["subject"],
        )
    )
    assert frame.polars().rows() == EXTREMES
    frame = zeros.build(
        made(lambda s: s.table("decimal").group_by(v="x").agg(n=pl.len().cast(pl.Int64)), ["v"])
    )
    assert frame.polars().rows() == sorted(Counter(map(Decimal, ZEROS)).items())


@pytest.mark.parametrize(("by", "scale"), [("y", 4), ("2", 2), ("7", 2)])
def test_a_quotient_of_decimals_has_the_larger_scale_half_to_even_in_polars_and_is_a_double_in_duckdb(
    zeros, by, scale
):
    divisor = pl.col("y") if by == "y" else pl.lit(int(by))
    divisors = [
        Decimal(DIVISORS[n % len(DIVISORS)]) if by == "y" else Decimal(by)
        for n in range(len(ZEROS))
    ]
    exact = [Decimal(x) / y for x, y in zip(ZEROS, divisors, strict=True)]
    built = zeros.build(
        made(lambda s: s.table("decimal").select("sequence", q=pl.col("x") / divisor), ["sequence"])
    ).polars()
    assert built["q"].dtype.scale == scale
    assert built["q"].to_list() == [
        value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN) for value in exact
    ]
    doubles = [float(Decimal(x)) / float(y) + 0.0 for x, y in zip(ZEROS, divisors, strict=True)]
    built = zeros.build(
        el.Projection.sql("p", f"SELECT sequence, x / {by} AS q FROM decimal", key=["sequence"])
    ).polars()
    assert built["q"].to_list() == doubles
    cast = pl.col("x").cast(pl.Float64) / divisor.cast(pl.Float64)
    built = zeros.build(
        made(lambda s: s.table("decimal").select("sequence", q=cast), ["sequence"])
    ).polars()
    assert built["q"].to_list() == (
        doubles if by == "y" else [float(x) * (1 / float(by)) + 0.0 for x in ZEROS]
    )


def test_every_reason_is_told(lake):
    with pytest.raises(InvalidProjectionError) as caught:
        lake.build(made(grouped(X.sum(), N.mean().alias("m"), N.first().alias("f")), ["subject"]))
    assert [f"{name}():" in caught.value.message for name in ("sum", "mean", "first")] == [True] * 3
    assert "for example 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1" in caught.value.message
    assert caught.value.message.startswith("projection p is declared exact and is not:\n")


def test_of_another_polars_nothing_is_proven(lake, monkeypatch):
    another = partial(polars_exact.check_exact, version="2.10.0")
    monkeypatch.setattr(polars_runner, "check_exact", another)
    with pytest.raises(InvalidProjectionError, match=r"nothing is proven of Polars 2\.10\.0"):
        lake.build(made(over(lambda f: f), ["sequence"]))


def test_what_is_not_declared_exact_is_not_looked_at(lake):
    function = over(lambda f: f.collect().lazy().with_columns(r=pl.lit(random.random())))
    for level in ("fixed", "unproven"):
        assert (
            lake.build(made(function, ["sequence"], level)).manifest.recipe.check
            == "declared, unchecked"
        )


def test_a_broken_frame_fails_as_one(lake):
    with pytest.raises(InvalidProjectionError, match=r"projection p failed.*ColumnNotFoundError"):
        lake.build(made(over(lambda f: f.select("no_such_column")), ["sequence"]))


def test_the_runner_and_the_check_speak_of_one_version():
    assert polars_runner.VERSION == polars_exact.VERSION == pl.__version__
