"""A lake whose log names events that do not hash to its leaves, or says of them what is not so."""

import shutil

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.core.hashing.canonical import sha256_hex, unseal
from eventlake.errors import CorruptionError, InvalidInputError
from eventlake.log.chain import checked_read
from tests.support.forging_on_disk import SCHEMA, TYPE, forge_commit, forge_payloads, payment

BY_SUBJECT = el.Projection.sql(
    "paid",
    "SELECT subject, sum((data->>'amount')::DECIMAL(18, 2))::DECIMAL(18, 2) AS paid FROM events GROUP BY subject",
    key=["subject"],
)
BY_TYPE = el.Projection.sql(
    "count", f'SELECT subject, count(*) AS n FROM "{TYPE}" GROUP BY subject', key=["subject"]
)

READS = {
    "scan": lambda lake: lake.snapshot().scan().collect(),
    "scan at a checkpoint": lambda lake: lake.snapshot(str(lake.checkpoint)).scan().collect(),
    "sql": lambda lake: lake.snapshot().sql("SELECT max(data) FROM events").polars(),
    "types": lambda lake: lake.snapshot().types(),
    "table": lambda lake: lake.snapshot().table(TYPE).collect(),
    "typed sql": lambda lake: lake.snapshot().sql(f'SELECT sum(amount) FROM "{TYPE}"').polars(),
    "one event": lambda lake: lake.snapshot().event(12),
    "follow": lambda lake: list(lake.follow(timeout_seconds=0)),
    "build over events": lambda lake: lake.build(BY_SUBJECT),
    "build over a type": lambda lake: lake.build(BY_TYPE),
    "proof of a forged event": lambda lake: lake.prove_inclusion(12),
    "registration": lambda lake: lake.register(
        TYPE, {**SCHEMA, "properties": {**SCHEMA["properties"], "note": {"type": "string"}}}
    ),
    "compaction": lambda lake: lake.compact(),
}


@pytest.fixture
def root(tmp_path):
    """A lake of 30 payments in three commits after its schema: versions 1 to 3."""
    lake = el.create(tmp_path / "lake", origin="bank.example/loans")
    lake.register(TYPE, SCHEMA)
    for start in range(0, 30, 10):
        lake.append([payment(number) for number in range(start, start + 10)])
    return tmp_path / "lake"


@pytest.mark.parametrize("read", READS)
def test_payloads_that_do_not_hash_to_the_leaves_are_refused_by_every_verb(root, stranger, read):
    forge_payloads(root, 2)
    stranger()
    with pytest.raises(el.EventlakeError, match="do not hash to the leaves"):
        READS[read](el.open(root))


def test_payloads_that_do_not_hash_to_the_leaves_are_refused_in_a_lake_of_ones_own(root):
    checkpoint = el.open(root).checkpoint
    forge_payloads(root, 2)
    with pytest.raises(el.EventlakeError, match="do not hash to the leaves"):
        el.open(root).snapshot(checkpoint).scan().collect()


STATISTICS = {
    "other types": {"types": {"other": 10}},
    "a type of which there is no event": {"types": {TYPE: 9, "other": 1}},
    "nothing is dated": {"undated": 10, "time": None},
    "another time range": {"time": [0, 1]},
    "without payloads": {"columns": ["id", "source", "type", "subject", "time"]},
    "recorded otherwise": {"recorded_at": [1, 2]},
}


@pytest.mark.parametrize("said", STATISTICS)
@pytest.mark.parametrize("read", ["scan", "sql", "types", "table", "build over a type"])
def test_statistics_that_the_events_do_not_bear_out_are_refused(root, stranger, said, read):
    forge_commit(root, 2, lambda document: document["segments"][0].update(STATISTICS[said]))
    shutil.rmtree(root / "tables", ignore_errors=True)
    stranger()
    with pytest.raises(el.EventlakeError):
        READS[read](el.open(root))


def test_a_root_that_the_segments_do_not_fold_to_is_refused(root, stranger):
    """The ranges of a compacted segment are consistent with its own events, and with no history that a checkpoint names."""
    lake = el.open(root)
    lake.compact()
    checkpoint = lake.checkpoint
    other = el.create(root.parent / "other", origin="bank.example/loans")
    other.register(TYPE, SCHEMA)
    for start in range(0, 30, 10):
        other.append([payment(number, amount="7.00") for number in range(start, start + 10)])
    other.compact()
    theirs = unseal(max((root.parent / "other" / "log").glob("*.json")).read_bytes(), "")
    segment = theirs["segments"][0]
    shutil.copy(
        root.parent / "other" / "segments" / f"{segment['sha256']}.parquet", root / "segments"
    )
    forge_commit(
        root,
        4,
        lambda document: document.update(segments=[segment], recorded_at=theirs["recorded_at"]),
    )
    stranger()
    with pytest.raises(
        CorruptionError, match="its hashes do not match the events that it replaces"
    ):
        el.open(root).snapshot(checkpoint).scan().collect()


