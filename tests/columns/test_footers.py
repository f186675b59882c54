"""Parquet files that stand for more than they may: the footer is held to what is known before a page is decoded."""

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.parquet import frames, manifest_rows, segments
from eventlake.columns.parquet.footers import FooterLimits
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import seal
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import CorruptionError, EventlakeError
from tests.support.forging import document, folder_of, forge_commit, lake_of_a_stranger, put

pytestmark = pytest.mark.every_case

MANY = 3_000_000
TIGHT = FooterLimits(free_bytes=1 << 20, most_ratio=10)


@pytest.fixture
def storage():
    return lake_of_a_stranger()


def parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def bomb(names, rows=MANY):
    """A few kilobytes that stand for millions of rows."""
    data = parquet(
        pa.table(
            {
                name: pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), ["x"])
                for name in names
            }
        )
    )
    assert len(data) < 100_000
    return data


@pytest.fixture
def no_pages(monkeypatch):
    """Fails whoever decodes a page of a large file."""
    read, read_row_group = pq.ParquetFile.read, pq.ParquetFile.read_row_group

    def checked(method):
        def reading(self, *given, **named):
            assert self.metadata.num_rows < MANY, "a page was decoded"
            return method(self, *given, **named)

        return reading

    monkeypatch.setattr(pq.ParquetFile, "read", checked(read))
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", checked(read_row_group))


def forge_segment(storage, data):
    """Puts other bytes in the place of the segment of the last commit, which names their hash."""
    sha256 = hashlib.sha256(data).hexdigest()
    storage.create(f"segments/{sha256}.parquet", data)
    newest = max(item.path for item in storage.list("log"))
    assert document(storage, newest)["kind"] == "append"
    forge_commit(
        storage,
        int(newest[4:24]),
        lambda commit: commit["segments"][0].update(sha256=sha256, bytes=len(data)),
    )
    return f"segments/{sha256}.parquet"


def test_a_segment_with_other_rows_than_its_commit_says_is_refused_before_it_is_decoded(
    storage, no_pages
):
    path = forge_segment(storage, bomb(["id", "source", "type", "subject", "data"]))
    message = f"{path}: expected exactly 10 rows, its footer says 3,000,000"
    with pytest.raises(EventlakeError, match="its footer says 3,000,000"):
        el.open(storage).snapshot().scan().collect()
    assert message in {finding.message for finding in verify_lake(storage, deep=True).problems}


def test_verify_goes_on_after_a_bomb(storage, no_pages):
    path = forge_segment(storage, bomb(["id", "source", "type", "subject", "data"]))
    put(storage, "tags/model-1.json", b"[" * 1000)
    report = verify_lake(storage, deep=True)
    assert {path, "tags/model-1.json"} <= {finding.path for finding in report.problems}
    assert report.datasets == 2


def list_file(storage, path, data):
    """Says in the provenance of an attempt that a file of it is ``data``."""
    attempt, _, file = path.rpartition("/")
    changed = document(storage, f"{attempt}/provenance.json")
    changed["files"][file] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    put(storage, f"{attempt}/provenance.json", seal(changed))


@pytest.mark.parametrize("name", ["paid", "risk"])
def test_parts_of_a_dataset_with_more_rows_than_its_manifest_says_are_refused_before_they_are_decoded(
    storage, no_pages, name
):
    folder = folder_of(storage, name)
    part = next(item.path for item in storage.list(folder) if "/part-" in item.path)
    data = bomb(["subject", "n"])
    put(storage, part, data)
    list_file(storage, part, data)
    lake = el.open(storage)
    [dataset] = [one for one in lake.datasets() if one.name == name]
    with pytest.raises(CorruptionError, match="its footer says 3,000,000"):
        dataset.polars()
    assert any(
        "its footer says 3,000,000" in finding.message
        for finding in lake.verify(deep=True).problems
    )


def test_a_spine_with_other_rows_than_its_recipe_says_is_refused_before_it_is_decoded(
    storage, no_pages
):
    spine = next(
        item.path for item in storage.list("builds/risk") if item.path.endswith("spine.parquet")
    )
    data = bomb(["spine_row", "subject", "cutoff"])
    put(storage, spine, data)
    list_file(storage, spine, data)
    lake = el.open(storage)
    [risk] = [one for one in lake.datasets() if one.name == "risk"]
    with pytest.raises(CorruptionError, match="expected exactly 2 rows, its footer says 3,000,000"):
        lake.reproduce(risk.manifest_hash)
    assert not lake.verify(deep=True).ok


