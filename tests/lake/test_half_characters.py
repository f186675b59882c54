"""Half of a surrogate pair is text that UTF-8 cannot hold: every verb refuses it as the caller's mistake, and nothing is changed."""

from datetime import UTC, datetime

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import EventlakeError, InvalidInputError
from eventlake.lake import Lake
from tests.support import naive

HALF = "\ud800"
OTHER = "a\udfffb"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string"}}}
EVENT = {"id": "2", "source": "s", "type": "t"}
ATTRIBUTES = (*naive.ORDER, "recorded_at")


@pytest.fixture
def lake():
    made = el.create("memory://", origin="bank.example/halves")
    made.register("t", SCHEMA)
    made.append(
        [
            {
                "id": "1",
                "source": "s",
                "type": "t",
                "subject": "/a",
                "time": datetime(2026, 1, 1, tzinfo=UTC),
                "data": {"n": 1},
            }
        ]
    )
    return made


def spine(**more):
    return pl.DataFrame({"subject": ["/a"], "cutoff": [datetime(2036, 1, 1, tzinfo=UTC)]} | more)


def sql(query="SELECT sequence FROM events", **more):
    return el.Projection.sql("p", query, **{"key": ["sequence"]} | more)


def features(*given, **more):
    return el.FeatureSet("f", features=list(given), **{"known": "watermark"} | more)


VERBS = {
    "create origin": lambda lake, half: el.create("memory://", origin=half),
    "create uri": lambda lake, half: el.create(half, origin="o"),
    "open": lambda lake, half: el.open(half),
    "open file uri": lambda lake, half: el.open(f"file:///tmp/{half}"),
    "append path": lambda lake, half: lake.append(f"{half}.ndjson"),
    "append parquet": lambda lake, half: lake.append(f"{half}.parquet"),
    "append unknown attribute": lambda lake, half: lake.append([EVENT | {half: "x"}]),
    "append payload": lambda lake, half: lake.append([EVENT | {"data": {"a": half}}]),
    "append payload key": lambda lake, half: lake.append([EVENT | {"data": {half: 1}}]),
    "append extension": lambda lake, half: lake.append([EVENT | {"mine": half}]),
    "append producer": lambda lake, half: lake.append([EVENT], producer=half, position=0),
    "append duplicates": lambda lake, half: lake.append([EVENT], duplicates=half),
    "pristine": lambda lake, half: lake.append([EVENT], expect=[el.pristine(half)]),
    "populated": lambda lake, half: lake.append([EVENT], expect=[el.populated(half)]),
    "on_event": lambda lake, half: lake.append([EVENT], expect=[el.on_event("/a", half)]),
    "check payload": lambda lake, half: lake.check(f"{half}.ndjson"),
    "next_position": lambda lake, half: lake.next_position(half),
    "resolve": lambda lake, half: lake.resolve(half),
    "register type": lambda lake, half: lake.register(half, SCHEMA),
    "register field": lambda lake, half: lake.register(
        "u", {"type": "object", "properties": {half: {"type": "integer"}}}
    ),
    "register enum": lambda lake, half: lake.register(
        "u", {"type": "object", "properties": {"a": {"type": "string", "enum": [half]}}}
    ),
    "register upcast": lambda lake, half: lake.register(
        "t", SCHEMA, upcast={"n": f"length('{half}')"}
    ),
    "infer_schema": lambda lake, half: lake.infer_schema(half),
    "schema": lambda lake, half: lake.schema(half),
    "snapshot": lambda lake, half: lake.snapshot(half),
    "scan types": lambda lake, half: lake.snapshot().scan(types=[half]).collect(),
    "scan subject": lambda lake, half: lake.snapshot().scan(subject=half).collect(),
    "scan columns": lambda lake, half: lake.snapshot().scan(columns=[half]).collect(),
    "table": lambda lake, half: lake.snapshot().table(half),
    "table known_at": lambda lake, half: lake.snapshot().table("t", known_at=half),
    "lifetimes": lambda lake, half: lake.snapshot().lifetimes(half),
    "sql": lambda lake, half: lake.snapshot().sql(f"SELECT '{half}'"),
    "sql parameter": lambda lake, half: lake.snapshot().sql("SELECT $v", v=half),
    "verify": lambda lake, half: lake.verify(against=half),
    "projection name": lambda lake, half: lake.build(
        el.Projection.sql(half, "SELECT sequence FROM events", key=["sequence"])
    ),
    "projection query": lambda lake, half: lake.build(
        sql(f"SELECT sequence, '{half}' AS v FROM events")
    ),
    "projection of a type": lambda lake, half: lake.build(
        sql(f"SELECT sequence, '{half}' AS v FROM t")
    ),
    "projection key": lambda lake, half: lake.build(sql(key=[half])),
    "projection by": lambda lake, half: lake.build(sql(by=half)),
    "projection parameter": lambda lake, half: lake.build(
        sql("SELECT sequence, $v AS v FROM events", parameters={"v": half})
    ),
    "projection parameter name": lambda lake, half: lake.build(sql(parameters={half: "x"})),
    "build parameter": lambda lake, half: lake.build(
        sql("SELECT sequence, $v AS v FROM events", parameters={"v": "x"}), parameters={"v": half}
    ),
    "build engine": lambda lake, half: lake.build(sql(), engine=half),
    "build check": lambda lake, half: lake.build(sql(), check=half),
    "build at": lambda lake, half: lake.build(sql(), at=half),
    "feature type": lambda lake, half: lake.build(features(el.count(half)), spine=spine()),
    "feature field": lambda lake, half: lake.build(features(el.sum("t", half)), spine=spine()),
    "feature by": lambda lake, half: lake.build(features(el.count("t"), by=half), spine=spine()),
    "feature name": lambda lake, half: lake.build(
        features(el.count("t").name(half)), spine=spine()
    ),
    "feature window": lambda lake, half: lake.build(
        features(el.count("t", window=half)), spine=spine()
    ),
    "feature known": lambda lake, half: lake.build(
        features(el.count("t"), known=half), spine=spine()
    ),
    "condition": lambda lake, half: lake.build(
        features(el.count("t", where=el.field("text") == half)), spine=spine()
    ),
    "condition field": lambda lake, half: lake.build(
        features(el.count("t", where=el.field(half) == 1)), spine=spine()
    ),
    "spine on": lambda lake, half: lake.build(features(el.count("t")), spine=el.spine.on(half)),
    "spine carry": lambda lake, half: lake.build(
        features(el.count("t")), spine=el.spine.on("t", carry=[half])
    ),
    "spine read": lambda lake, half: el.spine.read(f"{half}.csv"),
    "definition": lambda lake, half: el.read_definition(half),
    "import path": lambda lake, half: el.import_file(
        lake, f"{half}.csv", {"source": "s", "events": [{"type": "t", "id": "{k}"}]}
    ),
    "import mapping": lambda lake, half: el.import_file(
        lake, "x.csv", {"source": half, "events": [{"type": "t", "id": "{k}"}]}
    ),
    "import mapping path": lambda lake, half: el.import_file(lake, "x.csv", f"{half}.toml"),
    "import producer": lambda lake, half: el.import_file(
        lake, "x.csv", {"source": "s", "events": [{"type": "t", "id": "{k}"}]}, producer=half
    ),
    "reproduce": lambda lake, half: lake.reproduce(half),
    "diff": lambda lake, half: lake.diff(half, half),
    "explain": lambda lake, half: lake.explain(half, 0),
    "dataset": lambda lake, half: lake.dataset(half),
    "tag": lambda lake, half: lake.tag(lake.build(sql()).manifest_hash, half),
    "untag": lambda lake, half: lake.untag(half),
    "explain key": lambda lake, half: lake.build(
        sql("SELECT subject, sequence FROM events")
    ).explain(half),
    "explain column": lambda lake, half: lake.build(
        sql("SELECT subject, sequence FROM events")
    ).explain(0, half),
    "split by": lambda lake, half: lake.build(sql()).split(by=half),
    "split salt": lambda lake, half: lake.build(sql("SELECT subject, sequence FROM events")).split(
        by="entity", column="subject", salt=half
    ),
    "xy": lambda lake, half: lake.build(sql()).xy(half),
    "record_predictions model": lambda lake, half: lake.record_predictions(
        lake.build(sql()), pl.DataFrame({"sequence": [0], "prediction": [0.5]}), model=half
    ),
    "explain_prediction": lambda lake, half: lake.explain_prediction(half),
    "remove_dataset": lambda lake, half: lake.remove_dataset(half),
}