def test_what_a_stranger_stored_soundly_is_checked_once_and_then_believed(
    root, stranger, monkeypatch
):
    stranger()
    assert el.open(root).snapshot().scan().select(pl.len()).collect().item() == 30
    monkeypatch.setattr(checked_read, "wrong_claims", lambda *_: pytest.fail("checked again"))
    monkeypatch.setattr(checked_read, "checked_bytes", lambda *_: pytest.fail("hashed again"))
    assert el.open(root).snapshot().scan().select(pl.len()).collect().item() == 30


def test_ones_own_events_are_not_checked_again(root, monkeypatch):
    monkeypatch.setattr(checked_read, "wrong_claims", lambda *_: pytest.fail("checked again"))
    monkeypatch.setattr(checked_read, "checked_bytes", lambda *_: pytest.fail("hashed again"))
    assert el.open(root).snapshot().scan().select(pl.len()).collect().item() == 30


def test_with_trust_in_the_lake_its_writers_are_believed(root, stranger):
    forge_payloads(root, 2)
    stranger()
    lake = el.open(root, trust="lake")
    assert lake.trust == "lake"
    assert "999999.00" in lake.snapshot().sql("SELECT max(data) AS m FROM events").polars().item()


def test_a_segment_that_was_rewritten_after_it_was_checked_is_noticed_by_a_scan(root, stranger):
    stranger()
    lake = el.open(root)
    lake.snapshot().scan().collect()
    path = next((root / "segments").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptionError, match="does not match its commit"):
        lake.snapshot().scan().collect()


def test_only_own_and_lake_can_be_trusted(root, monkeypatch):
    with pytest.raises(InvalidInputError, match="expected trust='own' or 'lake', found 'all'"):
        el.open(root, trust="all")
    monkeypatch.setenv("EVENTLAKE_TRUST", "lake")
    assert el.open(root).trust == "lake"
    assert "trust='lake'" in repr(el.open(root))


@pytest.mark.parametrize("deep", [False, True])
def test_a_verification_against_a_checkpoint_hashes_every_event(root, deep):
    checkpoint = el.open(root).checkpoint
    assert el.open(root).verify(deep=deep, against=checkpoint).ok
    forge_payloads(root, 2)
    assert str(el.open(root).checkpoint) == str(checkpoint)
    problems = el.open(root).verify(deep=deep, against=checkpoint).problems
    assert any("do not hash to the leaves" in problem.message for problem in problems)


@pytest.mark.parametrize("said", [name for name in STATISTICS if name != "recorded otherwise"])
@pytest.mark.parametrize("how", [{"deep": True}, {"against": True}])
def test_a_verification_compares_the_statistics_with_the_events(root, said, how):
    checkpoint = el.open(root).checkpoint
    forge_commit(root, 2, lambda document: document["segments"][0].update(STATISTICS[said]))
    report = el.open(root).verify(
        **{**how, **({"against": checkpoint} if "against" in how else {})}
    )
    assert any("its commit states" in problem.message for problem in report.problems)


def as_numbers(table):
    return table.set_column(
        table.schema.get_field_index("data"), "data", pa.array(range(table.num_rows), pa.int64())
    )


def twice(table):
    return table.append_column("data", table.column("data"))


def dictionaries(table):
    return table.set_column(
        table.schema.get_field_index("data"), "data", table.column("data").dictionary_encode()
    )


@pytest.mark.parametrize("change", [as_numbers, twice, dictionaries])
def test_columns_that_engines_would_read_as_something_else_are_refused(tmp_path, stranger, change):
    """The payloads are numbers: as integers they hash to the same leaves."""
    root = tmp_path / "lake"
    el.create(root, origin="bank.example/loans").append(
        [{**payment(number), "data": str(number)} for number in range(10)]
    )

    def forge(document):
        segment = document["segments"][0]
        path = root / "segments" / f"{segment['sha256']}.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(change(pq.read_table(path)), sink, store_schema=True)
        data = sink.getvalue().to_pybytes()
        segment["sha256"], segment["bytes"] = sha256_hex(data), len(data)
        path.with_name(f"{segment['sha256']}.parquet").write_bytes(data)

    forge_commit(root, 0, forge)
    stranger()
    for read in ("scan", "sql", "types"):
        with pytest.raises(CorruptionError, match="expected each column once"):
            READS[read](el.open(root))
