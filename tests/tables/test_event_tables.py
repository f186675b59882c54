"""Event tables: typed, derived once, never stale, equal on both engines; and which events stand once corrections are heard."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.errors import InvalidInputError, InvalidProjectionError, NotFoundError, StorageError
from eventlake.storage import LocalStorage, MemoryStorage
from eventlake.tables import files as event_tables

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "multipleOf": 0.01},
        "day": {"type": "string", "format": "date"},
        "id": {"type": "integer"},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"sku": {"type": "string"}}},
        },
    },
    "required": ["amount"],
}


def event(name, amount=1, subject="/loan/7", **more):
    return {
        "id": str(name),
        "source": "s",
        "type": "pay",
        "subject": subject,
        "data": {"amount": amount, **more.pop("data", {})},
        **more,
    }


def made(where):
    lake = el.create(where, "o")
    lake.register("pay", SCHEMA)
    return lake


def rows_of(snapshot, **options):
    return snapshot.table("pay", **options).sort("sequence").collect()


def files(folder):
    return sorted(path.name for path in (folder / "tables").rglob("*.parquet"))


def test_a_table_has_the_envelope_and_typed_fields(tmp_path):
    lake = made(tmp_path / "lake")
    when = "2026-01-31T12:00:00Z"
    lake.append(
        [
            event(
                1,
                1.5,
                time=when,
                data={"day": "2026-02-01", "id": 7, "lines": [{"sku": "a"}], "other": 1},
            ),
            event(2),
        ]
    )
    frame = rows_of(lake.snapshot())
    assert frame.columns == [
        "sequence",
        "id",
        "source",
        "subject",
        "time",
        "recorded_at",
        "amount",
        "day",
        "data_id",
        "lines",
    ]
    first, second = frame.rows(named=True)
    assert (first["amount"], first["day"], first["data_id"], first["lines"]) == (
        Decimal("1.50"),
        date(2026, 2, 1),
        7,
        [{"sku": "a"}],
    )
    assert first["time"] == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert second["time"] == second["recorded_at"]
    assert second["day"] is second["lines"] is None


def test_an_unregistered_type_is_refused_with_a_hint():
    lake = el.create("memory://", "o")
    lake.append([event(1)])
    with pytest.raises(NotFoundError) as caught:
        lake.snapshot().table("pay")
    assert "lake.register('pay', schema)" in caught.value.hint
    with pytest.raises(InvalidInputError, match="refused the query") as caught:
        lake.snapshot().sql('SELECT * FROM "pay"')
    assert "lake.register" in caught.value.hint


@pytest.mark.parametrize("where", ["folder", "memory", "objects"])
def test_both_engines_and_every_storage_show_the_same_rows(tmp_path, where, request):
    if where == "objects":
        request.getfixturevalue("s3")
    lake = made(
        {"folder": tmp_path / "lake", "memory": MemoryStorage(), "objects": "s3://bucket/lake"}[
            where
        ]
    )
    for number in range(5):
        lake.append([event(f"{number} {n}", n, f"/loan/{n % 3}") for n in range(4)])
    snapshot = lake.snapshot(at=18)
    ours = rows_of(snapshot)
    assert ours["sequence"].to_list() == list(range(18))
    assert snapshot.sql('SELECT * FROM "pay" ORDER BY sequence').polars().equals(ours)
    computed = "SELECT count(*) AS n FROM query_table('pay') UNION ALL SELECT count(*) FROM query_table('events')"
    assert snapshot.sql(computed).polars()["n"].to_list() == [18, 18]
    assert snapshot.sql('SELECT sum(amount) AS s FROM "Pay"').polars()["s"].to_list() == [
        ours["amount"].sum()
    ]
    by_hand = snapshot.scan().collect()
    assert ours["id"].to_list() == by_hand["id"].to_list()
    assert ours["recorded_at"].to_list() == by_hand["recorded_at"].to_list()


def test_a_table_is_extended_after_an_append_kept_through_compaction_and_shared(tmp_path):
    folder = tmp_path / "lake"
    lake = made(folder)
    for number in range(40):
        lake.append([event(f"{number} {n}", n, f"/loan/{n}") for n in range(10)])
        assert rows_of(lake.snapshot()).height == 10 * (number + 1)
    assert len(files(folder)) <= 40
    before = files(folder)
    lake.compact()
    lake.gc(older_than=timedelta(0), dry_run=False)
    kept = files(folder)
    assert set(kept) <= set(before)
    assert len(kept) <= 8
    assert rows_of(el.open(folder).snapshot()).height == 400
    assert files(folder) == kept
    assert rows_of(lake.snapshot(at=123)).height == 123
    assert files(folder) == kept


def test_a_table_may_be_deleted_or_damaged_at_any_time(tmp_path, caplog):
    folder = tmp_path / "lake"
    lake = made(folder)
    lake.append([event(n, n) for n in range(100)])
    expected = rows_of(lake.snapshot())
    (path,) = (folder / "tables").rglob("*.parquet")
    path.unlink()
    assert rows_of(lake.snapshot()).equals(expected)
    data = path.read_bytes()
    for at in (5, len(data) // 2, len(data) - 5):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert [problem.path for problem in lake.verify().problems] == [
            str(path.relative_to(folder))
        ]
        assert rows_of(lake.snapshot()).equals(expected)
        assert "is damaged" in caplog.text
        assert lake.verify().ok


def test_a_query_over_several_types_reads_each_segment_once(tmp_path, monkeypatch):
    lake = made(tmp_path / "lake")
    lake.register("refund", SCHEMA)
    for number in range(4):
        lake.append([event(f"{number} {n}", n, type=("pay", "refund")[n % 2]) for n in range(6)])
    read = []
    real = event_tables.read_events

    def noted(storage, placed, trust):
        read.append(placed[1].start)
        return real(storage, placed, trust)

    monkeypatch.setattr(event_tables, "read_events", noted)
    query = 'SELECT (SELECT sum(amount) FROM "pay") AS paid, (SELECT sum(amount) FROM "refund") AS refunded'
    assert lake.snapshot().sql(query).polars().rows() == [(Decimal(24), Decimal(36))]
    assert read == [0, 6, 12, 18]
    assert len(files(tmp_path / "lake")) == 2
    assert lake.snapshot().sql(query).polars().rows() == [(Decimal(24), Decimal(36))]
    assert read == [0, 6, 12, 18]


def test_large_tables_are_stored_as_several_ranges_and_the_gap_between_two_files_is_filled(
    tmp_path, monkeypatch
):
    small = partial(event_tables.event_tables, merged_rows=20)
    monkeypatch.setattr(event_tables, "event_tables", small)
    lake = made(tmp_path / "lake")
    for number in range(8):
        lake.append([event(f"{number} {n}", n) for n in range(6)])
    expected = rows_of(lake.snapshot())
    assert expected["sequence"].to_list() == list(range(48))
    ranges = sorted((tmp_path / "lake" / "tables").rglob("*.parquet"))
    assert len(ranges) > 2
    ranges[1].unlink()
    assert rows_of(lake.snapshot()).equals(expected)
    for path in ranges[::2]:
        path.unlink(missing_ok=True)
    assert rows_of(lake.snapshot()).equals(expected)
    assert rows_of(lake.snapshot(at=31)).equals(expected.head(31))


def test_another_history_at_the_same_sequences_does_not_take_a_table_over(tmp_path):
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    one.append([event(1, 1)])
    other.append([event(1, 2)])
    rows_of(one.snapshot())
    for path in (tmp_path / "one" / "tables").rglob("*.parquet"):
        target = tmp_path / "other" / path.relative_to(tmp_path / "one")
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    assert rows_of(other.snapshot())["amount"].to_list() == [Decimal(2)]


def test_subjects_and_what_is_below_them(tmp_path):
    lake = made(tmp_path / "lake")
    subjects = [
        "/loan/7",
        "/loan/7/a",
        "/loan/7/a/b",
        "/loan/70",
        "/loan/7-",
        "/loan",
        "/",
        "loan",
        None,
    ]
    lake.append([event(n, subject=subject) for n, subject in enumerate(subjects)])
    snapshot = lake.snapshot()
    below = {
        "/loan/7": [0, 1, 2],
        "/loan": [0, 1, 2, 3, 4, 5],
        "/": [0, 1, 2, 3, 4, 5, 6],
        "loan": [7],
        "/loan/7/a/b": [2],
    }
    for subject, expected in below.items():
        assert rows_of(snapshot, subject=subject, recursive=True)["sequence"].to_list() == expected
        assert rows_of(snapshot, subject=subject)["sequence"].to_list() == [subjects.index(subject)]


def test_columns_and_conditions(tmp_path):
    lake = made(tmp_path / "lake")
    lake.append([event(n, n) for n in range(5)])
    frame = lake.snapshot().table("pay", ["id", "amount"], where=pl.col("amount") > 2)
    assert sorted(frame.collect().rows()) == [("3", Decimal(3)), ("4", Decimal(4))]
    for options in (
        {"columns": ["nothing"]},
        {"columns": "id"},
        {"corrections": "newest"},
        {"known_at": "2026-01-01"},
    ):
        with pytest.raises(InvalidInputError):
            lake.snapshot().table("pay", **options)


def test_the_newest_of_a_family_speaks(tmp_path):
    lake = made(tmp_path / "lake")
    lake.append([event("a", 1), event("b", 2), event("c", 3), event("d", 4)])
    lake.append(
        [
            event("a2", 10, corrects="a"),
            event("b2", corrects="b", correction="retract"),
            event("c2", 30, corrects="c"),
        ]
    )
    lake.append(
        [
            event("a3", 11, corrects="a2"),
            event("b3", 21, corrects="b2"),
            event("c3", corrects="c", correction="retract"),
        ]
    )
    snapshot = lake.snapshot()
    assert rows_of(snapshot, corrections="latest")["id"].to_list() == ["d", "a3", "b3"]
    assert rows_of(lake.snapshot(at=7), corrections="latest")["id"].to_list() == ["d", "a2", "c2"]
    assert rows_of(lake.snapshot(at=4), corrections="latest")["id"].to_list() == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert rows_of(snapshot)["id"].len() == 10
    latest = snapshot.sql('SELECT id FROM latest."pay" ORDER BY sequence').polars()["id"].to_list()
    assert latest == ["d", "a3", "b3"]
    both = (
        snapshot.sql(
            'SELECT (SELECT count(*) FROM "pay") AS a, (SELECT count(*) FROM latest."pay") AS l'
        )
        .polars()
        .rows()
    )
    assert both == [(10, 3)]


def test_known_at_shows_what_was_recorded_before_an_instant_and_corrections_as_known_then(tmp_path):
    lake = made(tmp_path / "lake")
    stamps = [f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3)]
    lake.append([event("a", 1, recorded_at=stamps[0]), event("b", 2, recorded_at=stamps[1])])
    lake.append([event("a2", 10, corrects="a", recorded_at=stamps[2])])
    snapshot = lake.snapshot()
    known = {
        stamp: rows_of(snapshot, corrections="latest", known_at=stamp)["id"].to_list()
        for stamp in stamps
    }
    assert known == {stamps[0]: [], stamps[1]: ["a"], stamps[2]: ["a", "b"]}
    assert rows_of(snapshot, corrections="latest", known_at="2026-01-03T00:00:00.000001Z")[
        "id"
    ].to_list() == ["b", "a2"]
    assert rows_of(snapshot, known_at=datetime(2026, 1, 4, tzinfo=UTC))["id"].to_list() == [
        "a",
        "b",
        "a2",
    ]


def test_how_long_corrected_events_spoke_is_a_table_of_both_engines_and_of_no_projection(tmp_path):
    lake = made(tmp_path / "lake")
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    stamps = [day.isoformat() for day in days]
    lake.append([event("a", 1, recorded_at=stamps[0]), event("b", 2, recorded_at=stamps[0])])
    lake.append([event("a2", 10, corrects="a", recorded_at=stamps[1])])
    lake.append([event("a3", corrects="a2", correction="retract", recorded_at=stamps[2])])
    snapshot = lake.snapshot()
    told = [("s", "a", days[1], True), ("s", "a2", days[2], True), ("s", "a3", None, False)]
    assert snapshot.lifetimes("pay").sort("id").rows() == told
    assert snapshot.sql("SELECT * FROM Lifetimes.PAY ORDER BY id").polars().rows() == told
    assert (
        snapshot.sql("SELECT * FROM query('SELECT * FROM Lifetimes.PAY ORDER BY id')")
        .polars()
        .rows()
        == told
    )
    assert lake.snapshot(at=2).lifetimes("pay").rows() == []
    with pytest.raises(NotFoundError):
        snapshot.lifetimes("paid")
    with pytest.raises(InvalidProjectionError, match="lifetimes"):
        lake.build(
            el.Projection.sql("p", "SELECT source, id FROM lifetimes.pay", key=["source", "id"])
        )
    with pytest.raises(InvalidProjectionError, match="lifetimes"):
        lake.build(
            el.Projection.sql(
                "p",
                "SELECT source, id FROM query('SELECT * FROM lifetimes.pay')",
                key=["source", "id"],
            )
        )


def test_a_frame_that_is_a_parameter_is_a_table_and_hides_none_of_the_history(tmp_path):
    snapshot = made(tmp_path / "lake").snapshot()
    frame = pl.DataFrame({"n": [1, 2]})
    for table in (frame, frame.to_arrow(), frame.to_pandas()):
        assert snapshot.sql(
            'SELECT sum(n)::INT + $more AS s FROM "my frame"', **{"my frame": table}, more=3
        ).polars().rows() == [(6,)]
    for name in ("events", "Pay"):
        with pytest.raises(InvalidInputError, match=f"found {name}, which the history has"):
            snapshot.sql("SELECT 1 AS one", **{name: frame})
    with pytest.raises(InvalidInputError, match="which the history has"):
        snapshot.sql(
            "SELECT count(*) AS n FROM lifetimes.pay", **{"Eventlake Lifetimes of pay": frame}
        )
    for odd, problem in ((frame.lazy(), "found a LazyFrame"), (frame["n"], "found Series")):
        with pytest.raises(InvalidInputError, match=problem):
            snapshot.sql("SELECT count(*) AS n FROM odd", odd=odd)
    assert snapshot.sql(
        "WITH pay AS (SELECT * FROM main.pay) SELECT count(*) AS n FROM pay"
    ).polars().rows() == [(0,)]


STEPS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([None, "replace", "retract"])),
    min_size=1,
    max_size=25,
)


@given(STEPS, st.integers(0, 30))
@settings(max_examples=25)
def test_which_events_stand_is_what_a_plain_loop_says(steps, watermark):
    lake = made(MemoryStorage())
    family, rows = [], []
    for number, (target, correction) in enumerate(steps):
        corrects = target if correction and target < number else None
        family.append(family[corrects] if corrects is not None else number)
        rows.append(
            event(
                number,
                **(
                    {"corrects": str(corrects), "correction": correction}
                    if corrects is not None
                    else {}
                ),
            )
        )
    lake.append(rows)
    watermark = min(watermark, len(rows))
    newest = {family[number]: number for number in range(watermark)}
    standing = sorted(
        number for number in newest.values() if rows[number].get("correction") != "retract"
    )
    snapshot = lake.snapshot(at=watermark)
    assert rows_of(snapshot, corrections="latest")["sequence"].to_list() == standing
    assert (
        snapshot.sql('SELECT sequence FROM latest."pay" ORDER BY 1').polars()["sequence"].to_list()
        == standing
    )


@pytest.mark.parametrize(
    ("correction", "word"),
    [
        ({"corrects": "nobody"}, "holds none"),
        ({"corrects": "1", "type": "other"}, "same type"),
        ({"corrects": "1", "subject": "/loan/8"}, "same subject"),
        ({"corrects": "1", "subject": None}, "same subject"),
        ({"corrects": "1", "source": "t"}, "holds none"),
        ({"corrects": "3"}, "comes later"),
    ],
)
def test_a_correction_of_nothing_is_refused(tmp_path, correction, word):
    lake = made(tmp_path / "lake")
    lake.append([event(1)])
    with pytest.raises(InvalidInputError, match=word):
        lake.append([{**event(2), **correction}, event(3)])
    assert lake.watermark == 1


def test_in_a_group_a_correction_may_name_an_event_of_the_batch_before_it_and_fails_with_it():
    lake = made(MemoryStorage())
    with lake.writer(max_delay=0.2) as writer:
        futures = [
            writer.append([event(1)]),
            writer.append([event(2, corrects="1")]),
            writer.append([event(3, amount="x")]),
            writer.append([event(4, corrects="3")]),
        ]
    assert [future.exception() is None for future in futures] == [True, True, False, False]
    assert rows_of(lake.snapshot(), corrections="latest")["id"].to_list() == ["2"]


def test_datasets_read_event_tables_and_pin_their_schemas(tmp_path):
    lake = made(tmp_path / "lake")
    lake.append([event(n, n, f"/loan/{n % 2}") for n in range(6)])
    lake.append([event("late", 100, "/loan/0", corrects="0")])
    query = 'SELECT subject AS loan, sum(amount)::DECIMAL(18, 2) AS paid FROM latest."pay" GROUP BY subject'
    sql = lake.build(el.Projection.sql("paid", query, key=["loan"]))
    assert sql.polars().rows() == [("/loan/0", Decimal(106)), ("/loan/1", Decimal(9))]
    python = lake.build(paid)
    assert python.content_hash == sql.content_hash
    version = lake.schema("pay")
    assert (
        sql.manifest.recipe.schemas
        == python.manifest.recipe.schemas
        == {"pay": version.schema_hash}
    )
    assert sql.manifest.recipe.clock_hash is None
    wider = {
        **SCHEMA,
        "properties": {
            **SCHEMA["properties"],
            "amount": {"type": "number", "multipleOf": 0.001, "x-precision": 30},
        },
    }
    lake.register("pay", wider)
    lake.append([event("new", "0.001")])
    lake.compact()
    for dataset in (sql, python):
        result = lake.reproduce(dataset.manifest_hash, trust=True)
        assert result.identical
        assert result.differences == ()
    again = lake.build(el.Projection.sql("paid", query, key=["loan"]), at=sql.manifest_hash)
    assert again.content_hash == sql.content_hash
    assert again.recipe_hash != sql.recipe_hash


@el.projection(name="paid", key=["loan"])
def paid(snapshot):
    frame = snapshot.table("pay", corrections="latest")
    return frame.group_by(loan="subject").agg(paid=pl.col("amount").sum().cast(pl.Decimal(18, 2)))


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_a_damaged_table_that_cannot_be_taken_away_is_not_read(tmp_path, where, monkeypatch):
    storage = MemoryStorage() if where == "memory" else LocalStorage(tmp_path / "lake")
    lake = made(storage)
    lake.append([event(number, number) for number in range(5)])
    rows_of(lake.snapshot())
    (path,) = (item.path for item in storage.list("tables"))
    data = bytearray(storage.read(path))
    data[len(data) // 2] ^= 1
    storage.delete(path)
    storage.create(path, bytes(data))

    def refused(_):
        raise StorageError("no permission to delete")

    monkeypatch.setattr(storage, "delete", refused)
    lake = el.open(storage)
    for _ in range(2):
        assert rows_of(lake.snapshot())["amount"].to_list() == [
            Decimal(number) for number in range(5)
        ]
        assert lake.snapshot().sql('SELECT sum(amount) AS s FROM "pay"').polars()["s"].item() == 10


@settings(max_examples=8)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(40, 2_000))
def test_tables_of_any_types_are_the_same_whatever_fits_into_memory(types, most_bytes):
    lake = el.create("memory://", "o")
    names = [f"type-{number}" for number in range(5)]
    for name in names:
        lake.register(name, SCHEMA)
    batch = [event(n, n, type=f"type-{number}") for n, number in enumerate(types)]
    # The last type has no schema.
    lake.append(batch[: len(batch) // 2])
    lake.append(batch[len(batch) // 2 :])
    history = lake.snapshot().history
    versions = [history.catalogue.version(name) for name in names]
    arguments = (history.storage, history.manifest, versions, history.watermark, history.trust)
    with pytest.MonkeyPatch.context() as patch:
        # Batches of a few rows.
        patch.setattr("eventlake.columns.parquet.segments.batch_bytes", lambda: most_bytes)
        tables = event_tables.event_tables(*arguments, most_bytes=most_bytes)
        again = event_tables.event_tables(*arguments, most_bytes=most_bytes)
        derived = event_tables.event_tables(*arguments, ignore_stored=True)
        assert lake.verify(deep=True).ok
    assert again == tables
    for number, (table, alone) in enumerate(zip(tables, derived, strict=True)):
        parts = [pl.DataFrame(part.rows) for part in table.parts]
        found = pl.concat(parts).sort("sequence") if parts else pl.DataFrame({"sequence": []})
        expected = [n for n, one in enumerate(types) if one == number]
        assert found["sequence"].to_list() == expected
        if expected:
            assert found["amount"].to_list() == expected
            assert found.equals(pl.DataFrame(alone.parts[0].rows).sort("sequence"))
