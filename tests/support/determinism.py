"""The matrix of docs/reference/determinism.md: exact projections, which make one content hash under all run
conditions, and inexact ones, which are refused.

``python -m tests.support.determinism`` measures and writes the page; the tests run the same over a smaller
history.
"""

import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import polars as pl
import pyarrow as pa

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.datasets.building.ready import ready
from eventlake.errors import InvalidProjectionError
from eventlake.history.pinned import PinnedHistory
from eventlake.lake import Lake
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kinds import prepare
from eventlake.projections.projection import Projection
from eventlake.projections.rows import finish
from eventlake.projections.run_conditions import USUAL, RunConditions

ORIGIN = "tests.eventlake/determinism"
START = datetime(2025, 1, 1, tzinfo=UTC)
SCHEMAS = {
    "granted": {
        "type": "object",
        "properties": {
            "amount": {"type": "number", "multipleOf": 0.01},
            "term": {"type": "integer"},
        },
    },
    "paid": {
        "type": "object",
        "properties": {
            "amount": {"type": "number", "multipleOf": 0.01},
            "rate": {"type": "number"},
        },
    },
    "missed": {"type": "object", "properties": {"days": {"type": "integer"}}},
}


@dataclass(frozen=True)
class Exact:
    """One exact projection, as SQL and, for some, as the body of a Python function.

    Attributes:
        sql: One SELECT.
        key: The key of its rows.
        polars: The expression of a LazyFrame over ``snapshot``; empty if there is none.
        by: Whether its rows depend on one subject at a time.
    """

    sql: str
    key: tuple[str, ...]
    polars: str = ""
    by: bool = True


EXACT = {
    "sums and counts per subject": Exact(
        "SELECT subject, count(*) AS n, sum(amount)::DECIMAL(18, 2) AS total FROM paid GROUP BY subject",
        ("subject",),
        """snapshot.table("paid").group_by("subject").agg(
            n=pl.len().cast(pl.Int64), total=pl.col("amount").cast(pl.Decimal(38, 2)).sum().cast(pl.Decimal(18, 2)))""",
    ),
    "distinct counts": Exact(
        "SELECT subject, count(DISTINCT days) AS n FROM missed GROUP BY subject",
        ("subject",),
        """snapshot.table("missed").group_by("subject").agg(n=pl.col("days").drop_nulls().n_unique().cast(pl.Int64))""",
    ),
    "arg_max by sequence": Exact(
        "SELECT subject, arg_max(amount, sequence) AS last FROM paid GROUP BY subject",
        ("subject",),
        """snapshot.table("paid").group_by("subject").agg(last=pl.col("amount").sort_by("sequence").last())""",
    ),
    "ordered list": Exact(
        "SELECT subject, list(days ORDER BY sequence) AS days FROM missed GROUP BY subject",
        ("subject",),
        """snapshot.table("missed").group_by("subject").agg(days=pl.col("days").sort_by("sequence").implode().first())""",
    ),
    "row_number and lag by sequence": Exact(
        """SELECT sequence, row_number() OVER w AS n, lag(amount) OVER w AS before FROM paid
        WINDOW w AS (PARTITION BY subject ORDER BY sequence)""",
        ("sequence",),
        """snapshot.table("paid").select("sequence",
            n=pl.col("sequence").cum_count().over("subject", order_by="sequence").cast(pl.Int64),
            before=pl.col("amount").shift(1).over("subject", order_by="sequence"))""",
    ),
    "running decimal sum": Exact(
        """SELECT sequence, (sum(amount) OVER (PARTITION BY subject ORDER BY sequence ROWS UNBOUNDED PRECEDING))::DECIMAL(18, 2) AS total
        FROM paid""",
        ("sequence",),
        """snapshot.table("paid").select("sequence",
            total=pl.col("amount").cast(pl.Decimal(38, 2)).cum_sum().over("subject", order_by="sequence").cast(pl.Decimal(18, 2)))""",
    ),
    "as-of join on (time, sequence)": Exact(
        """WITH last AS (SELECT * FROM paid QUALIFY row_number() OVER (PARTITION BY subject, time ORDER BY sequence DESC) = 1)
        SELECT m.sequence, p.sequence AS paid, p.amount
        FROM missed m ASOF LEFT JOIN last p ON p.subject = m.subject AND p.time <= m.time""",
        ("sequence",),
    ),
    "join of three types": Exact(
        """WITH p AS (SELECT subject, count(*) AS paid FROM paid GROUP BY subject),
        m AS (SELECT subject, max(days) AS days FROM missed GROUP BY subject)
        SELECT g.sequence, g.amount, p.paid, m.days
        FROM granted g LEFT JOIN p ON p.subject = g.subject LEFT JOIN m ON m.subject = g.subject""",
        ("sequence",),
        """snapshot.table("granted").select("subject", "sequence", "amount").join(
            snapshot.table("paid").group_by("subject").agg(paid=pl.len().cast(pl.Int64)), on="subject", how="left").join(
            snapshot.table("missed").group_by("subject").agg(days=pl.col("days").max()), on="subject", how="left"
        ).select("sequence", "amount", "paid", "days")""",
    ),
    "median and quantile of integers": Exact(
        "SELECT subject, median(days) AS median, quantile_disc(days, 0.9) AS high FROM missed GROUP BY subject",
        ("subject",),
    ),
    "pivot by type": Exact(
        "SELECT * FROM (PIVOT events ON type IN ('granted', 'paid', 'missed') USING count(*) GROUP BY subject)",
        ("subject",),
        """snapshot.scan(["subject", "type"]).group_by("subject").agg(
            granted=(pl.col("type") == "granted").cast(pl.Int16).sum().cast(pl.Int64),
            paid=(pl.col("type") == "paid").cast(pl.Int16).sum().cast(pl.Int64),
            missed=(pl.col("type") == "missed").cast(pl.Int16).sum().cast(pl.Int64))""",
    ),
    "ratio of two decimal sums": Exact(
        """WITH p AS (SELECT subject, sum(amount) AS total FROM paid GROUP BY subject),
        g AS (SELECT subject, sum(amount) AS total FROM granted GROUP BY subject)
        SELECT subject, p.total::DOUBLE / g.total::DOUBLE AS share FROM p JOIN g USING (subject)""",
        ("subject",),
    ),
    "over all subjects": Exact(
        "SELECT 1 AS k, count(*) AS n, sum(amount)::DECIMAL(18, 2) AS total, median(sequence) AS middle FROM paid",
        ("k",),
        by=False,
    ),
}

