"""Files in a form that is not read: the message says what they are, and what it says to write works and changes no digit."""

import bz2
import datetime as dt
import glob
import gzip
import io
import json
import lzma
import pathlib
import re
import shutil
import zipfile

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.orc
import pytest

import eventlake as el
from eventlake.errors import (
    InvalidEventsError,
    InvalidInputError,
    InvalidProjectionError,
    NotFoundError,
)

MODULES = {
    "bz2": bz2, "el": el, "glob": glob, "gzip": gzip, "io": io, "lzma": lzma, "msgspec": msgspec, "pathlib": pathlib, "pl": pl,
    "pyarrow": pa, "shutil": shutil,
}  # fmt: skip
PAYLOADS = [
    '{"amount":1.10,"digits":0.12345678901234567890123}',
    '{"amount":12345678901234567890123}',
]
LINES = [
    f'{{"id":"e{n}","source":"s","type":"t","subject":"/é{n}","data":{text}}}'
    for n, text in enumerate(PAYLOADS)
]
NDJSON = ("\n".join(LINES) + "\n").encode()
CSV = "id,at\n007,2026-01-01T00:00:00Z\n1.10,2026-01-02T00:00:00Z\n".encode()  # noqa: UP012 - as the others
FRAME = pl.DataFrame(
    {"id": ["e0", "e1"], "source": "s", "type": "t", "subject": ["/é0", "/é1"], "data": PAYLOADS}
)
MAPPING = 'source = "s"\norder = "file"\nzone = "UTC"\n[[events]]\ntype = "t"\nid = "{id}"\ntime = { column = "at" }\n'


def zipped(name, data):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, data)
    return sink.getvalue()


def written(write):
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def zstd_file(path, data):
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(data)


EVENT_FILES = {
    "gzip.ndjson.gz": (gzip.compress(NDJSON, mtime=0), "compressed by gzip"),
    "renamed.ndjson": (gzip.compress(NDJSON, mtime=0), "compressed by gzip"),
    "b.ndjson.bz2": (bz2.compress(NDJSON), "compressed by bzip2"),
    "x.ndjson.xz": (lzma.compress(NDJSON), "compressed by xz"),
    "z.ndjson.zst": (None, "compressed by zstd"),
    "p.parquet.gz": (gzip.compress(written(FRAME.write_parquet), mtime=0), "compressed by gzip"),
    "array.json": (f"[{','.join(LINES)}]".encode(), "a JSON array"),
    "pretty.json": (msgspec.json.format(f"[{','.join(LINES)}]".encode(), indent=2), "a JSON array"),
    "utf16.ndjson": (NDJSON.decode().encode("utf-16"), "text in UTF-16"),
    "utf16-le.jsonl": (NDJSON.decode().encode("utf-16-le"), "text in UTF-16-LE"),
    "utf16-be.ndjson": (NDJSON.decode().encode("utf-16-be"), "text in UTF-16-BE"),
    "utf32.ndjson": (NDJSON.decode().encode("utf-32"), "text in UTF-32"),
    "mark.ndjson": (NDJSON.decode().encode("utf-8-sig"), "UTF-8 with a byte order mark"),
    "events.txt": (NDJSON, "a JSON object in each line"),
    "events": (NDJSON, "a JSON object in each line"),
    "lines.parquet": (NDJSON, "a JSON object in each line"),
    "parquet.ndjson": (written(FRAME.write_parquet), "a Parquet file"),
    "it's.feather": (written(FRAME.write_ipc), "an Arrow IPC file"),
    "t.orc": (written(lambda sink: pyarrow.orc.write_table(FRAME.to_arrow(), sink)), "an ORC file"),
}


@pytest.mark.parametrize("name", EVENT_FILES)
def test_a_file_of_events_in_another_form_is_told_an_expression_that_appends_it(name):
    data, kind = EVENT_FILES[name]
    if data is None:
        zstd_file(name, NDJSON)
    else:
        pathlib.Path(name).write_bytes(data)
    lake = el.create("memory://", "a/b")
    with pytest.raises(InvalidInputError) as refused:
        lake.append(name)
    expected = f"expected a file of events, NDJSON or Parquet, found {name}, which is {kind}"
    assert (
        refused.value.message == expected
        or "expected JSON without a byte order mark" in refused.value.message
    )
    written = re.search(
        r"lake\.append\(.*\)", refused.value.hint.partition(", or ")[0].partition(", which")[0]
    )
    exec(written[0], MODULES | {"lake": lake})  # noqa: S102 - what a user is told to write
    assert lake.snapshot().scan().select("id", "subject", "data").collect().rows() == [
        ("e0", "/é0", PAYLOADS[0]),
        ("e1", "/é1", PAYLOADS[1]),
    ]


