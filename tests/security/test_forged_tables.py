"""Event tables that somebody else stored under names that are right: they hold other rows than the events give."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.parquet import segments
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.log.chain.open_or_create import open_chain
from eventlake.storage import LocalStorage, NotStoredError
from eventlake.tables import files, stored_table
from eventlake.tables.ranges import commit_at
from tests.support.forging_on_disk import SCHEMA, TYPE, payment

WIDER = {**SCHEMA, "properties": {**SCHEMA["properties"], "note": {"type": "string"}}}
SUM = f'SELECT sum(amount)::DECIMAL(18, 2) AS paid, 1 AS k FROM "{TYPE}"'
TRUTH = Decimal("455.00")
"""0.50 + 1.50 + … + 29.50 is 450.00; the last event is 5.00."""


@pytest.fixture
def root(tmp_path):
    """30 payments, one more, and two events of another type at the end; the table is stored."""
    lake = el.create(tmp_path / "lake", origin="bank.example/loans")
    lake.register(TYPE, SCHEMA)
    lake.append([payment(number) for number in range(30)])
    lake.append([payment(30, amount="5.00")])
    lake.append([payment(number, event_type="other.thing") for number in (31, 32)])
    assert lake.snapshot().table(TYPE).collect()["amount"].sum() == TRUTH
    return tmp_path / "lake"


def tables_of(root):
    return sorted((root / "tables").rglob("*.parquet"))


def tenfold(table):
    column = table.schema.get_field_index("amount")
    kind = table.schema.field("amount").type
    return table.set_column(
        column,
        "amount",
        pa.array([value * 10 for value in table.column("amount").to_pylist()], kind),
    )


def replaced(path, table, name=None):
    """Puts another table in a file's place, under a name of its own hash."""
    data = segments.encode_sorted(table)
    stem = name or path.name.rpartition("-")[0]
    path.unlink()
    (path.parent / f"{stem}-{sha256_hex(data)}.parquet").write_bytes(data)


def forge_values(root):
    (path,) = tables_of(root)
    replaced(path, tenfold(pq.read_table(path)))


def forge_to_the_head(root):
    """The name says that the range reaches to the head, where events of another type stand."""
    (path,) = tables_of(root)
    table = tenfold(pq.read_table(path))
    manifest = open_chain(LocalStorage(root)).manifest()
    replaced(path, table, f"{0:020d}-{33:020d}-{table.num_rows}-{commit_at(manifest, 33)}")


def forge_empty(root):
    (path,) = tables_of(root)
    replaced(path, pq.read_table(path).slice(0, 0))


def forge_columns(root):
    (path,) = tables_of(root)
    replaced(path, pa.table({"subject": ["a"], "sequence": [1]}))


def forge_bytes(root):
    (path,) = tables_of(root)
    data = b"no Parquet at all"
    path.with_name(f"{path.name.rpartition('-')[0]}-{sha256_hex(data)}.parquet").write_bytes(data)
    path.unlink()


FORGERIES = [forge_values, forge_to_the_head, forge_empty, forge_columns, forge_bytes]

