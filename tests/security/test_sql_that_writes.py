"""A query that was handed files to read changes none of them, whatever it calls."""

import duckdb
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError, InvalidProjectionError
from tests.support.forging_on_disk import payment

WRITES = "WITH a AS (COPY (SELECT 1 AS x) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)) SELECT 1 AS x"


def calls(file):
    """The write behind functions that call others by the names in a text."""
    text = WRITES.format(file=file).replace("'", "''")
    with duckdb.connect() as connection:
        serialized = (
            connection.execute("SELECT json_serialize_sql(?)", [WRITES.format(file=file)])
            .fetchall()[0][0]
            .replace("'", "''")
        )
    nested = f"FROM json_execute_serialized_sql(''{serialized.replace(chr(39), chr(39) * 2)}'')"
    return [
        f"SELECT *, (SELECT count(*) FROM events) AS n FROM destroy_external_resource('json_execute_serialized_sql', '{serialized}')",
        f"SELECT *, (SELECT count(*) FROM events) AS n FROM destroy_external_resource('query', '{nested}')",
        f"SELECT 1 AS n FROM events, destroy_external_resource('json_execute_serialized_sql', json_serialize_sql('{text}'))",
    ]


@pytest.mark.parametrize("number", range(3))
def test_sql_changes_no_file_that_it_may_read(tmp_path, number):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([payment(1), payment(2)])
    [file] = (tmp_path / "lake" / "segments").iterdir()
    before = file.read_bytes()
    query = calls(file)[number]
    with pytest.raises(InvalidInputError, match=r"destroy_external_resource|runs SQL from a text"):
        lake.snapshot().sql(query)
    for level in ("exact", "unproven"):
        with pytest.raises((InvalidInputError, InvalidProjectionError)):
            lake.build(el.Projection.sql("p", query, key=["n"], level=level))
    assert file.read_bytes() == before


@pytest.mark.parametrize("level", ["exact", "unproven"])
def test_a_projection_that_doubles_with_every_line_is_refused_before_it_is_planned(level):
    doubled = ", ".join(f"a{n - 1} + a{n - 1} AS a{n}" for n in range(1, 19))
    query = f"SELECT id, sequence AS a0, {doubled} FROM events"
    lake = el.create("memory://", "o")
    lake.append([payment(0)])
    with pytest.raises(InvalidProjectionError, match="stays small when it is planned"):
        lake.build(el.Projection.sql("doubled", query, key=["id"], level=level))
