"""Spines in files: what a CSV file says is text until a type is declared, and no value is guessed, rounded or cut."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError, SchemaMismatchError

QUERY = "SELECT * FROM spine"
FEATURES = 'import eventlake as el\nF = el.FeatureSet("d", by="{by}", features=[el.count("pay").name("n")], known="watermark")\n'


@pytest.fixture
def lake():
    made = el.create("memory://", origin="bank.example/spines")
    made.register(
        "pay",
        {
            "type": "object",
            "properties": {"client": {"type": "string"}, "number": {"type": "integer"}},
        },
    )
    made.append(
        [
            {
                "id": str(n),
                "source": "s",
                "type": "pay",
                "subject": f"/{n}",
                "time": "2026-01-01T00:00:00Z",
                "data": {"client": c, "number": n},
            }
            for n, c in enumerate(["007", "7", "7", "0007"])
        ]
    )
    return made


def rows(lake, folder, content, spine='spine = "s.csv"', *, name="s.csv", by=None, query=QUERY):
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        (folder / name).write_text(content)
    (folder / "q.sql").write_text(query)
    (folder / "f.py").write_text(FEATURES.format(by=by))
    what = 'features = "f.py:F"' if by else 'sql = "q.sql"\nkey = ["spine_row"]'
    (folder / "dataset.toml").write_text(f'name = "d"\n{what}\n{spine}\n')
    return lake.build(el.read_definition(folder)).polars().drop("spine_row")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "007",
            "7.0",
            "12345678901234567",
            "12345678901234567890",
            "12345678901234567.89",
            "1e3",
            "-0",
            "+1",
            "0x10",
            " 7 ",
        ),
        *(
            "01/02/2026",
            "2026-02-01",
            "2026-02-01T00:00:00.123456789Z",
            "10:00:00",
            "true",
            "TRUE",
            "NULL",
            "NA",
            "nan",
            "inf",
            "None",
        ),
    ],
)
def test_a_csv_column_without_a_declared_type_is_the_text_that_stands_there(lake, tmp_path, text):
    found = rows(lake, tmp_path / "d", f"v\n{text}\n")
    assert found.schema == {"v": pl.String}
    assert found["v"].to_list() == [text]


def test_ids_of_digits_join_as_text(lake, tmp_path):
    query = "SELECT s.spine_row, count(p.id) AS n FROM spine s LEFT JOIN pay p ON p.client = s.client GROUP BY s.spine_row"
    assert rows(lake, tmp_path / "d", "client\n007\n7\n70\n", query=query)["n"].to_list() == [
        1,
        2,
        0,
    ]


def test_declared_columns_have_their_types_and_exact_values(lake, tmp_path):
    spine = (
        '[spine]\nfile = "s.csv"\n[spine.columns]\n'
        'i = "int64"\nd = "decimal(20, 3)"\nt = "timestamp"\nday = "date"\nb = "bool"\nf = "float64"\nu = "utf8"\n'
    )
    csv = "i,d,t,day,b,f,u\n007,12345678901234567.890,2026-02-01T01:00:00.123456+01:00,2026-02-01,true,0.5,007\n,,,,,,\n"
    found = rows(lake, tmp_path / "d", csv, spine)
    assert found.row(0) == (
        *(
            7,
            Decimal("12345678901234567.890"),
            datetime(2026, 2, 1, 0, 0, 0, 123456, UTC),
            date(2026, 2, 1),
            True,
            0.5,
            "007",
        ),
    )
    assert found.row(1) == (None,) * 7
    assert found.dtypes == [
        pl.Int64,
        pl.Decimal(20, 3),
        pl.Datetime("us", "UTC"),
        pl.Date,
        pl.Boolean,
        pl.Float64,
        pl.String,
    ]
    (tmp_path / "d" / "s.csv").rename(tmp_path / "s.csv")
    columns = {
        "i": "int64",
        "d": "decimal(20, 3)",
        "t": "timestamp",
        "day": "date",
        "b": "bool",
        "f": "float64",
    }
    assert pl.DataFrame(el.spine.read(tmp_path / "s.csv", columns=columns)).rows() == found.rows()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int64", "7.0"),
        ("int64", "9223372036854775808"),
        ("int64", "1e3"),
        ("int64", " 7"),
        ("int64", "\u0667"),
        ("decimal(4, 2)", "1.234"),
        ("decimal(4, 2)", "123"),
        ("timestamp", "2026-02-01T00:00:00.1234567Z"),
        ("timestamp", "2026-02-01T00:00:00"),
        ("timestamp", "2026-02-01"),
        ("timestamp", "01/02/2026"),
        ("timestamp", "0000-01-01T00:00:00Z"),
        ("date", "01/02/2026"),
        ("date", "2026-02-30"),
        ("date", "2026-02-01T00:00:00Z"),
        ("bool", "True"),
        ("bool", "1"),
        ("float64", "nan"),
        ("float64", "1e999"),
    ],
)
def test_a_value_that_does_not_have_its_declared_type_is_refused_by_row(lake, tmp_path, kind, text):
    spine = f'[spine]\nfile = "s.csv"\n[spine.columns]\nv = "{kind}"\n'
    with pytest.raises(InvalidProjectionError, match="row 1, v: expected") as caught:
        rows(lake, tmp_path / "d", f"v,w\n,1\n{text},2\n", spine)
    assert repr(text) in str(caught.value)


def test_features_read_their_entity_and_cutoff_from_a_csv_spine_without_a_declaration(
    lake, tmp_path
):
    found = rows(
        lake,
        tmp_path / "a",
        "client,cutoff,label\n007,2026-02-01T00:00:00Z,1\n7,2026-02-01T00:00:00.000001+01:00,0\n",
        by="client",
    )
    assert found.rows() == [
        ("007", datetime(2026, 2, 1, tzinfo=UTC), "1", 1),
        ("7", datetime(2026, 1, 31, 23, 0, 0, 1, UTC), "0", 2),
    ]
    found = rows(lake, tmp_path / "b", "number,cutoff\n03,2026-02-01T00:00:00Z\n", by="number")
    assert found.rows() == [(3, datetime(2026, 2, 1, tzinfo=UTC), 1)]


@pytest.mark.parametrize(
    "cutoff",
    [
        "2026-02-01T00:00:00.123456789Z",
        "2026-02-01T00:00:00",
        "2026-02-01",
        "01/02/2026",
        "1769904000",
    ],
)
def test_a_cutoff_that_names_no_microsecond_is_refused_by_row(lake, tmp_path, cutoff):
    with pytest.raises(
        InvalidProjectionError,
        match="row 0, cutoff: expected an instant as RFC 3339 with a zone, to the microsecond",
    ):
        rows(lake, tmp_path / "d", f"client,cutoff\n7,{cutoff}\n", by="client")


@pytest.mark.parametrize(
    ("csv", "spine", "problem"),
    [
        ("v,v\n1,2\n", None, "v more than once"),
        ("v,V\n1,2\n", None, "more than once"),
        ("v,\n1,2\n", None, "a name for each column"),
        ("", None, "a header line"),
        ("v,w\n1\n", None, "line 2: expected 2 values, found 1"),
        ("v,w\n1,2\n1,2,3\n", None, "line 3: expected 2 values, found 3"),
        ('v\n"a"b\n', None, "cannot be read"),
        ('v\n"a\n', None, "cannot be read"),
        (b"v\n\xff\n", None, "cannot be read"),
        ("v\n1\n", '[spine]\nfile = "s.csv"\n[spine.columns]\nx = "int64"', "no column x"),
        (
            "v\n1\n",
            '[spine]\nfile = "s.csv"\n[spine.columns]\nv = "int32"',
            "type of the spine's column v as one of",
        ),
        (
            "v\n1\n",
            '[spine]\nfile = "s.csv"\n[spine.columns]\nv = "decimal(40, 2)"',
            "type of the spine's column v as one of",
        ),
        ("v\n1\n", '[spine]\nfile = "s.csv"\ncolumn = 1', r"expected \[spine\]"),
        ("v\n1\n", '[spine]\n[spine.columns]\nv = "int64"', r"expected \[spine\]"),
    ],
)
def test_a_csv_spine_that_is_ambiguous_or_broken_is_refused(lake, tmp_path, csv, spine, problem):
    with pytest.raises(InvalidProjectionError, match=problem):
        rows(lake, tmp_path / "d", csv, spine or 'spine = "s.csv"')


def test_quotes_commas_line_ends_and_empty_values_are_as_in_rfc_4180(lake, tmp_path):
    found = rows(lake, tmp_path / "d", '\ufeffv,w\r\n"a,b","x ""y"""\r\n"two\nlines",\r\n'.encode())
    assert found.rows() == [("a,b", 'x "y"'), ("two\nlines", None)]


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    "folder", ["v*", "q?", "br[1]", "{a,b}", "per%20", "ü", "year=2026", "sp ace"]
)
def test_the_path_of_a_spine_is_one_file(lake, tmp_path, form, folder):
    for one, value in (
        (folder, "mine"),
        ("v-old", "not"),
        ("qq", "not"),
        ("br1", "not"),
        ("a", "not"),
        ("per ", "not"),
    ):
        (tmp_path / one).mkdir()
        frame = pl.DataFrame({"year": [value]})
        frame.write_csv(tmp_path / one / "s.csv")
        with (tmp_path / one / "s.parquet").open("wb") as file:
            frame.write_parquet(file)
    name = f"s.{form}"
    found = rows(
        lake,
        tmp_path / folder,
        (tmp_path / folder / name).read_bytes(),
        f'spine = "{name}"',
        name=name,
    )
    assert found.rows() == [("mine",)]