PAID = "FROM paid"
REFUSED_SQL = {
    "sum of a double": f"sum(rate) {PAID}",
    "avg": f"avg(rate) {PAID}",
    "avg of a decimal": f"avg(amount) {PAID}",
    "stddev": f"stddev(rate) {PAID}",
    "variance": f"var_samp(amount) {PAID}",
    "corr": f"corr(rate, sequence) {PAID}",
    "covar": f"covar_pop(rate, sequence) {PAID}",
    "regr_slope": f"regr_slope(rate, sequence) {PAID}",
    "skewness": f"skewness(rate) {PAID}",
    "kurtosis": f"kurtosis(rate) {PAID}",
    "product": f"product(rate) {PAID}",
    "geometric mean": f"geomean(rate) {PAID}",
    "fsum (compensated)": f"fsum(rate) {PAID}",
    "kahan_sum": f"kahan_sum(rate) {PAID}",
    "favg": f"favg(rate) {PAID}",
    "entropy": f"entropy(rate) {PAID}",
    "first": f"first(amount) {PAID}",
    "last": f"last(amount) {PAID}",
    "any_value": f"any_value(amount) {PAID}",
    "list without order": f"list(amount) {PAID}",
    "string_agg without order": f"string_agg(id, ',') {PAID}",
    "json_group_array": f"json_group_array(id) {PAID}",
    "list of distinct values": f"list(DISTINCT amount) {PAID}",
    "mode with ties": f"mode(amount) {PAID}",
    "arg_max with ties": f"arg_max(amount, time) {PAID}",
    "approx_quantile": f"approx_quantile(amount, 0.5) {PAID}",
    "reservoir_quantile": f"reservoir_quantile(amount, 0.5) {PAID}",
    "approx_top_k": f"approx_top_k(amount, 3) {PAID}",
    "approx_count_distinct": f"approx_count_distinct(amount) {PAID}",
    "row_number over ties": f"sequence, row_number() OVER (PARTITION BY subject ORDER BY time) {PAID}",
    "lag over ties": f"sequence, lag(amount) OVER (PARTITION BY subject ORDER BY time) {PAID}",
    "window sum RANGE over ties, of doubles": f"sequence, sum(rate) OVER (PARTITION BY subject ORDER BY time) {PAID}",
    "avg over a partition": f"sequence, avg(amount) OVER (PARTITION BY subject) {PAID}",
    "ASOF with ties": "m.sequence, p.amount FROM missed m ASOF JOIN (SELECT * FROM paid) p ON p.subject = m.subject AND p.time <= m.time",
    "DISTINCT ON without a total order": f"DISTINCT ON (subject) subject, amount {PAID} ORDER BY subject, time",
    "LIMIT without order": f"sequence {PAID} LIMIT 5",
    "LIMIT over ties": f"sequence {PAID} ORDER BY time LIMIT 5",
    "sample": f"sequence {PAID} USING SAMPLE 10 ROWS",
    "sample with a seed": f"sequence {PAID} TABLESAMPLE reservoir(10 ROWS) REPEATABLE (1)",
    "min of a double (0.0 and -0.0)": f"min(rate) {PAID}",
    "max of a double (NaN)": f"max(rate) {PAID}",
    "grouping by a double": f"rate, count(*) {PAID} GROUP BY rate",
    "DISTINCT of doubles": f"DISTINCT rate {PAID}",
    "joining by a double": "a.sequence FROM paid a JOIN paid b ON a.rate = b.rate",
    "now()": f"sequence, now() AS t {PAID}",
    "current_date": f"sequence, current_date AS d {PAID}",
    "random()": f"sequence, random() AS r {PAID}",
    "uuid()": f"sequence, uuid() AS u {PAID}",
    "hash()": f"sequence, hash(id) AS h {PAID}",
    "logarithm (another libm)": f"sequence, ln(amount::DOUBLE) AS l {PAID}",
    "collation (locale)": f"sequence {PAID} ORDER BY id COLLATE de LIMIT 5",
    "environment": f"sequence, getenv('HOME') AS e {PAID}",
    "settings": f"sequence, current_setting('threads') AS s {PAID}",
    "files": "* FROM read_csv('x.csv')",
    "rowid": "rowid FROM events",
}
TABLE = 'snapshot.table("paid")'
REFUSED_POLARS = {
    "sum of a double": f'{TABLE}.group_by("subject").agg(pl.col("rate").sum())',
    "sum of an int64 (wraps on overflow)": f'{TABLE}.group_by("subject").agg(pl.col("sequence").sum())',
    "mean": f'{TABLE}.group_by("subject").agg(pl.col("rate").mean())',
    "mean of a decimal": f'{TABLE}.group_by("subject").agg(pl.col("amount").mean())',
    "std": f'{TABLE}.group_by("subject").agg(pl.col("rate").std())',
    "var": f'{TABLE}.group_by("subject").agg(pl.col("rate").var())',
    "first without order": f'{TABLE}.group_by("subject").agg(pl.col("amount").first())',
    "last without order": f'{TABLE}.group_by("subject").agg(pl.col("amount").last())',
    "list without order": f'{TABLE}.group_by("subject").agg(pl.col("amount").implode())',
    "sum over, of a double": f'{TABLE}.select("sequence", s=pl.col("rate").sum().over("subject"))',
    "cum_sum without order": f'{TABLE}.select("sequence", s=pl.col("amount").cum_sum())',
    "rolling mean": f'{TABLE}.select("sequence", s=pl.col("rate").rolling_mean(3))',
    "ewm_mean": f'{TABLE}.select("sequence", s=pl.col("rate").ewm_mean(com=1))',
    "unique, any": f'{TABLE}.unique("subject")',
    "unique, first, without order": f'{TABLE}.unique("subject", keep="first")',
    "top_k with ties": f'{TABLE}.top_k(5, by="time")',
    "sort with ties, then head": f'{TABLE}.sort("time").head(5)',
    "head without order": f"{TABLE}.head(5)",
    "mode": f'{TABLE}.select(pl.col("amount").mode().first())',
    "sample": f'{TABLE}.select(pl.col("amount").sample(3, seed=1))',
    "shuffle": f'{TABLE}.select(pl.col("amount").shuffle(seed=1))',
    "hash": f'{TABLE}.select("sequence", h=pl.col("id").hash())',
    "approximate distinct count": f'{TABLE}.select(pl.col("amount").approx_n_unique())',
    "min of a double": f'{TABLE}.group_by("subject").agg(pl.col("rate").min())',
    "grouping by a double": f'{TABLE}.group_by("rate").agg(pl.len())',
    "as-of join with ties": f'snapshot.table("missed").sort("time").join_asof({TABLE}.sort("time"), on="time", by="subject")',
    "a frame from elsewhere": 'pl.LazyFrame({"subject": ["x"]})',
    "Python code in the plan": f"{TABLE}.map_batches(lambda frame: frame)",
}


