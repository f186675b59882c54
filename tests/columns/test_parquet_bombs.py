"""Parquet files that decode to far more than they are: refused by what their headers say, before a page is decoded."""

import io
import struct
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.parquet import footers, foreign_files, segments
from eventlake.columns.parquet.footers import FOOTER_LIMITS, FooterLimits
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError
from tests.support.parquet_forging import (
    Value,
    chunks,
    footer,
    i32,
    i64,
    pages,
    spell,
    with_footer,
    with_pages,
)

pytestmark = pytest.mark.every_case

GROUPS, BINARY, LIST, STRUCT = 4, 8, 9, 12


def written(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def few(**options):
    return written(pa.table({"data": ["x"] * 10}), **options)


def repeated(value, count):
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [value])


def edited(data, change):
    fields = footer(data)
    change(fields)
    return with_footer(data, fields)


def a_dictionary_of_one_long_value():
    return written(pa.table({"data": repeated("x" * (1 << 20), 100_000)}), compression="zstd")


def a_dictionary_in_a_list():
    values = repeated("x" * 100_000, 100_000)
    return written(
        pa.table({"data": pa.ListArray.from_arrays(pa.array([0, 100_000], pa.int32()), values)}),
        compression="zstd",
    )


def long_fixed_values():
    def change(fields):
        element = fields[2].value[1]
        element.value = dict(sorted({**element.value, 1: i32(7), 2: i32(2**31 - 1)}.items()))

    return edited(few(), change)


def prefixes_of_the_value_before():
    options = {
        "use_dictionary": False,
        "column_encoding": {"data": "DELTA_BYTE_ARRAY"},
        "compression": "zstd",
    }
    data = written(pa.table({"data": ["x" * 50_000] * 2_000}), **options, data_page_size=1 << 30)
    fields = footer(data)
    [chunk] = chunks(fields)
    [(header, begin, _, end)] = pages(data, chunk)
    page, rows = data[begin:end], 2_000 * 50
    assert header[5].value[1].value == 2_000
    for number, value in ((5, rows), (7, len(page) * 50), (9, 4)):
        chunk[number] = i64(value)
    fields[3] = fields[GROUPS].value[0].value[3] = i64(rows)
    spelled = spell(fields)
    return data[:4] + page * 50 + spelled + struct.pack("<I", len(spelled)) + b"PAR1"


def pages_of_two_gigabytes():
    return with_pages(
        few(use_dictionary=False, compression="zstd"),
        0,
        lambda old: [(header | {2: i32(2**31 - 1)}, one) for header, one in old],
    )


def a_dictionary_of_two_gigabytes():
    return with_pages(
        few(), 0, lambda old: [(old[0][0] | {2: i32(2**31 - 1)}, old[0][1]), *old[1:]]
    )


def of_nulls(kind, rows):
    """A file of one column of nulls, with as many rows as its footer and the header of its one page say."""

    def change(fields):
        for where in (fields, fields[GROUPS].value[0].value):
            where[3] = i64(rows)
        chunks(fields)[0][5] = i64(rows)

    def longer(old):
        old[0][0][5].value[1] = i32(rows)
        return old

    return edited(
        with_pages(
            written(pa.table({"data": pa.nulls(10, kind)}), use_dictionary=False), 0, longer
        ),
        change,
    )


def nulls_without_end():
    return of_nulls(pa.int64(), 2**31 - 1)


def columns_that_share_their_pages():
    table = pa.table(
        {
            f"c{number}": ["y" * 1_000_000] * (50 if not number else 1)
            + ["x"] * (0 if not number else 49)
            for number in range(30)
        }
    )

    def change(fields):
        first, *others = chunks(fields)
        for chunk in others:
            chunk.update({number: first[number] for number in (5, 6, 7, 9)})

    return edited(written(table, use_dictionary=False, compression="zstd"), change)