FINE = pa.array([1769904000123456789], pa.timestamp("ns", "UTC"))
WHOLE = pa.array([1769904000123456000, None], pa.timestamp("ns", "UTC"))


@pytest.mark.parametrize("legacy", [False, True])
def test_nanoseconds_of_a_parquet_spine_are_refused_and_whole_microseconds_kept(
    lake, tmp_path, legacy
):
    folder = tmp_path / "d"
    folder.mkdir()
    far = datetime(3000, 1, 1)
    for name, column in (
        ("fine", FINE),
        ("nested", pa.array([[1]], pa.list_(pa.timestamp("ns")))),
        ("whole", WHOLE),
    ):
        pq.write_table(
            pa.table({"t": column}),
            folder / f"{name}.parquet",
            use_deprecated_int96_timestamps=legacy,
        )
    for name in ("fine", "nested"):
        with pytest.raises(
            (InvalidProjectionError, SchemaMismatchError),
            match=r"finer than a microsecond|without loss",
        ):
            rows(
                lake,
                folder,
                (folder / f"{name}.parquet").read_bytes(),
                'spine = "s.parquet"',
                name="s.parquet",
            )
    found = rows(
        lake,
        folder,
        (folder / "whole.parquet").read_bytes(),
        'spine = "s.parquet"',
        name="s.parquet",
    )
    assert [None if one is None else one.replace(tzinfo=None) for one in found["t"]] == [
        datetime(2026, 2, 1, 0, 0, 0, 123456),
        None,
    ]
    if legacy:
        pq.write_table(
            pa.table({"t": pa.array([far], pa.timestamp("us"))}),
            folder / "far.parquet",
            use_deprecated_int96_timestamps=True,
        )
        assert rows(
            lake,
            folder,
            (folder / "far.parquet").read_bytes(),
            'spine = "s.parquet"',
            name="s.parquet",
        )["t"].to_list() == [far]