READS = {
    "table": lambda lake: lake.snapshot().table(TYPE).collect()["amount"].sum(),
    "sql": lambda lake: lake.snapshot().sql(SUM).polars()["paid"].item(),
    "build": lambda lake: (
        lake.build(el.Projection.sql("paid", SUM, key=["k"])).polars()["paid"].item()
    ),
    "an older watermark": lambda lake: lake.snapshot(31).table(TYPE).collect()["amount"].sum(),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("forge", FORGERIES)
@pytest.mark.parametrize("whose", ["a stranger's", "one's own"])
def test_a_forged_table_is_not_read(root, stranger, whose, forge, read):
    forge(root)
    if whose == "a stranger's":
        stranger()
    assert READS[read](el.open(root)) == TRUTH


@pytest.mark.parametrize("read", READS)
def test_a_table_that_became_a_sparse_terabyte_is_made_again(root, read):
    (path,) = tables_of(root)
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    assert READS[read](el.open(root)) == TRUTH


def in_pieces(root, size_bytes):
    """The lake's storage, which is hashed in pieces of this size."""
    storage = LocalStorage(root)
    storage.piece_bytes = size_bytes
    return storage


def test_a_table_of_other_bytes_is_hashed_in_pieces_and_never_held_whole(root, monkeypatch):
    (path,) = tables_of(root)
    path.write_bytes(bytes(10_000) + b"PAR1")
    name = path.relative_to(root).as_posix()
    held = []
    for verb in ("read", "read_sized"):
        plain = getattr(LocalStorage, verb)
        monkeypatch.setattr(
            LocalStorage,
            verb,
            lambda self, asked, *size, plain=plain: held.append(asked) or plain(self, asked, *size),
        )
    assert READS["table"](el.open(in_pieces(root, 1_000))) == TRUTH
    assert held.count(name) == 0


def test_a_stored_table_that_is_larger_than_a_piece_is_read(root):
    (path,) = tables_of(root)
    before = path.stat()
    assert READS["table"](el.open(in_pieces(root, 100))) == TRUTH
    assert (path.stat().st_ino, el.open(in_pieces(root, 100)).verify(deep=True).problems) == (
        before.st_ino,
        (),
    )


@pytest.mark.parametrize("read", READS)
def test_a_table_that_was_rewritten_after_its_first_read_is_noticed(root, read):
    lake = el.open(root)
    assert READS["table"](lake) == TRUTH
    for path in tables_of(root):
        path.write_bytes(segments.encode_sorted(tenfold(pq.read_table(path))))
    assert READS[read](lake) == TRUTH


def test_a_forged_table_of_an_older_version_of_the_schema_is_not_read(root):
    lake = el.open(root)
    lake.register(TYPE, WIDER)
    forge_values(root)
    assert lake.snapshot().table(TYPE, version=1).collect()["amount"].sum() == TRUTH


def test_a_table_that_another_user_derived_is_derived_once_more_and_then_believed(
    root, stranger, monkeypatch
):
    stranger()
    assert READS["table"](el.open(root)) == TRUTH
    monkeypatch.setattr(files, "derive", lambda *_: pytest.fail("derived again"))
    assert READS["table"](el.open(root)) == TRUTH
    assert READS["sql"](el.open(root)) == TRUTH


def test_the_same_bytes_derived_again_are_the_same_file(root, stranger):
    before = tables_of(root)
    stranger()
    assert READS["table"](el.open(root)) == TRUTH
    assert tables_of(root) == before


def test_with_trust_in_the_lake_a_table_is_believed_by_its_name(root, stranger):
    forge_values(root)
    stranger()
    assert READS["table"](el.open(root, trust="lake")) == TRUTH * 10


@pytest.mark.parametrize("moment", ["before merging", "before use"])
def test_a_table_file_that_is_taken_away_between_choice_and_read_is_derived_again(
    root, monkeypatch, moment
):
    lake = el.open(root)
    lake.append([payment(number, amount="1.00") for number in range(40, 50)])
    name = "to_merge" if moment == "before merging" else "cover"
    real = getattr(stored_table, name)
    taken = []

    def taking(*arguments):
        found = real(*arguments)
        for path in tables_of(root) if len(taken) < 3 else ():
            taken.append(path)
            path.unlink()
        return found

    monkeypatch.setattr(stored_table, name, taking)
    assert READS["build"](lake) == TRUTH + 10
    assert taken


@pytest.mark.parametrize("read", READS)
def test_typed_reads_of_a_lake_that_cannot_be_written_are_kept_in_the_cache(
    root, stranger, monkeypatch, read
):
    stranger()
    for path in tables_of(root):
        path.unlink()

    def refused(self, path, data, real=LocalStorage.create):
        if str(root) in self.uri and path.startswith("tables/"):
            message = f"could not create {path}: Read-only file system EROFS"
            raise NotStoredError(message, path=path)
        real(self, path, data)

    monkeypatch.setattr(LocalStorage, "create", refused)
    assert READS[read](el.open(root)) == TRUTH
    assert not tables_of(root)
    monkeypatch.setattr(files, "derive", lambda *_: pytest.fail("derived again"))
    assert READS["table"](el.open(root)) == TRUTH


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_deep_verification_derives_every_table_again(root, forge):
    assert el.open(root).verify(deep=True).ok
    forge(root)
    report = el.open(root).verify(deep=True)
    assert [finding.path.startswith("tables/") for finding in report.problems] == [True]


def test_a_deep_verification_derives_tables_of_older_versions_again(root):
    lake = el.open(root)
    lake.register(TYPE, WIDER)
    lake.append([{**payment(60), "data": {"amount": "1.00", "note": "new"}}])
    assert lake.verify(deep=True).ok
    forge_values(root)
    assert ["tables/" in str(problem) for problem in lake.verify(deep=True).problems] == [True]


def test_a_deep_verification_notes_tables_that_nobody_would_read(root):
    (path,) = tables_of(root)
    stem = path.name.split("-")
    other = path.with_name("-".join([*stem[:3], "0" * 12, stem[4]]))
    other.write_bytes(path.read_bytes())
    report = el.open(root).verify(deep=True)
    assert report.ok
    assert [note.message for note in report.notes] == ["never read: a table of another history"]


FEATURES = el.FeatureSet("paid", features=[el.sum(TYPE, "amount").name("paid")], known="watermark")
SPINE = pl.DataFrame(
    {
        "subject": [f"/loan/{number}" for number in range(7)],
        "cutoff": [datetime(2027, 1, 1, tzinfo=UTC)] * 7,
    }
)
ENGINES_READ = {
    "a query": READS["sql"],
    "a projection in SQL": READS["build"],
    "declared features on duckdb": lambda lake: (
        lake.build(FEATURES, spine=SPINE, engine="duckdb").polars()["paid"].sum()
    ),
    "declared features on polars": lambda lake: (
        lake.build(FEATURES, spine=SPINE, engine="polars").polars()["paid"].sum()
    ),
}


@pytest.mark.parametrize("read", ENGINES_READ)
def test_a_table_file_that_is_taken_away_before_an_engine_opens_it_is_derived_again(
    root, monkeypatch, read
):
    lake = el.open(root)
    real = files.event_tables
    taken = []

    def taking(*arguments, **options):
        found = real(*arguments, **options)
        for path in tables_of(root) if not taken else ():
            taken.append(path)
            path.unlink()
        return found

    monkeypatch.setattr(files, "event_tables", taking)
    assert ENGINES_READ[read](lake) == TRUTH
    assert len(taken) == 1