TOO_MUCH = {
    a_dictionary_of_one_long_value: "bytes of text, its pages hold more",
    a_dictionary_in_a_list: "bytes of text, its pages hold more",
    long_fixed_values: "bytes of text, its pages hold more",
    prefixes_of_the_value_before: "bytes of text, its pages hold more",
    pages_of_two_gigabytes: "bytes of pages, the headers of its pages say more",
    a_dictionary_of_two_gigabytes: "bytes of pages, the headers of its pages say more",
    nulls_without_end: "at most 134,217,728 values, the headers of its pages say more",
    columns_that_share_their_pages: "bytes of pages, the headers of its pages say more",
}


@pytest.mark.parametrize(
    ("kind", "most"),
    [(pa.int64(), 2**27), (pa.struct({"a": pa.int64()}), 2**26)],
    ids=["a flat column", "a member of a struct"],
)
def test_as_many_values_may_be_in_a_small_file_as_fit_into_the_bound_and_not_one_more(kind, most):
    def measure(*_):
        raise AssertionError("there is no text")

    assert footers.problem(of_nulls(kind, most), measure) is None
    assert (
        footers.problem(of_nulls(kind, most + 1), measure)
        == "expected at most 134,217,728 values, the headers of its pages say more"
    )


def of_chunk(**changed):
    def change(fields):
        chunks(fields)[0].update({int(name[1:]): i64(value) for name, value in changed.items()})

    return lambda: edited(few(), change)


def a_chunk_in_another_file():
    def change(fields):
        fields[GROUPS].value[0].value[1].value[0].value = {
            1: Value(BINARY, b"/etc/passwd"),
            3: Value(STRUCT, chunks(fields)[0]),
        }

    return edited(few(), change)


def a_schema_of_many_levels():
    def change(fields):
        root, leaf = fields[2].value
        level = Value(STRUCT, {3: i32(0), 4: Value(BINARY, b"a"), 5: i32(1)})
        fields[2].value = [root, *[level] * 10_000, leaf]

    return edited(few(), change)


def a_schema_that_is_cut():
    return edited(few(), lambda fields: fields[2].value.pop())


def a_name_that_is_a_number():
    return edited(few(), lambda fields: fields[2].value[1].value.update({4: i32(7)}))


def a_row_group_without_columns():
    return edited(
        few(), lambda fields: fields[GROUPS].value[0].value.update({1: Value(LIST, [], STRUCT)})
    )


def a_field_twice():
    spelled = spell(footer(few()))
    assert spelled[0] >> 4 == 1
    spelled = b"\x15\x04\x05\x02\x04" + spelled[2:]
    return few()[:4] + spelled + struct.pack("<I", len(spelled)) + b"PAR1"


MALFORMED = {
    "a chunk behind the end": (of_chunk(_9=10**12, _11=10**12), "is outside of the file"),
    "a chunk before the start": (of_chunk(_9=0, _11=0), "is outside of the file"),
    "a chunk that is longer than the file": (of_chunk(_7=10**9), "is outside of the file"),
    "a dictionary after its values": (of_chunk(_11=300), "has its dictionary after its values"),
    "more values than rows": (of_chunk(_5=2**40), "values in 10 rows"),
    "a chunk in another file": (a_chunk_in_another_file, "is in another file, or encrypted"),
    "many levels": (a_schema_of_many_levels, "nested in more than 256 levels"),
    "a cut schema": (a_schema_that_is_cut, "schema is cut"),
    "a name that is a number": (
        a_name_that_is_a_number,
        "footer or the header of a page is damaged",
    ),
    "a row group without columns": (
        a_row_group_without_columns,
        "has other columns than its schema",
    ),
    "a field twice": (a_field_twice, "field 2 follows field|follows field"),
    "no Parquet": (lambda: b"PAR1", "expected a Parquet file, found 4 bytes"),
    "a footer longer than the file": (lambda: b"PAR1\xff\xff\xff\x7fPAR1", "expected a footer"),
}


@pytest.fixture
def no_decoding(monkeypatch):
    """Fails whoever has the whole file decoded."""
    monkeypatch.setattr(pq.ParquetFile, "read", None)