def test_one_object_over_several_lines_is_told_an_expression_that_appends_it():
    pathlib.Path("one.json").write_bytes(msgspec.json.format(LINES[0].encode(), indent=2))
    lake = el.create("memory://", "a/b")
    with pytest.raises(
        InvalidInputError, match="which is one JSON object over several lines"
    ) as refused:
        lake.append("one.json")
    exec(  # noqa: S102
        re.search(r"lake\.append\(.*\)", refused.value.hint.partition(", which")[0])[0],
        MODULES | {"lake": lake},
    )
    assert lake.snapshot().scan().collect()["data"].to_list() == PAYLOADS[:1]


def test_json_as_text_is_told_an_expression_that_changes_no_digit():
    for text, ids in (
        (f"[{','.join(LINES)}]", ["e0", "e1"]),
        (NDJSON.decode(), ["e0", "e1"]),
        (LINES[0], ["e0"]),
    ):
        lake = el.create("memory://", "a/b")
        with pytest.raises(InvalidInputError, match="found JSON as text") as refused:
            lake.append(text)
        exec(  # noqa: S102
            re.search(r"lake\.append\(.*\)", refused.value.hint)[0],
            MODULES | {"lake": lake, "text": text},
        )
        found = lake.snapshot().scan().collect()
        assert (found["id"].to_list(), found["data"].to_list()) == (ids, PAYLOADS[: len(ids)])


@pytest.mark.parametrize("given", ["many", "many/*.ndjson", "**/*.ndjson"])
def test_a_folder_and_a_pattern_are_told_a_loop_that_appends_their_files(given):
    pathlib.Path("many").mkdir()
    for number, line in enumerate(LINES):
        pathlib.Path(f"many/{number}.ndjson").write_text(line, encoding="utf-8")
    lake = el.create("memory://", "a/b")
    with pytest.raises(
        InvalidInputError, match=r"which is a (folder|pattern, not a file)"
    ) as refused:
        lake.append(given)
    exec(re.search(r"for path in [^;]*", refused.value.hint)[0], MODULES | {"lake": lake})  # noqa: S102
    assert lake.snapshot().scan().collect()["data"].to_list() == PAYLOADS


def test_an_archive_is_told_how_to_unpack_it():
    pathlib.Path("events.zip").write_bytes(zipped("inner.ndjson", NDJSON))
    lake = el.create("memory://", "a/b")
    with pytest.raises(InvalidInputError, match="which is a ZIP archive") as refused:
        lake.append("events.zip")
    exec(re.search(r"shutil\.unpack_archive\([^)]*\)", refused.value.hint)[0], MODULES)  # noqa: S102
    assert lake.append("unpacked/inner.ndjson").count == 2


def test_a_lake_is_told_to_be_opened():
    first = el.create("first", "a/b")
    first.append(NDJSON)
    with pytest.raises(InvalidInputError, match="found first, which is a lake") as refused:
        el.create("memory://", "a/c").append("first")
    frame = eval(re.search(r"el\.open\(.*\)", refused.value.hint)[0], MODULES)  # noqa: S307 - what a user is told to write
    assert frame.collect()["data"].to_list() == PAYLOADS


@pytest.mark.parametrize(
    ("name", "data", "told", "hint"),
    [
        ("rows.csv", CSV, "which is a table", "el.import_file(lake, 'rows.csv', 'mapping.toml')"),
        (
            "rows.csv.gz",
            gzip.compress(CSV, mtime=0),
            "compressed by gzip",
            "el.import_file(lake, 'rows.csv.gz', 'mapping.toml')",
        ),
        (
            "rows.xlsx",
            zipped("xl/workbook.xml", b"<a/>"),
            "which is a spreadsheet",
            "el.import_file(lake, 'rows.csv', 'mapping.toml')",
        ),
        (
            "rows.db",
            b"SQLite format 3\0" + bytes(100),
            "which is a SQLite database",
            "write the rows of a table to a CSV file",
        ),
        ("empty.parquet", b"", "which is empty", "leave it out"),
    ],
)
def test_what_are_no_events_yet_is_told_to_be_imported(name, data, told, hint):
    pathlib.Path(name).write_bytes(data)
    with pytest.raises(InvalidInputError) as refused:
        el.create("memory://", "a/b").append(name)
    assert told in refused.value.message
    assert hint in refused.value.hint


