"""Point-in-time features beside the best queries that we could write by hand for the same columns, on each engine.

Eleven columns: count, sum and mean of an amount over 7, 30 and 90 days, the last amount and the
days since it, for 100,000 entities and cutoffs that are drawn evenly, or in proportion to the
events. The hand-written ones read one Parquet file of four typed columns.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
from append import ORIGIN
from data import Setting, scratch
from measure import Candidate, Row, interleaved, peak_gigabytes, taken

import eventlake as el
from eventlake.datasets.building.given_spine import given_spine
from eventlake.features.engine_cache import ENGINE_CACHE
from eventlake.features.look_up import rows
from eventlake.features.planned.plan import compiled
from eventlake.history.pinned import PinnedHistory

TYPE, DAY, WINDOWS = "payment.received", 86_400_000_000, (7, 30, 90)
BOTH = """
    SELECT spine_row, subject, epoch_us(cutoff) AS c FROM spine),
e AS MATERIALIZED (SELECT subject, epoch_us(time) AS t, sequence, (amount * 100)::BIGINT AS cents
    FROM read_parquet('{file}') SEMI JOIN l USING (subject)),
"""
MEANS = ", ".join(
    f"s{days}::DOUBLE / (nullif(n{days}, 0) * 100)::DOUBLE AS m{days}" for days in WINDOWS
)
PREFIX = f"""WITH l AS MATERIALIZED ({BOTH}
p AS (SELECT subject, t, cents, count(*) OVER o AS n, sum(cents) OVER o AS s FROM e
    WINDOW o AS (PARTITION BY subject ORDER BY t, sequence ROWS UNBOUNDED PRECEDING)
    QUALIFY lead(t) OVER (PARTITION BY subject ORDER BY t, sequence) IS DISTINCT FROM t),
q AS (SELECT spine_row, subject, d, c - d * {
    DAY
} AS k FROM l, (VALUES (0), (7), (30), (90)) AS v(d)),
j AS (SELECT spine_row, d, k, n, s, cents, t FROM q ASOF LEFT JOIN p ON q.subject = p.subject AND q.k > p.t),
f AS (SELECT spine_row, {
    ", ".join(
        f"coalesce(max(n) FILTER (d = 0), 0) - coalesce(max(n) FILTER (d = {days}), 0) AS n{days},"
        f" (coalesce(max(s) FILTER (d = 0), 0) - coalesce(max(s) FILTER (d = {days}), 0))::BIGINT AS s{days}"
        for days in WINDOWS
    )
}, max(cents) FILTER (d = 0) AS last, max(k - t) FILTER (d = 0) AS since FROM j GROUP BY spine_row)
SELECT *, {MEANS} FROM f ORDER BY spine_row"""
RANGE = f"""WITH l AS MATERIALIZED ({BOTH}
w AS (SELECT spine_row, {
    ", ".join(
        f"count(t) FILTER (t >= c - {days * DAY}) AS n{days}, coalesce(sum(cents) FILTER (t >= c - {days * DAY}), 0)::BIGINT AS s{days}"
        for days in WINDOWS
    )
} FROM l LEFT JOIN e ON e.subject = l.subject AND t < c AND t >= c - {
    max(WINDOWS) * DAY
} GROUP BY spine_row),
u AS (SELECT subject, t, arg_max(cents, sequence) AS cents FROM e GROUP BY subject, t),
a AS (SELECT spine_row, cents AS last, c - t AS since FROM l ASOF LEFT JOIN u ON u.subject = l.subject AND c > t)
SELECT *, {MEANS} FROM w JOIN a USING (spine_row) ORDER BY spine_row"""


def on_duckdb(query: str, file: Path, spine: pa.Table) -> pl.DataFrame:
    """A query by hand."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        connection.register("spine", spine)
        return pl.DataFrame(connection.sql(query.format(file=file)).to_arrow_table())


def _read(file: Path, spine: pa.Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows with a number for each subject, and the events of these."""
    given = pl.DataFrame(spine).with_columns(c=pl.col("cutoff").dt.epoch("us"))
    subjects = given.select("subject").unique().with_row_index("entity")
    cents = (pl.col("amount") * 100).cast(pl.Int64).alias("cents")
    events = (
        pl.scan_parquet(file)
        .join(subjects.lazy(), on="subject")
        .select("entity", "sequence", cents, t=pl.col("time").dt.epoch("us"))
    )
    return given.join(subjects, on="subject", maintain_order="left"), events.collect()


def _means() -> list[pl.Expr]:
    counted = {
        days: pl.when(pl.col(f"n{days}") > 0).then(pl.col(f"n{days}") * 100).cast(pl.Float64)
        for days in WINDOWS
    }
    return [
        (pl.col(f"s{days}").cast(pl.Float64) / counted[days]).alias(f"m{days}") for days in WINDOWS
    ]


def by_search(file: Path, spine: pa.Table) -> pl.DataFrame:
    """One key of entity and instant, running sums, binary searches."""
    given, events = _read(file, spine)
    events = events.sort("entity", "t", "sequence")
    low = min(events["t"].min(), given["c"].min()) - 90 * DAY
    width = max(events["t"].max(), given["c"].max()) - low + 1
    keys = (
        events["entity"].cast(pl.UInt64) * width + (events["t"] - low).cast(pl.UInt64)
    ).set_sorted()
    sums = pl.concat([pl.Series([0]), events["cents"].cum_sum()])
    base, cutoff = given["entity"].cast(pl.UInt64) * width, given["c"] - low
    first, end = keys.search_sorted(base), keys.search_sorted(base + cutoff.cast(pl.UInt64))
    made = {}
    for days in WINDOWS:
        begin = keys.search_sorted(base + (cutoff - days * DAY).cast(pl.UInt64))
        made |= {
            f"n{days}": end.cast(pl.Int64) - begin.cast(pl.Int64),
            f"s{days}": sums.gather(end) - sums.gather(begin),
        }
    at = (end.cast(pl.Int64) - 1).clip(0)
    last = pl.when(end > first).then(events["cents"].gather(at)).alias("last")
    since = pl.when(end > first).then(given["c"] - events["t"].gather(at)).alias("since")
    return pl.DataFrame(made).with_columns(last, since, *_means())


def by_join(file: Path, spine: pa.Table) -> pl.DataFrame:
    """A join of rows and events, filtered, on the streaming engine; an as-of join for the last."""
    given, events = _read(file, spine)
    inside = {days: pl.col("t") >= pl.col("c") - days * DAY for days in WINDOWS}
    sums = [
        made
        for days, look in inside.items()
        for made in (
            look.sum().cast(pl.Int64).alias(f"n{days}"),
            pl.col("cents").filter(look).sum().alias(f"s{days}"),
        )
    ]
    pairs = (
        given.lazy().join(events.lazy(), on="entity").filter(pl.col("t") < pl.col("c"), inside[90])
    )
    windows = pairs.group_by("spine_row").agg(sums).collect(engine="streaming")
    last = given.sort("c").join_asof(
        events.sort("t", "sequence"),
        left_on="c",
        right_on="t",
        by="entity",
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,
    )
    whole = last.select("spine_row", last="cents", since=pl.col("c") - pl.col("t")).join(
        windows, on="spine_row", how="left"
    )
    return (
        whole.with_columns(pl.col("^[ns][0-9]+$").fill_null(0))
        .with_columns(_means())
        .sort("spine_row")
    )


def features(known: str) -> el.FeatureSet:
    """The eleven columns, declared."""
    windows = [f"{days}d" for days in WINDOWS]
    summed = [
        el.count(TYPE, window=windows),
        el.sum(TYPE, "amount", window=windows),
        el.mean(TYPE, "amount", window=windows),
    ]
    return el.FeatureSet(
        "made", known=known, features=[*summed, el.last(TYPE, "amount"), el.since_last(TYPE)]
    )


def same(ours: pa.Table, hand: pl.DataFrame) -> None:
    """The declared columns are those by hand, to the last bit."""
    table = pl.DataFrame(ours)
    for days in WINDOWS:
        assert table[f"payment_received_count_{days}d"].to_list() == hand[f"n{days}"].to_list()
        assert (
            table[f"payment_received_amount_sum_{days}d"].to_physical().cast(pl.Int64).to_list()
            == hand[f"s{days}"].to_list()
        )
        assert (
            table[f"payment_received_amount_mean_{days}d"].to_list() == hand[f"m{days}"].to_list()
        )
    assert (
        table["payment_received_amount_last"].to_physical().cast(pl.Int64).to_list()
        == hand["last"].to_list()
    )


def measure(
    result: Row, history: PinnedHistory, file: Path, spines: dict[str, pa.Table], rounds: int
) -> None:
    """Every way, for every spine."""
    events = history.watermark
    plan = compiled(features("watermark"), history.catalogue)
    for kind, spine in spines.items():
        hand = {
            "duckdb": {
                "running sums, one ASOF": lambda spine=spine: on_duckdb(PREFIX, file, spine),
                "range join": lambda spine=spine: on_duckdb(RANGE, file, spine),
            },
            "polars": {
                "binary search": lambda spine=spine: by_search(file, spine),
                "join and filter": lambda spine=spine: by_join(file, spine),
            },
        }
        for engine, ways in hand.items():
            same(rows(plan, history, spine, engine), next(iter(ways.values()))())
            candidates = [Candidate(name, work) for name, work in ways.items()]
            candidates.append(
                Candidate(
                    "declared",
                    lambda spine=spine, engine=engine: (
                        ENGINE_CACHE.clear(),
                        rows(plan, history, spine, engine),
                    ),
                )
            )
            candidates.append(
                Candidate(
                    "declared, once more",
                    lambda spine=spine, engine=engine: rows(plan, history, spine, engine),
                )
            )
            table = interleaved(
                f"{events:,} events, {spine.num_rows:,} rows, {kind}, {engine}",
                events,
                candidates,
                rounds,
            )
            result.tables.append(table)
            best = min(table.get(name, "wall_ms") or 0 for name in ways)
            again = table.get("declared, once more", "wall_ms") or 0
            result.add(
                f"{events:,} events, {kind}, {engine}, prefix kept: wall",
                "the better by hand",
                again / best,
                "x",
                0.5,
            )
            declared = table.get("declared", "wall_ms") or 0
            result.add(
                f"{events:,} events, {kind}, {engine}: wall",
                "the better by hand",
                declared / best,
                "x",
                1.3,
            )
    for engine in ("duckdb", "polars"):
        candidates = [
            Candidate(
                kind,
                lambda spine=spine, engine=engine: (
                    ENGINE_CACHE.clear(),
                    rows(plan, history, spine, engine),
                ),
            )
            for kind, spine in spines.items()
        ]
        table = interleaved(f"{events:,} events, {engine}, declared", events, candidates, rounds)
        result.tables.append(table)
        result.add(
            f"{events:,} events, {engine}, skewed: wall",
            "even",
            table.get("skewed", "x_wall"),
            "x",
            1.5,
        )
    known = compiled(features("cutoff"), history.catalogue)
    for engine in ("duckdb", "polars"):
        candidates = [
            Candidate(
                "declared",
                lambda engine=engine: (
                    ENGINE_CACHE.clear(),
                    rows(known, history, spines["even"], engine),
                ),
            )
        ]
        table = interleaved(
            f"{events:,} events, even, known at the cutoff, {engine}", events, candidates, rounds
        )
        result.tables.append(table)
        result.add(
            f"{events:,} events, even, known at the cutoff, {engine}",
            "",
            table.get("declared", "wall_ms"),
            "ms",
        )


def long_history(
    result: Row, history: PinnedHistory, file: Path, spine: pa.Table, rounds: int
) -> None:
    """Ten times the events: beside the way by hand that does not grow with the pairs, and the memory that a process needs."""
    events = history.watermark
    plan = compiled(features("watermark"), history.catalogue)
    kept = file.with_name("spine.parquet")
    pl.DataFrame(spine).drop("spine_row").write_parquet(kept)
    hand = {
        "duckdb": lambda: on_duckdb(PREFIX, file, spine),
        "polars": lambda: by_search(file, spine),
    }
    for engine, by_hand in hand.items():
        same(rows(plan, history, spine, engine), by_hand())
        declared = Candidate(
            "declared",
            lambda engine=engine: (ENGINE_CACHE.clear(), rows(plan, history, spine, engine)),
        )
        table = interleaved(
            f"{events:,} events, {spine.num_rows:,} rows, even, {engine}",
            events,
            [Candidate("by hand", by_hand), declared],
            rounds,
        )
        result.tables.append(table)
        result.add(
            f"{events:,} events, even, {engine}: wall",
            "by hand",
            table.get("declared", "x_wall"),
            "x",
            1.3,
        )
        command = [sys.executable, __file__, history.storage.uri, str(kept), engine]
        told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ourselves
        result.add(
            f"{events:,} events, {engine}: memory at most", "", float(told.stdout), "GB", 1.8
        )


def peers(result: Row, history: PinnedHistory, file: Path, spine: pa.Table, rounds: int) -> None:
    """Other tools beside us; ``EVENTLAKE_TEMPORIAN`` and ``EVENTLAKE_FEAST`` name the Pythons that have them."""
    given, asked = file.with_name("peer.parquet"), file.with_name("peer-spine.parquet")
    pl.scan_parquet(file).select(
        "subject", "time", pl.col("amount").cast(pl.Float64)
    ).collect().write_parquet(given)
    pl.DataFrame(spine).select("subject", "cutoff").write_parquet(asked)
    plan = compiled(features("watermark"), history.catalogue)
    ours = {
        engine: [
            taken(
                lambda engine=engine: (ENGINE_CACHE.clear(), rows(plan, history, spine, engine))
            ).cpu
            for _ in range(rounds)
        ]
        for engine in ("duckdb", "polars")
    }
    for peer, budget in (("temporian", 1 / 2), ("feast", 1 / 6)):
        python, theirs = os.environ.get(f"EVENTLAKE_{peer.upper()}"), None
        if python is not None:
            command = [
                python,
                "-W",
                "ignore",
                str(Path(__file__).with_name(f"peer_{peer}.py")),
                str(given),
                str(asked),
                str(rounds),
            ]
            told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - what we were told to run
            theirs = float(
                np.median(
                    [
                        json.loads(line)["cpu"]
                        for line in told.stdout.splitlines()
                        if line.startswith("{")
                    ]
                )
            )
        for engine, cpu in ours.items():
            result.add(
                f"CPU, {engine}",
                peer,
                None if theirs is None else float(np.median(cpu)) / theirs,
                "x",
                budget,
            )
    result.note(
        "Of Temporian its run alone is measured, of Feast, which has the last amount alone, and of us the reading as well."
    )


def drawn(given: pl.DataFrame, labels: int) -> dict[str, pa.Table]:
    """Spines: cutoffs anywhere, of any entity, or of entities in proportion to their events."""
    low, high = given["time"].min(), given["time"].max()
    instants = pl.int_range(labels, eager=True).hash(2) % int((high - low).total_seconds() * 1e6)
    cutoffs = (
        (instants.cast(pl.Int64) + int(pl.Series([low]).dt.epoch("us")[0]))
        .cast(pl.Datetime("us", "UTC"))
        .alias("cutoff")
    )
    chosen, subjects = pl.int_range(labels, eager=True).hash(3), given["subject"].unique().sort()
    return {
        "even": given_spine(
            pl.DataFrame([subjects.gather(chosen % len(subjects)).alias("subject"), cutoffs])
        ),
        "skewed": given_spine(
            pl.DataFrame([given["subject"].gather(chosen % given.height), cutoffs])
        ),
    }


def filled(given: pl.DataFrame, folder: Path) -> tuple[PinnedHistory, Path]:
    """A lake of events in ten commits, and a file of four typed columns for those who work by hand."""
    lake = el.create(folder / "lake", ORIGIN)
    lake.register(
        TYPE, {"type": "object", "properties": {"amount": {"type": "number", "multipleOf": 0.01}}}
    )
    told = pl.concat_str(pl.lit('{"amount":'), pl.col("amount").cast(pl.String), pl.lit("}")).alias(
        "data"
    )
    # Recorded an hour after it happened, so that it was known at the cutoffs.
    recorded = pl.col("time").cum_max() + pl.duration(hours=1)
    part = -(-given.height // 10)
    for start in range(0, given.height, part):
        some = given[start : start + part]
        lake.append(
            some.select("id", "source", "subject", "time", "type", told, recorded_at=recorded)
        )
    file = folder / "by-hand.parquet"
    given.select(
        pl.col("sequence").cast(pl.Int64),
        "subject",
        "time",
        pl.col("amount").cast(pl.Decimal(18, 2)),
    ).write_parquet(file)
    lake.snapshot().table(TYPE).select("sequence").collect()
    return lake.snapshot().history, file


def payments(setting: Setting, events: int) -> pl.DataFrame:
    """Events of one type with an amount, numbered in the order of their time."""
    given = (
        pl.DataFrame(setting.events(events))
        .select("id", "source", "subject", "time")
        .sort("time")
        .with_row_index("sequence")
    )
    cents = (pl.col("sequence").hash(1) % 100_000 + 1).cast(pl.Int64)
    return given.with_columns(
        pl.lit(TYPE).alias("type"),
        (cents.cast(pl.Decimal(18, 0)) * pl.lit("0.01").str.to_decimal(scale=2)).alias("amount"),
    )


def ten_times(given: pl.DataFrame) -> pl.DataFrame:
    """Ten histories, one after the other, the last of them as it is."""
    span = given["time"].max() - given["time"].min()
    copies = [
        given.with_columns(
            pl.concat_str("id", pl.lit(f"-{number}")).alias("id"),
            pl.col("time") - (9 - number) * span,
        )
        for number in range(10)
    ]
    return pl.concat(copies).drop("sequence").with_row_index("sequence")


def row(setting: Setting) -> Row:
    """Measures the row."""
    events, labels = setting.size(1_000_000, 50_000), setting.size(100_000, 5_000)
    result = Row(
        "features",
        f"{labels:,} rows of eleven point-in-time features over {events:,} events of one type, and ten times as many",
    )
    given = payments(setting, events)
    with scratch() as folder:
        history, file = filled(given, Path(folder))
        spines = drawn(given, labels)
        measure(result, history, file, spines, setting.times(5))
        peers(result, history, file, spines["even"], setting.times(3))
    whole = ten_times(given)
    with scratch() as folder:
        history, file = filled(whole, Path(folder))
        long_history(result, history, file, drawn(whole, labels)["even"], setting.times(2))
    result.note(
        "Publishing and hashing apart. The prefix that is kept is what was made of the events: the spine is looked up again."
    )
    return result


def memory(uri: str, spine: str, engine: str) -> float:
    """The most memory, in GB, of this process once it has looked the features up."""
    history = el.open(uri).snapshot().history
    rows(
        compiled(features("watermark"), history.catalogue),
        history,
        given_spine(pl.read_parquet(spine)),
        engine,
    )
    return peak_gigabytes()


if __name__ == "__main__":
    sys.stdout.write(f"{memory(*sys.argv[1:])}\n")