@pytest.mark.parametrize("half", [HALF, OTHER], ids=ascii)
@pytest.mark.parametrize("name", VERBS)
def test_every_verb_refuses_half_a_character_and_changes_nothing(
    lake, tmp_path, monkeypatch, name, half
):
    monkeypatch.chdir(tmp_path)
    before = (lake.checkpoint, lake.schemas())
    with pytest.raises(EventlakeError) as caught:
        VERBS[name](lake, half)
    f"{caught.value}".encode("utf-8", "backslashreplace")
    assert (lake.checkpoint, lake.schemas()) == before
    assert lake.verify(deep=True).ok
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_with_half_a_character_is_named_by_row(lake, name):
    problems = lake.check(
        [
            EVENT,
            EVENT | {"id": "3"} | {name: {"a": HALF} if name in {"extensions", "data"} else HALF},
        ]
    )
    assert (1, name) in {(problem.row, problem.field) for problem in problems}


def test_the_tables_above_know_every_verb_of_a_lake():
    named = {one.split(" ")[0] for one in VERBS}
    without_text = {
        "watermark",
        "checkpoint",
        "trust",
        "origin",
        "uri",
        "writer",
        "schemas",
        "follow",
        "log",
        "card",
        "compact",
        "gc",
        "datasets",
        "tags",
    }
    public = {name for name in dir(Lake) if not name.startswith("_")}
    # build by its parts; proofs and datasets take what snapshot takes
    assert public - without_text - named - {
        "prune",
        "prove_inclusion",
        "prove_consistency",
        "clock",
        "accept_clock",
    } <= {
        "register",
        "build",
    }


def test_the_message_shows_where_it_stands(lake):
    with pytest.raises(
        InvalidInputError, match=r"expected text without lone surrogates, found 'cash \\ud800 box'"
    ):
        lake.next_position(f"cash {HALF} box")


def test_a_writer_refuses_the_batch_alone(lake):
    with lake.writer() as writer:
        bad, good = writer.append([EVENT | {"id": HALF}]), writer.append([EVENT])
        assert good.result().count == 1
        with pytest.raises(EventlakeError):
            bad.result()
    assert lake.watermark == 2


def test_nothing_else_is_taken_for_it(lake):
    whole = "\U0001f600 ü"
    lake.append(
        [EVENT | {"id": whole, "source": whole, "subject": whole, "data": {"text": whole}}],
        producer=whole,
        position=0,
    )
    assert lake.next_position(whole) == 1
    assert lake.snapshot().scan(subject=whole).collect()["id"].to_list() == [whole]
    assert lake.build(
        features(el.count("t", where=el.field("text") == whole).name("n"), by="source"),
        spine=spine(source=[whole]),
    ).polars()["n"].to_list() == [1]
