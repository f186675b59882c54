"""``verify --deep`` makes every dataset again: hashes show what was stored, not that it is true."""

import shutil
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.columns.parquet import frames
from eventlake.core import layout
from eventlake.core.hashing.canonical import seal, sha256_hex, unseal
from eventlake.datasets.building.build_once import dataset_statement
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import CorruptionError, InvalidInputError
from eventlake.storage import LocalStorage
from eventlake.trust import OWN
from tests.scope import scaled
from tests.support.dataset_fixtures import module
from tests.support.forging_on_disk import SCHEMA, TYPE, forge_dataset, payment

QUERY = "SELECT subject, count(*) AS n FROM events GROUP BY subject"
COUNT = el.Projection.sql("count", QUERY, key=["subject"], by="subject")
SPINE = pl.DataFrame(
    {"subject": ["/loan/0", "/loan/1"], "cutoff": [datetime(2026, 2, 1, tzinfo=UTC)] * 2}
)
FEATURES = el.FeatureSet(
    "risk",
    features=[el.count(TYPE).name("n"), el.sum(TYPE, "amount").name("amount")],
    known="watermark",
)


TOLD = """
import polars as pl
import eventlake as el

@el.projection(name="told", key=["subject"], level="exact")
def told(snapshot):
    return snapshot.scan().group_by("subject").agg(pl.len().cast(pl.Int64).alias("n"))
"""


@pytest.fixture
def root(tmp_path):
    """28 payments on seven loans."""
    lake = el.create(tmp_path / "lake", origin="bank.example/loans")
    lake.register(TYPE, SCHEMA)
    lake.append([payment(number) for number in range(14)])
    lake.append([payment(number) for number in range(14, 28)])
    return tmp_path / "lake"


def more(rows, column="n"):
    at = rows.schema.get_field_index(column)
    values = [value + 1 for value in rows.column(column).to_pylist()]
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))


def found(root, **how):
    """What a deep verification says of the datasets: problems, and what is unproven."""
    report = verify_lake(LocalStorage(root), deep=True, **how)
    return [one.message for one in report.problems], [one.message for one in report.unproven]


@pytest.fixture
def features(root):
    lake = el.open(root)
    lake.build(FEATURES, spine=SPINE)
    return root


@pytest.fixture
def sql(root):
    el.open(root).build(COUNT)
    return root


def test_datasets_that_are_what_their_recipes_make_are_sound(sql, features, stranger):
    el.open(sql).build(COUNT, at=14)
    stranger()
    assert found(sql) == ([], [])


@pytest.mark.parametrize("kind", ["sql", "features", "features on polars"])
def test_a_dataset_with_other_rows_than_its_recipe_makes_is_found(root, kind, stranger):
    lake = el.open(root)
    if kind == "sql":
        lake.build(COUNT)
    else:
        lake.build(FEATURES, spine=SPINE, engine="polars" if kind.endswith("polars") else "duckdb")
    name = "count" if kind == "sql" else "risk"
    forge_dataset(root, name, more)
    assert el.open(root).verify().ok
    for _ in range(2):
        [problem], unproven = found(root)
        assert "its rows are not those that its recipe makes" in problem
        assert unproven == []
        stranger()


def test_a_ledger_that_holds_a_falsehood_is_not_believed(sql):
    forged = forge_dataset(sql, "count", more)
    OWN.ledger.note([dataset_statement(forged)])
    [problem], _ = found(sql)
    assert "its rows are not those that its recipe makes" in problem


@pytest.mark.thorough
def test_a_dataset_that_was_made_again_is_remembered(sql, stranger, monkeypatch):
    stranger()
    assert found(sql) == ([], [])
    monkeypatch.setattr(
        "eventlake.datasets.building.build.compute", lambda *_: pytest.fail("made again")
    )
    assert el.open(sql).build(COUNT).polars()["n"].to_list() == [4] * 7


@pytest.mark.thorough
def test_rows_that_were_given_back_are_compared_too(sql):
    forged = forge_dataset(sql, "count", more)
    (part,) = sql.glob(f"builds/count/{forged[:12]}/*/part-*.parquet")
    part.unlink()
    (part.parent / layout.PRUNED).write_bytes(b"{}")
    [problem], _ = found(sql)
    assert "its rows are not those that its recipe makes" in problem