def test_rows_of_a_tier_are_fewer_than_their_hashes(no_pages):
    with pytest.raises(
        CorruptionError, match=r"manifests/x holds no commits: expected fewer rows than hashes"
    ):
        manifest_rows.decode(bomb(["version"]), "manifests/x")


def test_pages_that_are_larger_than_the_bound_are_refused_before_one_is_decoded(monkeypatch):
    table = pa.table({"id": ["x" * 1000] * 10_000})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    with pytest.raises(
        CorruptionError,
        match=r"^x: expected at most 1,[0-9,]+ bytes of pages, the headers of its pages say more",
    ):
        segments.read_bytes(sink.getvalue(), "x", limits=TIGHT)


@pytest.mark.parametrize(
    "encode",
    [segments.encode, segments.write_bytes, segments.encode_sorted],
    ids=lambda one: one.__name__,
)
def test_what_compresses_beyond_the_bound_is_stored_as_it_is_and_read_again(encode):
    table = pa.table(
        {
            "id": ["x" * 1000] * 10_000,
            "source": ["s"] * 10_000,
            "type": ["t"] * 10_000,
            "data": ["y" * 1000] * 10_000,
        }
    )
    with pytest.raises(CorruptionError, match="bytes of"):
        segments.read_bytes(encode(table), "x", limits=TIGHT)
    data = encode(table, limits=TIGHT)
    assert segments.read_bytes(data, "x", rows=10_000, limits=TIGHT).equals(table)


def test_an_imported_file_is_held_to_the_same_bound(tmp_path):
    long_text = pa.array(["x" * (1 << 20)])
    ids = pa.DictionaryArray.from_arrays(pa.array([0] * 1_100, pa.int8()), long_text)
    pq.write_table(pa.table({"id": ids}), tmp_path / "rows.parquet", compression="zstd")
    lake = el.create("memory://", "o")
    mapping = {
        "source": "s",
        "events": [{"type": "t", "id": "{id}", "subject": "/x", "order": ["id"]}],
    }
    with pytest.raises(EventlakeError, match="bytes of text"):
        el.import_file(lake, str(tmp_path / "rows.parquet"), mapping)
    with pytest.raises(EventlakeError, match="bytes of text"):
        lake.append(str(tmp_path / "rows.parquet"))
    assert lake.watermark == 0


def test_a_table_without_rows_is_read():
    """Its writer notes a dictionary of each text column, and no place of values."""
    empty = pa.table({"s": pa.array([], pa.string()), "n": pa.array([], pa.int64())})
    assert frames.decode(frames.encode(empty), "x").to_pydict() == {"s": [], "n": []}


@pytest.mark.parametrize(
    "name", ["bytes", "segment_start", "segment_stop", "columns", "range", "types", "undated"]
)
def test_rows_of_a_tier_with_half_a_segment_are_refused(name):
    summary = CommitSummary(3, "0" * 64, "append", 1_790_000_000_000_000, 0, 4, "1" * 64)
    segment = Segment(
        "2" * 64, 100, 0, 4, ("id", "source", "type"), ("3" * 64,), (("a.b", 4),), None, 4, None
    )
    table = manifest_rows.to_table([(summary, (segment,))])
    assert manifest_rows.decode(manifest_rows.encode_table(table), "manifests/x")[0][0] == summary
    number = table.schema.get_field_index(name)
    half = table.set_column(number, name, pa.nulls(1, table.schema.types[number]))
    with pytest.raises(
        CorruptionError,
        match=f"manifests/x holds no commits: expected {name} in the rows of segments, and only there",
    ):
        manifest_rows.decode(manifest_rows.encode_table(half), "manifests/x")


@pytest.mark.parametrize("name", ["id", "source", "type"])
def test_a_segment_without_a_required_column_is_refused_by_its_path(storage, name):
    newest = max(item.path for item in storage.list("log"))
    before = f"segments/{document(storage, newest)['segments'][0]['sha256']}.parquet"
    table = segments.decode(storage.read(before), before).drop_columns([name])
    path = forge_segment(storage, segments.write_bytes(table))
    with pytest.raises(
        CorruptionError, match=f"{path} is not a readable .*: expected a column {name}, found "
    ):
        el.open(storage).snapshot().scan().collect()
    found = [
        finding.message
        for finding in verify_lake(storage, deep=True).problems
        if finding.path == path
    ]
    assert any(f"expected a column {name}, found " in message for message in found)