def fill(lake: Lake, events: int, batches: int) -> None:
    """Events with ties in time, uneven subjects, doubles that are never whole; the same whatever the number of batches."""
    for name, schema in SCHEMAS.items():
        lake.register(name, schema)
    draw = random.Random(7)
    rows = []
    for number in range(events):
        kind = ("granted", "paid", "paid", "missed")[number % 4]
        cents = draw.randrange(1, 1_000_000)
        amount = f"{cents // 100}.{cents % 100:02d}"
        data = {
            "granted": f'{{"amount":{amount},"term":{draw.randrange(6, 60)}}}',
            "paid": f'{{"amount":{amount},"rate":{draw.random()!r}}}',
            "missed": f'{{"days":{draw.randrange(90)}}}',
        }[kind]
        subject = f"/loan/{int(draw.random() ** 3 * max(events // 40, 4)):05d}"
        time = START + timedelta(minutes=draw.randrange(events // 3 + 1))
        recorded = START + timedelta(minutes=number)
        rows.append(
            {
                "id": f"e{number}",
                "source": "s",
                "type": kind,
                "subject": subject,
                "time": time,
                "data": data,
                "recorded_at": recorded,
            }
        )
    frame = pl.DataFrame(rows)
    for number in range(batches):
        first, last = events * number // batches, events * (number + 1) // batches
        lake.append(frame.slice(first, last - first))


def projection(name: str, engine: str) -> Projection:
    """An exact projection on one of the engines."""
    exact = EXACT[name]
    plain = (
        name.replace(" ", "_").replace("(", "").replace(")", "").replace(",", "").replace("-", "_")
    )
    if engine == "duckdb":
        return el.Projection.sql(
            plain, exact.sql, key=list(exact.key), by="subject" if exact.by else None
        )
    return polars_projection(plain, exact.polars, exact.key)


def polars_projection(name: str, body: str, key: tuple[str, ...]) -> Projection:
    """A Python projection made of the expression of a frame."""
    source = f"import polars as pl\n\n\ndef made(snapshot):\n    return {body}\n"
    names: dict[str, object] = {}
    exec(compile(source, "made.py", "exec"), names)  # noqa: S102 - the text is ours
    return Projection(
        name, "python", "made.py:made", {"made.py": source}, key, function=names["made"]
    )  # type: ignore[arg-type]


def run_conditions(*, everything: bool) -> Iterator[RunConditions]:
    """Threads, memory and order: all combinations, or a few of them."""
    if everything:
        for threads, memory, shuffled in product((1, 2, 8), ("4GB", "300MB"), (False, True)):
            yield RunConditions("matrix", threads=threads, memory_limit=memory, shuffled=shuffled)
    else:
        yield from (
            USUAL,
            RunConditions("matrix", threads=1),
            RunConditions("matrix", threads=8, memory_limit="300MB", shuffled=True),
        )


def hashes(lake: Lake, name: str, engine: str, *, everything: bool) -> dict[str, int]:
    """The number of runs by content hash."""
    history = lake.snapshot().history
    wanted = projection(name, engine)
    ready(Computation(wanted, history))  # refuses what is not exact
    found: dict[str, int] = {}
    for under in run_conditions(everything=everything):
        made = content_hash(rows(wanted, history, under))
        found[made] = found.get(made, 0) + 1
    return found


def rows(wanted: Projection, history: PinnedHistory, under: RunConditions = USUAL) -> pa.Table:
    """A projection's rows under some run conditions."""
    computation = Computation(wanted, history)
    return finish(computation, prepare(computation, RunOptions(under)).rows())


def shared(lake: Lake, name: str, half: int, workers: tuple[int, ...]) -> dict[str, int]:
    """The number of builds by content hash: with each number of workers, and from an earlier build."""
    wanted = projection(name, "duckdb")
    found: dict[str, int] = {}
    builds = (
        [
            lambda count=count: lake.build(wanted, force=True, workers=count, buckets=3 * count)
            for count in workers
        ]
        if EXACT[name].by
        else []
    )
    lake.build(wanted, at=half)
    for build in (lambda: lake.build(wanted), *builds):
        made = build().content_hash
        found[made] = found.get(made, 0) + 1
    return found


def refusal(lake: Lake, engine: str, text: str) -> str:
    """The first reason why a query is refused; empty if it is accepted."""
    if engine == "duckdb":
        wanted = el.Projection.sql("refused", f"SELECT {text}", key=["sequence"])
    else:
        wanted = polars_projection("refused", text, ("sequence",))
    try:
        lake.build(wanted)
    except InvalidProjectionError as error:
        lines = error.message.splitlines()
        return (
            lines[1].strip().removeprefix("line 1: ")
            if len(lines) > 1 and "declared exact and is not" in lines[0]
            else lines[0].removeprefix("projection refused: ")
        )
    return ""


PAGE = """# Determinism

Written by `python -m tests.support.determinism`; edits are lost. {events:,} events, measured with DuckDB {duckdb} and
Polars {polars} on **two cores of one type of processor**. Another processor, another operating system and
another libm were not measured; [exactness](../concepts/exactness.md) explains why they should not matter.

## One content hash each

Every exact projection was run

- over the same history in one segment, in 100 segments, and after compaction of those;
- each with 1, 2 and 8 threads, with 4 GB and 300 MB, in the order of the events and shuffled (on Polars, whose
  threads are fixed when a process starts, in both orders);
- by 1, 2 and 4 workers in buckets of subjects, and from an earlier build at half the history.

| projection | runs | content hashes | by workers, from an earlier build | Polars | content hash |
|---|--:|--:|---|---|---|
{exact}

## Refused at exact

### SQL

| what | why it is refused |
|---|---|
{sql}

### Polars

| what | why it is refused |
|---|---|
{polars_refused}
"""


def lakes(folder: Path, events: int) -> dict[str, Lake]:
    """The same history in three layouts."""
    one, many = el.create(folder / "one", ORIGIN), el.create(folder / "many", ORIGIN)
    fill(one, events, 1)
    fill(many, events, 100)
    shutil.copytree(folder / "many", folder / "compacted")
    compacted = el.open(folder / "compacted")
    compacted.compact()
    return {"one segment": one, "100 segments": many, "compacted": compacted}


def main(events: int) -> str:
    """Measure, and return the page.

    Raises:
        AssertionError: A projection has several content hashes, or an inexact one is accepted.
    """
    import duckdb  # noqa: PLC0415

    shown = []
    with tempfile.TemporaryDirectory() as folder:
        found = lakes(Path(folder), events)
        for name, exact in EXACT.items():
            made: dict[str, int] = {}
            for lake in found.values():
                for one, runs in hashes(lake, name, "duckdb", everything=True).items():
                    made[one] = made.get(one, 0) + runs
            by = shared(found["100 segments"], name, events // 2, (1, 2, 4))
            polars: set[str] = set()
            if exact.polars:
                for lake in found.values():
                    polars |= set(hashes(lake, name, "polars", everything=True))
            assert len(made) == 1, (name, made)
            assert set(by) == set(made), (name, by)
            assert polars in (set(), set(made)), (name, polars)
            by_workers = "the same" if exact.by else "the same; not by subject, built in full"
            one, on_polars = next(iter(made)), "the same" if polars else "not written"
            shown.append(
                f"| {name} | {sum(made.values())} | {len(made)} | {by_workers} | {on_polars} | `{one[:16]}` |"
            )
        reasons = {}
        for engine, texts in (("duckdb", REFUSED_SQL), ("polars", REFUSED_POLARS)):
            lines = []
            for what, text in texts.items():
                why = refusal(found["one segment"], engine, text)
                assert why, (engine, what)
                lines.append(f"| {what} | {why.replace('|', chr(92) + '|')} |")
            reasons[engine] = "\n".join(lines)
    return PAGE.format(
        events=events,
        duckdb=duckdb.__version__,
        polars=pl.__version__,
        exact="\n".join(shown),
        sql=reasons["duckdb"],
        polars_refused=reasons["polars"],
    )


if __name__ == "__main__":
    page = main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    Path(__file__).parents[2].joinpath("docs", "reference", "determinism.md").write_text(
        page, encoding="utf-8"
    )