def test_a_second_attempt_with_other_rows_is_found(sql):
    (attempt,) = sql.glob("builds/count/*/*/")
    other = attempt.parent / "ffffffffffffffff"
    shutil.copytree(attempt, other)
    (part,) = other.glob("part-*.parquet")
    data = frames.encode(more(pq.read_table(part)))
    part.write_bytes(data)
    said = unseal((other / "provenance.json").read_bytes(), "")
    said["files"][part.name] = {"bytes": len(data), "sha256": sha256_hex(data)}
    (other / "provenance.json").write_bytes(seal(said))
    assert el.open(sql).verify().ok
    report = el.open(sql).verify(deep=True)
    assert [finding.path for finding in report.problems] == [str(other.relative_to(sql))]


def test_a_recipe_that_says_another_clock_is_found(root):
    clock = el.Projection.sql("clock", "SELECT sequence, recorded_at FROM events", key=["sequence"])
    el.open(root).build(clock)
    forge_dataset(root, "clock", recipe=lambda recipe: recipe.update(clock_hash="0" * 64))
    [problem], _ = found(root)
    assert "clock_hash: " + "0" * 64 + " then" in problem


LABELLED = el.spine.on(TYPE).label("more", el.exists(TYPE), horizon="7d")


def forge_label(root):
    """Turns the first label of the archived spine and of the rows, and gives everything the hashes that follow."""

    def turned(table):
        at = table.schema.get_field_index("more")
        values = table.column("more").to_pylist()
        return table.set_column(
            at, table.schema.field(at), pa.array([not values[0], *values[1:]], pa.bool_())
        )

    (path,) = root.glob("builds/risk/*/*/spine.parquet")
    spine = turned(pq.read_table(path))
    data = frames.encode(spine)
    path.write_bytes(data)
    provenance = path.parent / "provenance.json"
    said = unseal(provenance.read_bytes(), "")
    said["files"]["spine.parquet"] = {"bytes": len(data), "sha256": sha256_hex(data)}
    provenance.write_bytes(seal(said))
    forge_dataset(
        root,
        "risk",
        turned,
        lambda recipe: recipe["spine"].update(content_hash=content_hash(spine)),
    )


def test_a_spine_is_made_again_of_the_events_that_it_is_said_to_be_of(root):
    el.open(root).build(FEATURES, spine=LABELLED)
    assert found(root) == ([], [])
    forge_label(root)
    [problem], unproven = found(root)
    assert (problem, unproven) == (
        f"its spine is not the one that its declaration makes of {TYPE} events",
        [],
    )


@pytest.mark.parametrize(
    "name",
    [
        "spine_hindsight_rows",
        "spine_late_rows",
        "hindsight_rows",
        "hindsight_events",
        "hindsight_left_out",
    ],
)
def test_a_provenance_that_says_otherwise_how_much_was_seen_early_is_found(root, name):
    seen = el.FeatureSet("risk", features=[el.count(TYPE).name("n")], known="watermark")
    el.open(root).build(seen, spine=el.spine.on(TYPE))
    (path,) = root.glob("builds/risk/*/*/provenance.json")
    said = unseal(path.read_bytes(), "")
    right = said[name]
    assert found(root) == ([], [])
    path.write_bytes(seal(said | {name: right + 1}))
    [problem], unproven = found(root)
    counted = f"it records {name} = {right + 1}, but counting again gives {right}"
    assert (problem, unproven) == (counted, [])
    path.write_bytes(seal({what: value for what, value in said.items() if what != name}))
    problems, [reason] = found(root)
    assert problems == []
    assert reason.startswith(f"it records {name} = None, but counting again gives {right}")


def test_a_provenance_that_has_counts_of_hindsight_cannot_say_that_nobody_counted(root):
    seen = el.FeatureSet("risk", features=[el.count(TYPE).name("n")], known="watermark")
    el.open(root).build(seen, spine=el.spine.on(TYPE))
    (path,) = root.glob("builds/risk/*/*/provenance.json")
    said = unseal(path.read_bytes(), "")
    way = f"{said['way']}; hindsight not counted"
    path.write_bytes(seal(said | {"way": way, "hindsight_rows": said["hindsight_rows"] + 1}))
    [problem], _ = found(root)
    assert "it records hindsight_rows" in problem


@pytest.mark.thorough
def test_a_spine_that_another_version_of_eventlake_made_otherwise_is_listed(root):
    el.open(root).build(FEATURES, spine=LABELLED)
    (path,) = root.glob("builds/risk/*/*/provenance.json")
    said = unseal(path.read_bytes(), "")
    said["versions"]["eventlake"] = "0.0.1"
    path.write_bytes(seal(said))
    assert found(root) == ([], [])
    forge_label(root)
    problems, [reason] = found(root)
    assert problems == []
    assert "made by eventlake 0.0.1" in reason