def test_nanoseconds_of_a_frame_are_refused_and_whole_microseconds_kept(lake):
    projection = el.Projection.sql("d", QUERY, key=["spine_row"])
    for frame in (
        pa.table({"t": FINE}),
        pl.DataFrame(pa.table({"t": FINE})),
        pl.DataFrame(pa.table({"t": FINE})).to_pandas(),
    ):
        with pytest.raises(SchemaMismatchError, match=r"column t .* without loss"):
            lake.build(projection, spine=frame)
    assert lake.build(projection, spine=pl.DataFrame(pa.table({"t": WHOLE}))).polars()[
        "t"
    ].to_list() == [
        datetime(2026, 2, 1, 0, 0, 0, 123456, UTC),
        None,
    ]


def test_columns_are_not_declared_for_parquet(lake, tmp_path):
    (tmp_path / "d").mkdir()
    pl.DataFrame({"v": [1]}).write_parquet(tmp_path / "d" / "s.parquet")
    data = (tmp_path / "d" / "s.parquet").read_bytes()
    with pytest.raises(InvalidProjectionError, match="types of its own"):
        rows(
            lake,
            tmp_path / "d",
            data,
            '[spine]\nfile = "s.parquet"\n[spine.columns]\nv = "int64"',
            name="s.parquet",
        )