def test_an_address_is_told_to_be_copied_and_shows_no_secret():
    for address in ("https://me:pass@x.org/e.ndjson", "s3://bucket/e.parquet", "file:///e.ndjson"):
        with pytest.raises(InvalidInputError, match="an address, not a file") as refused:
            el.create("memory://", "a/b").append(address)
        assert refused.value.hint == "copy the file to this machine, and give its path."
        assert "pass" not in str(refused.value)


def test_a_file_that_is_not_there_and_no_name_at_all_are_told():
    with pytest.raises(NotFoundError, match=r"there is no file nothing\.txt"):
        el.create("memory://", "a/b").append("nothing.txt")
    for use in (el.create("memory://", "a/b").append, el.spine.read):
        with pytest.raises(InvalidInputError):
            use("")


def imported(name, mapping=MAPPING):
    pathlib.Path("mapping.toml").write_text(mapping, encoding="utf-8")
    lake = el.create("memory://", "a/b")
    el.import_file(lake, name, "mapping.toml")
    return lake.snapshot().scan().select("id", "time").collect().rows()


ROWS = [
    ("007", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
    ("1.10", dt.datetime(2026, 1, 2, tzinfo=dt.UTC)),
]
OBJECTS = [
    {"id": "007", "at": "2026-01-01T00:00:00Z"},
    {"id": "1.10", "at": "2026-01-02T00:00:00Z"},
]
OBJECT_LINES = "".join(json.dumps(one) + "\n" for one in OBJECTS).encode()
COLUMNS = pl.DataFrame(OBJECTS)
TABLE_FILES = {
    "renamed.csv": (gzip.compress(CSV, mtime=0), "compressed by gzip"),
    "rows.csv.bz2": (bz2.compress(CSV), "compressed by bzip2"),
    "rows.csv.xz": (lzma.compress(CSV), "compressed by xz"),
    "rows.csv.zst": (None, "compressed by zstd"),
    "utf16.csv": (CSV.decode().encode("utf-16"), "text in UTF-16"),
    "utf16-le.csv": (CSV.decode().encode("utf-16-le"), "text in UTF-16-LE"),
    "utf16-be.csv": (CSV.decode().encode("utf-16-be"), "text in UTF-16-BE"),
    "utf16.ndjson": (OBJECT_LINES.decode().encode("utf-16"), "text in UTF-16"),
    "mark.ndjson": (OBJECT_LINES.decode().encode("utf-8-sig"), "UTF-8 with a byte order mark"),
    "lines.json": (OBJECT_LINES, "a JSON object in each line"),
    "array.ndjson": (json.dumps(OBJECTS).encode(), "a JSON array"),
    "parquet.csv": (written(COLUMNS.write_parquet), "a Parquet file"),
    "rows": (OBJECT_LINES, "a JSON object in each line"),
    "rows.arrow": (written(COLUMNS.write_ipc), "an Arrow IPC file"),
}


@pytest.mark.parametrize("name", TABLE_FILES)
def test_a_table_in_another_form_is_told_what_imports_it(name):
    data, kind = TABLE_FILES[name]
    if data is None:
        zstd_file(name, CSV)
    else:
        pathlib.Path(name).write_bytes(data)
    with pytest.raises(InvalidInputError) as refused:
        imported(name)
    assert refused.value.message.endswith(f"found that it is {kind}")
    hint = refused.value.hint
    if encoding := re.search(r"encoding = \S+", hint):
        assert (
            imported(name, MAPPING.replace("[[events]]", f"[csv]\n{encoding[0]}\n[[events]]"))
            == ROWS
        )
    elif renamed := re.search(r"rename it to ([^ ,]+)", hint):
        new = pathlib.Path(name).rename(renamed[1])
        assert imported(new) == ROWS
        form = re.search(r"give (file = \S+) and (format = \S+) in (\S+)\.$", hint)
        assert bool(form) == (kind != "compressed by gzip")
        if form:
            old = new.rename(name)
            assert (
                imported(
                    old,
                    MAPPING.replace("[[events]]", f"{form[3]}\n{form[1]}\n{form[2]}\n[[events]]"),
                )
                == ROWS
            )
    else:
        exec(re.search(r"make a file of it: (.*)\.$", hint)[1], MODULES)  # noqa: S102 - what a user is told to write
        new = re.search(
            r"write_parquet\('(.*?)'\)|^make a file of it: pathlib\.Path\('(.*?)'\)", hint
        )
        assert imported(new[1] or new[2]) == ROWS


def test_a_pattern_is_told_a_loop_that_imports_its_files():
    pathlib.Path("one.csv").write_bytes(CSV)
    lake, mapping = el.create("memory://", "a/b"), pathlib.Path("mapping.toml")
    mapping.write_text(MAPPING, encoding="utf-8")
    with pytest.raises(InvalidInputError, match="which is a pattern, not a file") as refused:
        el.import_file(lake, "*.csv", mapping)
    exec(  # noqa: S102
        re.search(r"for path in .*\)\)?", refused.value.hint)[0],
        MODULES | {"lake": lake, "mapping": mapping},
    )
    assert lake.watermark == 2


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
def test_a_table_with_another_delimiter_is_told_which(delimiter):
    pathlib.Path("rows.csv").write_bytes(CSV.replace(b",", delimiter.encode()))
    with pytest.raises(InvalidInputError, match="has no column 'id', 'at'") as refused:
        imported("rows.csv")
    setting = re.search(r'delimiter = "[^"]*"', refused.value.hint)[0]
    assert (
        imported("rows.csv", MAPPING.replace("[[events]]", f"[csv]\n{setting}\n[[events]]")) == ROWS
    )


def test_an_open_quote_makes_the_count_of_broken_lines_a_least_one():
    lines = [
        f'{n},"2026-01-01T00:00:00Z' if n % 2 else f"{n},2026-01-01T00:00:00Z" for n in range(800)
    ]
    pathlib.Path("rows.csv").write_text("id,at\n" + "\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(InvalidEventsError) as refused:
        imported("rows.csv")
    told = re.search(r"broken: at least (\d+) lines more", str(refused.value.problems[-1]))
    assert 1 <= int(told[1]) <= 300
    assert "It hides the lines up to the next quote, which are not counted." in str(
        refused.value.problems[0]
    )


@pytest.mark.parametrize("broken", [1, 99, 100, 101, 250])
def test_other_broken_lines_are_counted_exactly(broken):
    lines = [
        f"{n},2026-01-01T00:00:00Z{',x' if n % 3 else ''}"
        if n < broken
        else f"{n},2026-01-01T00:00:00Z"
        for n in range(300)
    ]
    expected = sum(1 for line in lines if line.count(",") > 1)
    pathlib.Path("rows.csv").write_text("id,at\n" + "\n".join(lines) + "\n", encoding="utf-8")
    if not expected:
        assert len(imported("rows.csv")) == 300
        return
    with pytest.raises(InvalidEventsError) as refused:
        imported("rows.csv")
    problems = [str(one) for one in refused.value.problems]
    named = [one for one in problems if "line " in one]
    more = [
        int(found[1]) for one in problems if (found := re.search(r"broken: (\d+) lines more", one))
    ]
    assert (len(named), sum(more)) == (min(expected, 100), max(expected - 100, 0))


SPINE = "subject,cutoff\n/é0,2026-01-01T00:00:00Z\n".encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.csv.gz", gzip.compress(SPINE, mtime=0)),
        ("renamed.csv", gzip.compress(SPINE, mtime=0)),
        ("rows.csv.xz", lzma.compress(SPINE)),
        ("utf16.csv", SPINE.decode().encode("utf-16")),
        ("rows.tsv", SPINE.replace(b",", b"\t")),
        (
            "parquet.csv",
            written(
                pl.DataFrame({"subject": ["/é0"], "cutoff": ["2026-01-01T00:00:00Z"]}).write_parquet
            ),
        ),
    ],
)
def test_a_spine_in_another_form_is_told_an_expression_that_reads_it(name, data):
    pathlib.Path(name).write_bytes(data)
    with pytest.raises(InvalidProjectionError) as refused:
        el.spine.read(name)
    hint = refused.value.hint
    if frame := re.search(r"spine=(.*)\.$", hint):
        found = eval(frame[1], MODULES)  # noqa: S307 - what a user is told to write
    else:
        exec(re.search(r"make a file of it: (.*)\.$", hint)[1], MODULES)  # noqa: S102
        found = pl.from_arrow(el.spine.read(re.search(r"pathlib\.Path\('(.*?)'\)", hint)[1]))
    assert found.rows() == [("/é0", "2026-01-01T00:00:00Z")]