@pytest.mark.parametrize("made", TOO_MUCH, ids=lambda one: one.__name__)
def test_a_file_that_decodes_to_more_than_the_bound_is_refused_before_it_is_decoded(
    made, no_decoding, tmp_path
):
    data = made()
    assert len(data) < 100_000
    with pytest.raises(CorruptionError, match=f"^x: expected .*{TOO_MUCH[made]}"):
        segments.read_bytes(data, "x")
    with pytest.raises(CorruptionError, match=TOO_MUCH[made]):
        list(segments.plain_batches(data, "x"))
    (tmp_path / "x.parquet").write_bytes(data)
    lake = el.create("memory://", "o")
    mapping = {
        "source": "s",
        "events": [{"type": "t", "id": "{data}", "subject": "/x", "order": ["data"]}],
    }
    with pytest.raises(InvalidInputError, match=TOO_MUCH[made]):
        el.import_file(lake, str(tmp_path / "x.parquet"), mapping)
    with pytest.raises(EventlakeError, match=TOO_MUCH[made]):
        lake.append(str(tmp_path / "x.parquet"))
    assert lake.watermark == 0


@pytest.mark.parametrize("name", MALFORMED)
def test_a_file_whose_headers_disagree_is_refused_before_it_is_decoded(name, no_decoding):
    made, message = MALFORMED[name]
    with pytest.raises(CorruptionError, match=message):
        segments.read_bytes(made(), "x")


def many_kinds():
    count = 3_000
    return pa.table({
        "text": [f"{number % 7}" * (number % 50) for number in range(count)],
        "sparse": [None if number % 3 else "x" for number in range(count)],
        "whole": list(range(count)),
        "flag": [number % 2 == 0 for number in range(count)],
        "money": [Decimal(number).scaleb(-2) for number in range(count)],
        "when": [datetime(2026, 1, 1, tzinfo=UTC)] * count,
        "list": [["a", "b" * (number % 9)] * (number % 4) for number in range(count)],
        "struct": [{"a": "x", "b": [{"c": number}]} for number in range(count)],
        "nulls": pa.nulls(count, pa.int32()),
        "bytes": [b"\0" * 16] * count,
    })  # fmt: skip


@pytest.mark.parametrize("free", [FOOTER_LIMITS.free_bytes, 100_000], ids=["guessed", "measured"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data_page_version": "2.0", "compression": "gzip"},
        {
            "use_dictionary": False,
            "column_encoding": {"text": "DELTA_BYTE_ARRAY", "sparse": "DELTA_LENGTH_BYTE_ARRAY"},
        },
        {
            "row_group_size": 100,
            "data_page_size": 100,
            "compression": "none",
            "write_page_index": True,
        },
    ],
    ids=["plain", "second version", "deltas", "small"],
)
def test_an_ordinary_file_is_read(options, free):
    limits, table = FooterLimits(free_bytes=free), many_kinds()
    data = written(table, **options)
    assert segments.read_bytes(data, "x", rows=3_000, limits=limits).equals(table)


def test_files_of_other_writers_are_read(tmp_path):
    frame = pl.DataFrame(
        {
            "a": ["x" * (number % 30) for number in range(5_000)],
            "b": [[number, None] for number in range(5_000)],
        }
    )
    frame.write_parquet(tmp_path / "polars.parquet")
    rows = "SELECT repeat('x', (range % 30)::BIGINT) AS a, [range, NULL] AS b FROM range(5000)"
    for version in ("V1", "V2"):
        path = tmp_path / f"duckdb{version}.parquet"
        duckdb.sql(f"COPY ({rows}) TO '{path}' (PARQUET_VERSION {version})")
        assert pl.DataFrame(foreign_files.read_parquet(str(path))).equals(frame)
    assert pl.DataFrame(foreign_files.read_parquet(str(tmp_path / "polars.parquet"))).equals(frame)


def test_text_that_the_headers_do_not_tell_of_is_counted_exactly():
    values = ["x" * (number % 100) for number in range(1_000)]
    enough = FooterLimits(free_bytes=sum(map(len, values)), fair_ratio=0, most_ratio=0)
    too_little = replace(enough, free_bytes=enough.free_bytes - 1)
    for options in ({}, {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}):
        data = written(pa.table({"text": values}), compression="zstd", **options)
        measure = segments.text_bytes_in(data)
        assert footers.problem(data, measure, limits=enough) is None
        assert footers.problem(data, measure, limits=too_little) is not None