def test_archived_python_is_run_only_with_trust(root, tmp_path):
    el.open(root).build(module(tmp_path, "features", TOLD)["told"])
    problems, [reason] = found(root)
    assert problems == []
    assert "--trust" in reason
    assert found(root, trust=True) == ([], [])
    forge_dataset(root, "told", more)
    assert [len(some) for some in found(root)] == [0, 1]
    [problem], _ = found(root, trust=True)
    assert "its rows are not those that its recipe makes" in problem


def test_trust_is_about_what_a_deep_verification_makes_again(root, run):
    with pytest.raises(InvalidInputError, match="deep=True"):
        el.open(root).verify(trust=True)
    assert run("verify", root, "--trust")[0] == 2


def test_other_rows_of_another_version_of_the_engine_are_listed_and_not_blamed(sql):
    forge_dataset(sql, "count", more, lambda recipe: recipe["engine"].update(version="1.9.0"))
    report = el.open(sql).verify(deep=True)
    assert (report.ok, len(report.unproven)) == (True, 1)
    assert "made by duckdb 1.9.0" in report.unproven[0].message
    assert "1 thing could not be checked" in report.card().title


@pytest.mark.thorough
def test_the_same_rows_of_another_version_of_the_engine_are_sound(sql):
    forge_dataset(sql, "count", recipe=lambda recipe: recipe["engine"].update(version="1.9.0"))
    assert found(sql) == ([], [])


def test_a_query_of_an_archive_that_does_not_end_is_given_up(sql):
    endless = "WITH RECURSIVE r AS (SELECT 0 AS i UNION ALL SELECT (i + 1) % 7 FROM r) SELECT count(*) AS n, '' AS subject FROM r"
    forge_dataset(sql, "count", sources=lambda _: endless)
    problems, [reason] = found(sql, seconds=0.5)
    assert problems == []
    assert "given up" in reason


def test_each_query_that_is_given_up_halves_the_time_of_those_after_it(root):
    endless = "WITH RECURSIVE r AS (SELECT 0 AS i UNION ALL SELECT (i + 1) % 7 FROM r) SELECT count(*) AS n, '' AS subject FROM r"
    for name in "abcd":
        el.open(root).build(el.Projection.sql(name, QUERY, key=["subject"]))
        if name != "c":
            forge_dataset(root, name, sources=lambda _: endless)
    limit = scaled(4, 2)
    problems, reasons = found(root, seconds=limit)
    assert problems == []
    assert [int(reason.partition("after ")[2].split()[0]) for reason in reasons] == [
        limit,
        limit // 2,
        1,
    ]


def test_a_query_of_an_archive_that_makes_more_rows_than_stated_is_given_up_early(sql):
    forge_dataset(
        sql,
        "count",
        sources=lambda _: "SELECT i AS n, i::VARCHAR AS subject FROM range(1000000000000) AS t(i)",
    )
    [problem], _ = found(sql)
    assert "expected 7 rows of the query, found more" in problem


def test_a_query_that_fails_is_listed(sql):
    forge_dataset(sql, "count", sources=lambda _: "SELECT * FROM nothing_here")
    problems, [reason] = found(sql)
    assert problems == []
    assert "DuckDB refused the query" in reason


def test_a_deep_verification_writes_nothing(features, tmp_path):
    for path in features.glob("tables/**/*.parquet"):
        path.unlink()
    before = sorted(str(path) for path in features.rglob("*"))
    assert found(features) == ([], [])
    assert sorted(str(path) for path in features.rglob("*")) == before


def test_sources_that_are_not_utf8_are_refused_by_name_and_a_verification_goes_on(tmp_path):
    root = tmp_path / "lake"
    lake = el.create(root, origin="bank.example/loans")
    lake.append([payment(number) for number in range(7)])
    lake.build(COUNT)
    other = lake.build(
        el.Projection.sql("other", QUERY.replace("AS n", "AS m"), key=["subject"])
    ).manifest_hash
    forged = forge_dataset(root, "count", sources=lambda text: f"{text} -- \udcff")
    lake = el.open(root)
    uses = (
        lambda: lake.reproduce(forged),
        lambda: lake.explain(forged, "/loan/1"),
        lambda: lake.diff(forged, other),
    )
    for use in uses:
        with pytest.raises(
            CorruptionError, match=r"source/query\.sql: expected UTF-8 text, found other bytes"
        ):
            use()
    problems, unproven = found(root)
    assert [problem.partition(": ")[2] for problem in problems] == [
        "expected UTF-8 text, found other bytes"
    ]
    assert unproven == []
