"""First mistakes are told by what was expected, what was found, and what to write; what is written works."""

import dataclasses
import datetime as dt
import enum
import functools
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import typing
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.errors import (
    InvalidEventsError,
    InvalidInputError,
    InvalidProjectionError,
    NotFoundError,
    StorageError,
)

UTC = dt.UTC
AMOUNT = {
    "type": "object",
    "properties": {"amount": {"type": "number", "multipleOf": 0.01}, "method": {"type": "string"}},
}


def event(n=0, **more):
    return {
        "id": f"e{n}",
        "source": "till",
        "type": "paid",
        "subject": f"/loan/{n % 3}",
        "time": f"2026-01-{n + 1:02}T00:00:00Z",
        "recorded_at": f"2026-01-{n + 1:02}T00:00:00Z",
        "data": {"amount": 1.5, "method": "card"},
    } | more


@pytest.fixture
def lake(tmp_path):
    made = el.create(tmp_path / "lake", "tests.eventlake/mistakes")
    made.register("paid", AMOUNT)
    made.append([event(n) for n in range(6)])
    return made


@pytest.fixture
def dataset(lake):
    return lake.build(el.FeatureSet("risk", features=[el.count("paid")]), spine=el.spine.on("paid"))


CALLS = [
    (
        lambda lake: el.create("x"),
        "el.create(): missing a required argument: 'origin'",
        "el.create(uri, origin, *, strict=False, trust=None)",
    ),
    (
        lambda lake: el.open(),
        "el.open(): missing a required argument: 'uri'",
        "el.open(uri, *, trust=None)",
    ),
    (
        lambda lake: el.open("x", read_only=True),
        "el.open() has no argument 'read_only'",
        "el.open(uri, *, trust=None)",
    ),
    (lambda lake: el.Lake("x"), "found el.Lake('x')", "write el.open('my-lake')"),
    (
        lambda lake: lake.append(),
        "lake.append(): missing a required argument: 'events'",
        "lake.append(events,",
    ),
    (
        lambda lake: lake.append(event(9), event(10)),
        "lake.append(): too many positional arguments",
        "lake.append(events, *, producer=None",
    ),
    (
        lambda lake: el.pristine(),
        "el.pristine(): missing a required argument: 'subject'",
        "el.pristine(subject",
    ),
    (lambda lake: el.Feature("x"), "found el.Feature(…)", "write el.count("),
    (
        lambda lake: lake.append([event(9)], on_duplicate="skip"),
        "has no argument 'on_duplicate'",
        "did you mean duplicates=?",
    ),
    (
        lambda lake: lake.snapshot(as_of=3),
        "lake.snapshot() has no argument 'as_of'",
        "did you mean at=?",
    ),
    (
        lambda lake: lake.snapshot(watermark=3),
        "lake.snapshot() has no argument 'watermark'",
        "did you mean at=?",
    ),
    (
        lambda lake: lake.snapshot().scan(type="paid"),
        "snapshot.scan() has no argument 'type'",
        "did you mean types=?",
    ),
    (
        lambda lake: lake.snapshot().scan(subject=["/loan/1"]),
        "expected subject as text, found ['/loan/1']",
        "write subject= as text",
    ),
    (
        lambda lake: lake.snapshot().table("paid", known="2026-01-01"),
        "has no argument 'known'",
        "did you mean known_at=?",
    ),
    (
        lambda lake: lake.snapshot().table(["paid"]),
        "expected event_type as text, found ['paid']",
        "write event_type= as text",
    ),
    (
        lambda lake: lake.snapshot().table("paid", version="1"),
        "expected version as an integer, found '1'",
        "write version= as an integer",
    ),
    (
        lambda lake: lake.snapshot().event("e1"),
        "expected sequence as an integer, found 'e1'",
        "write sequence= as an integer",
    ),
    (
        lambda lake: lake.snapshot().sql(None),
        "snapshot.sql(): expected query as text, found None",
        "write query= as text",
    ),
    (
        lambda lake: lake.snapshot().sql("SELECT $n", {"n": 1}),
        "too many positional arguments",
        "snapshot.sql(query, **parameters)",
    ),
    (
        lambda lake: lake.register("paid"),
        "missing a required argument: 'schema'",
        "lake.register(event_type, schema",
    ),
    (
        lambda lake: el.Projection.sql("q", "SELECT 1"),
        "missing a required argument: 'key'",
        "el.Projection.sql(name, query, *, key",
    ),
    (
        lambda lake: el.Projection.sql("q", "SELECT 1", keys=["a"]),
        "el.Projection.sql() has no argument 'keys'",
        "did you mean key=?",
    ),
    (
        lambda lake: el.Projection.sql("q", None, key=["a"]),
        "expected query as text, found None",
        "write query= as text",
    ),
    (
        lambda lake: el.Projection.sql("q", pathlib.Path("q.sql"), key=["a"]),
        "expected query as text, found PosixPath('q.sql')",
        "query= as text",
    ),
    (
        lambda lake: el.projection(lambda snapshot: snapshot),
        "el.projection(): too many positional arguments",
        "el.projection(*, name, key",
    ),
    (
        lambda lake: lake.build(None, None),
        "lake.build(): too many positional arguments",
        "lake.build(projection, *, at=None, spine=None",
    ),
    (
        lambda lake: lake.build(el.FeatureSet("x", features=[el.count("paid")]), known="watermark"),
        "has no argument 'known'",
        "lake.build(",
    ),
    (
        lambda lake: el.FeatureSet(features=[el.count("paid")]),
        "el.FeatureSet(): missing a required argument: 'name'",
        "el.FeatureSet(name,",
    ),
    (
        lambda lake: el.FeatureSet("x", features=[el.count("paid")], known_at="cutoff"),
        "has no argument 'known_at'",
        "did you mean known=?",
    ),
    (
        lambda lake: el.FeatureSet("x", features=[el.count("paid")], entity="subject"),
        "has no argument 'entity'",
        "did you mean by=?",
    ),
    (
        lambda lake: el.field("a", "b"),
        "el.field(): too many positional arguments",
        "el.field(name)",
    ),
    (
        lambda lake: el.relation("paid"),
        "missing a required argument: 'child'",
        "el.relation(event_type, *, child, parent)",
    ),
    (
        lambda lake: el.spine.on(),
        "el.spine.on(): missing a required argument: 'event_type'",
        "el.spine.on(event_type,",
    ),
    (
        lambda lake: el.spine.on("paid").label(el.exists("paid")),
        "spine.label(): missing a required argument: 'feature'",
        "spine.label(name, feature",
    ),
    (
        lambda lake: el.ratio("a", "b"),
        "expected two features, found 'a' and 'b'",
        "el.ratio(el.count(",
    ),
    (lambda lake: el.count("paid").name(), "missing a required argument: 'name'", "name(name)"),
    (
        lambda lake: "card" in el.field("method"),
        "'card' in a field does not make a condition",
        "el.field('method') == 'card'",
    ),
    (
        lambda lake: lake.diff("a"),
        "lake.diff(): missing a required argument: 'b'",
        "lake.diff(a, b)",
    ),
    (
        lambda lake: lake.datasets(name="risk"),
        "lake.datasets() has no argument 'name'",
        "it is called lake.datasets(",
    ),
    (
        lambda lake: lake.verify("deep"),
        "lake.verify(): too many positional arguments",
        "it is called lake.verify(*, deep=False, against=None",
    ),
    (
        lambda lake: lake.verify(against=3),
        "expected against as a Checkpoint or text, found 3",
        "write against=",
    ),
    (
        el.check_leakage,
        "el.check_leakage(): expected dataset as a Dataset, found",
        "write dataset= as a Dataset",
    ),
    (
        lambda lake: lake.gc(older_than=7),
        "expected older_than as a timedelta, such as timedelta(days=7), found 7",
        "timedelta(days=7)",
    ),
    (
        lambda lake: lake.gc(delete=True),
        "lake.gc() has no argument 'delete'",
        "did you mean dry_run=?",
    ),
    (
        lambda lake: lake.prune(),
        "lake.prune(): missing a required argument: 'older_than'",
        "lake.prune(*, older_than",
    ),
    (
        lambda lake: lake.compact(target_bytes="64MB"),
        "expected target_bytes as an integer, found '64MB'",
        "target_bytes= as an integer",
    ),
    (
        lambda lake: lake.follow("0"),
        "expected after as an integer, found '0'",
        "write after= as an integer",
    ),
    (
        lambda lake: el.import_file(lake, "a.csv"),
        "missing a required argument: 'mapping'",
        "el.import_file(lake, path, mapping",
    ),
    (
        lambda lake: el.read_definition(None),
        "expected folder as text or a path, found None",
        "write folder=",
    ),
]


@pytest.mark.parametrize(("call", "told", "hint"), CALLS, ids=range(len(CALLS)))
def test_a_call_that_does_not_fit_is_told_how_the_function_is_called(lake, call, told, hint):
    with pytest.raises(InvalidInputError) as refused:
        call(lake)
    assert told in refused.value.message
    assert hint in refused.value.hint


def test_a_failure_of_a_call_that_fits_is_passed_on_as_it_is(lake):
    def rows():
        yield event(9)
        raise AttributeError("the caller's own")

    with pytest.raises(AttributeError, match="the caller's own"):
        lake.append(rows())
    assert lake.watermark == 6


def test_a_forced_build_says_that_its_rows_are_those_of_before(lake, dataset):
    again = lake.build(
        el.FeatureSet("risk", features=[el.count("paid")]), spine=el.spine.on("paid"), force=True
    )
    assert again.computed
    assert (
        dict(again.card().facts)["rows"]
        == "computed by this build, and equal to what an earlier build stored"
    )


def test_a_dataset_is_tagged_by_its_name(lake, dataset):
    lake.tag("risk", "production")
    assert lake.dataset("production").manifest_hash == dataset.manifest_hash


def test_a_reference_that_is_almost_right_is_told_the_right_one(lake, dataset):
    upper = dataset.manifest_hash.upper()
    for reference, hint in (
        (f" {upper}\n", f"write '{dataset.manifest_hash}'."),
        (dataset, "write dataset.manifest_hash."),
        ("rsik", "did you mean 'risk'?"),
    ):
        with pytest.raises((InvalidInputError, NotFoundError)) as refused:
            lake.dataset(reference)
        assert refused.value.hint == hint


def test_the_version_is_where_packages_have_it():
    assert el.__version__ == importlib.metadata.version("eventlake")


def test_numbers_of_numpy_fit_where_numbers_do(lake):
    assert lake.snapshot().event(np.int64(3))["id"] == "e3"


ATTRIBUTES = [
    (lambda lake, dataset: el.connect, "el.open('my-lake') opens a lake"),
    (lambda lake, dataset: el.featureset, "did you mean el.FeatureSet?"),
    (lambda lake, dataset: el.read_csv, "el.import_file(lake, 'loans.csv', 'loans.toml')"),
    (lambda lake, dataset: el.FeatureView, "write el.FeatureSet('risk'"),
    (lambda lake, dataset: lake.pristine, "expect=[el.pristine('/loan/1')]"),
    (lambda lake, dataset: lake.as_of, "lake.snapshot(at=3)"),
    (lambda lake, dataset: lake.vacuum, "lake.gc(dry_run=False)"),
    (lambda lake, dataset: lake.append([]).ids, "range(receipt.start, receipt.stop)"),
    (lambda lake, dataset: dataset.loc, "dataset.polars(), dataset.pandas()"),
    (lambda lake, dataset: el.field("a").notnull, "write ~el.field('amount').is_null()"),
    (lambda lake, dataset: el.count("paid").fillna, "with_columns(pl.col('sale_count')"),
    (
        lambda lake, dataset: el.spine.on("paid").to_pandas,
        "lake.build(features, spine=spine).polars()",
    ),
    (lambda lake, dataset: el.nunique, "write el.distinct(type, field)"),
    (lambda lake, dataset: el.spine.month_end, "write el.spine.month_ends("),
    (lambda lake, dataset: lake.sql, "a history is read from a snapshot: lake.snapshot()"),
    (lambda lake, dataset: lake.add, "lake.append(events)"),
    (lambda lake, dataset: lake.delete, "append a correction"),
    (lambda lake, dataset: lake.regster, "did you mean register?"),
    (lambda lake, dataset: lake.snapshot().build, "lake.build(projection, at=snapshot.checkpoint)"),
    (lambda lake, dataset: lake.snapshot().to_pandas, "snapshot.scan().collect()"),
    (lambda lake, dataset: lake.snapshot().sql("SELECT 1 AS one").df, "write .pandas()"),
    (lambda lake, dataset: dataset.to_pandas, "write dataset.pandas()"),
    (lambda lake, dataset: dataset.train_test_split, "dataset.split(by='time', test=0.2)"),
    (lambda lake, dataset: el.field("method").isin, ".is_in(['card', 'cash'])"),
    (lambda lake, dataset: el.count("paid").over, "el.FeatureSet('risk', by='subject'"),
]


@pytest.mark.parametrize(("look", "told"), ATTRIBUTES, ids=range(len(ATTRIBUTES)))
def test_a_name_that_is_not_there_is_told_by_what_to_write(lake, dataset, look, told):
    with pytest.raises(AttributeError) as missing:
        look(lake, dataset)
    assert told in str(missing.value)


OPERATIONS = [
    (
        lambda lake, dataset: len(lake),
        "'Lake' object has no length",
        "lake.watermark is the number of events",
    ),
    (lambda lake, dataset: lake["risk"], "'Lake' object has nothing in []", "lake.dataset('risk')"),
    (
        lambda lake, dataset: list(lake),
        "'Lake' object cannot be iterated over",
        "for event in snapshot.scan().collect()",
    ),
    (
        lambda lake, dataset: "e1" in lake,
        "'Lake' object cannot be searched by in",
        "for event in snapshot.scan().collect()",
    ),
    (lambda lake, dataset: lake + event(9), "'Lake' object takes no +", "lake.append(events)"),
    (
        lambda lake, dataset: lake.snapshot()["paid"],
        "'Snapshot' object has nothing in []",
        "snapshot.table(",
    ),
    (lambda lake, dataset: len(lake.snapshot()), "has no length", "snapshot.watermark"),
    (
        lambda lake, dataset: list(lake.snapshot().sql("SELECT 1 AS one")),
        "cannot be iterated over",
        ".polars().iter_rows(named=True)",
    ),
    (
        lambda lake, dataset: lake.snapshot().sql("SELECT 1 AS one")["one"],
        "has nothing in []",
        "result.polars()['amount']",
    ),
    (
        lambda lake, dataset: len(dataset),
        "'Dataset' object has no length",
        "dataset.polars().height",
    ),
    (
        lambda lake, dataset: dataset["paid_count"],
        "'Dataset' object has nothing in []",
        "dataset.polars()[",
    ),
    (
        lambda lake, dataset: pd.DataFrame(dataset),
        "cannot be iterated over",
        ".pandas() and .arrow() have the rows",
    ),
    (lambda lake, dataset: el.count("paid") > 3, "takes no >", "pl.col('sale_count') > 3"),
    (lambda lake, dataset: -el.count("paid"), "takes no -", "write -1 * feature"),
    (lambda lake, dataset: el.count("paid") ** 2, "takes no **", "+, -, * and /"),
    (lambda lake, dataset: bool(el.count("paid")), "neither true nor false", "where=el.field("),
    (
        lambda lake, dataset: el.count("paid") == 3,
        "a feature has no value before it is built, found == 3",
        "pl.col('paid_count') == 3",
    ),
    (lambda lake, dataset: el.field("amount") * 2 > 3, "takes no *", "el.field('amount') > 100"),
    (lambda lake, dataset: not el.field("flag"), "neither true nor false", "el.field('a') == True"),
    (lambda lake, dataset: ~el.field("flag"), "takes no ~", "el.field('a') == True"),
    (
        lambda lake, dataset: el.field("customer")["id"],
        "has nothing in []",
        "el.field('customer.id')",
    ),
    (
        lambda lake, dataset: {el.field("method"): "card"},
        "as the key of a dict",
        "write {'method': 'value'}",
    ),
    (
        lambda lake, dataset: el.field("a") > el.field("b"),
        "found FieldReference(name='b')",
        "el.Projection.sql(",
    ),
    (lambda lake, dataset: (el.field("a") > 1) + 1, "takes no +", "(el.field('a') == 1) & "),
    (
        lambda lake, dataset: list(el.spine.on("paid")),
        "cannot be iterated over",
        "lake.build(features, spine=spine).polars()",
    ),
    (
        lambda lake, dataset: el.FeatureSet("x", features=[el.count("paid")])[0],
        "has nothing in []",
        "features.features",
    ),
    (lambda lake, dataset: dataset.split(by="time")["train"], "has nothing in []", "split.train"),
    (lambda lake, dataset: bool(lake.verify()), "neither true nor false", "report.ok"),
    (
        lambda lake, dataset: bool(lake.diff("risk", "risk")),
        "neither true nor false",
        "diff.identical",
    ),
    (
        lambda lake, dataset: bool(lake.reproduce("risk")),
        "neither true nor false",
        "made.identical",
    ),
    (lambda lake, dataset: len(lake.gc()), "has no length", "garbage.files"),
    (
        lambda lake, dataset: el.Projection.sql("q", "SELECT id FROM events", key=["id"])(lake),
        "is no function",
        "lake.build(projection)",
    ),
]


@pytest.mark.parametrize(("operate", "told", "hint"), OPERATIONS, ids=range(len(OPERATIONS)))
def test_an_operation_that_is_not_there_is_told_by_what_to_write(
    lake, dataset, operate, told, hint
):
    lake.tag("risk", "risk")
    with pytest.raises(InvalidInputError) as refused:
        operate(lake, dataset)
    assert told in refused.value.message
    assert hint in refused.value.hint


def test_objects_without_a_length_are_true_and_refusals_are_type_errors(lake, dataset):
    assert lake
    assert lake.snapshot()
    assert dataset
    assert lake.append([])
    with pytest.raises(TypeError):
        iter(lake)


def test_refused_operations_hide_no_rows_from_other_libraries(lake, dataset):
    counts = [0, 1, 2, 3, 4, 5]
    result = lake.snapshot().sql("SELECT sequence FROM events ORDER BY 1")
    assert pl.DataFrame(result)["sequence"].to_list() == counts
    assert pl.DataFrame(dataset)["spine_row"].to_list() == counts
    assert pa.table(dataset)["spine_row"].to_pylist() == counts
    assert np.array([dataset, dataset], dtype=object).shape == (2,)
    assert (np.int64(2) * el.count("paid")).column == (2 * el.count("paid")).column


def test_a_feature_is_named_by_name_and_never_changes():
    feature = el.count("paid")
    for one in (feature, feature / 2):
        with pytest.raises(AttributeError, match=r"write \.name\('late_payments'\)"):
            one.alias("late")
        with pytest.raises(AttributeError, match="cannot assign to field 'window'"):
            one.window = "30d"
        assert one.name("late").column == "late"
    assert feature == el.count("paid")
    assert feature != el.count("paid", window="1d")
    assert len({feature, el.count("paid")}) == 1
    assert (0 + feature) != (feature + feature)
    assert (feature + 1) == (feature + 1)


MADE_NOWHERE = """
import eventlake as el
@el.projection(name="ids", key=["id"])
def ids(snapshot):
    return snapshot.scan().select("id")
"""


class Methods:
    def of_an_object(self, snapshot):
        return snapshot.scan()

    @classmethod
    def of_a_class(cls, snapshot):
        return snapshot.scan()


@pytest.mark.parametrize("arguments", [["-c", MADE_NOWHERE], ["-"]])
def test_a_projection_whose_source_is_not_kept_is_told_where_to_write_it(arguments):
    run = subprocess.run(
        [sys.executable, *arguments],
        input=MADE_NOWHERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1
    assert (
        "InvalidProjectionError: expected a function whose source can be read, found ids"
        in run.stderr
    )
    assert "Hint: write it into a .py file and import it from there" in run.stderr


@pytest.mark.parametrize(
    "function",
    [
        lambda snapshot: snapshot.scan(),
        Methods().of_an_object,
        Methods.of_a_class,
        Methods.__call__,
        len,
        functools.partial(len),
        None,
    ],
)
def test_what_is_no_function_of_a_module_is_told_to_be_one(function):
    with pytest.raises(
        InvalidProjectionError, match="expected a function at the top level of a module"
    ) as refused:
        el.projection(name="p", key=["id"])(function)
    assert (
        refused.value.hint
        == "define it with def, outside of functions and classes; parameters= are handed to it by name."
    )


def test_the_package_runs_as_a_command():
    run = subprocess.run(
        [sys.executable, "-m", "eventlake", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == f"eventlake {el.__version__}\n"


def test_a_dict_of_columns_is_told_to_be_a_table(lake):
    columns = {"id": ["a", "b"], "source": ["s", "s"], "type": ["t", "t"]}
    with pytest.raises(InvalidInputError) as refused:
        el.create("memory://", "a/b").append(columns)
    assert refused.value.hint == "make a table of columns: lake.append(pl.DataFrame(columns))."
    assert el.create("memory://", "a/b").append(pl.DataFrame(columns)).count == 2


def test_what_asks_for_attributes_by_itself_still_hears_no(lake, dataset):
    assert not hasattr(lake, "__arrow_c_stream__")
    assert getattr(dataset, "nothing_of_this_name", None) is None
    assert dataclasses.replace(el.field("a"), name="b").name == "b"


def test_a_split_is_taken_apart_as_it_is_elsewhere(dataset):
    train, test = dataset.split(by="time", test=0.34)
    assert (train.height, test.height) == (4, 2)


SPLITS = [
    (
        {"by": "random"},
        "expected by as 'entity' or 'time', found 'random'",
        "by a hash of its name",
    ),
    (
        {"by": "subject"},
        "expected by as 'entity' or 'time', found 'subject'",
        "write by='entity', column='subject'",
    ),
    ({"by": "time", "test": 20}, "expected test as a share between 0 and 1, found 20", "test=0.2"),
    (
        {"by": "time", "column": "cutof"},
        "there is no column 'cutof' to split by time",
        "spine_row, subject, cutoff, paid_count",
    ),
    (
        {"by": "time", "test_size": 0.2},
        "dataset.split() has no argument 'test_size'",
        "did you mean test=?",
    ),
]


@pytest.mark.parametrize(("how", "told", "hint"), SPLITS)
def test_a_split_that_cannot_be_names_the_argument(dataset, how, told, hint):
    with pytest.raises(InvalidInputError) as refused:
        dataset.split(**how)
    assert told in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("lake/lake.json", "the lake is its folder {}/lake."),
        ("lake/segments", "the lake is its folder {}/lake."),
        (".", "there is a lake in {}/lake."),
        ("laek", "did you mean {}/lake?"),
        ("elsewhere", "make one with 'eventlake init' or el.create(…), or check the path."),
    ],
)
def test_a_folder_without_a_lake_is_told_where_one_is(lake, tmp_path, where, told):
    with pytest.raises(NotFoundError) as missing:
        el.open(tmp_path / where)
    assert missing.value.hint == told.format(tmp_path)


@pytest.mark.parametrize("given", [None, 5, b"lake", ["lake"], object()])
def test_a_lake_is_named_by_text_or_a_path(given):
    for verb in (lambda: el.open(given), lambda: el.create(given, "a/b")):
        with pytest.raises(InvalidInputError, match=f"or a storage, found {type(given).__name__}"):
            verb()


def test_an_open_lake_in_place_of_its_path_is_told_its_uri(lake):
    with pytest.raises(InvalidInputError, match=r"lake\.uri"):
        el.open(lake)
    assert el.open(lake.uri).watermark == 6


def test_a_folder_name_that_the_disk_cannot_hold_is_an_error_of_storage(tmp_path):
    with pytest.raises(StorageError, match="ENAMETOOLONG") as refused:
        el.create(tmp_path / ("n" * 300), "a/b")
    assert refused.value.hint == "give the folder a shorter name."


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Payment:
    amount: int = 1


class Named(typing.NamedTuple):
    id: str
    source: str
    type: str


PAYLOADS = [
    (Colour.RED, "Colour has no JSON form: write value.value", Colour.RED.value),
    (
        Payment(),
        "Payment has no JSON form: write dataclasses.asdict(value)",
        dataclasses.asdict(Payment()),
    ),
    ({2, 1}, "set has no JSON form: write sorted(value)", [1, 2]),
    (b"x", "bytes has no JSON form: write value.decode()", "x"),
    (np.float32(0.5), "float32 has no JSON form: write value.item()", 0.5),
    (np.bool_(True), "has no JSON form: write value.item()", True),
    (
        np.array([1, 2]),
        "ndarray has no JSON form: write value.item() for one number, value.tolist() for an array",
        [1, 2],
    ),
    (pl.Series([1, 2]), "Series has no JSON form: write value.to_list()", [1, 2]),
    (dt.timedelta(minutes=1), "timedelta has no JSON form: write value.total_seconds()", 60.0),
    (pathlib.PurePosixPath("/a"), "PurePosixPath has no JSON form: write str(value)", "/a"),
    (range(2), "range has no JSON form: write list(value)", [0, 1]),
    (
        dt.datetime(2026, 1, 1),
        "found a naive one: write value.replace(tzinfo=UTC)",
        dt.datetime(2026, 1, 1, tzinfo=UTC),
    ),
    (float("nan"), "JSON has no nan: write None for a value that is missing", None),
    (pd.NA, "NAType has no JSON form: write None", None),
    (pd.NaT, "JSON has no NaT: write None for a value that is missing", None),
    (Decimal("NaN"), "JSON has no NaN: write None for a value that is missing", None),
]


@pytest.mark.parametrize(("value", "told", "written"), PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_value_without_a_json_form_is_told_the_expression_that_has_one(
    tmp_path, value, told, written
):
    lake = el.create(tmp_path / "lake", "tests.eventlake/mistakes")
    with pytest.raises(InvalidEventsError) as refused:
        lake.append([event(9, data={"a": value})])
    assert told in refused.value.message
    assert lake.append([event(9, data={"a": written})]).stop == 1


EVENTS = [
    (json.dumps(event(9)), "write json.loads(value), or give the lines as bytes"),
    (Named("9", "till", "paid"), "write value._asdict()"),
    (Payment(), "write dataclasses.asdict(value)"),
    (None, "such as {'id': '1', 'source': 'till'"),
]


@pytest.mark.parametrize(("given", "told"), EVENTS, ids=range(len(EVENTS)))
def test_an_event_that_is_no_dict_is_told_how_to_make_one(lake, given, told):
    with pytest.raises(InvalidEventsError) as refused:
        lake.append([given])
    assert told in refused.value.message


def test_json_as_text_is_taken_for_no_path(lake):
    text = json.dumps(event(9))
    with pytest.raises(InvalidInputError) as refused:
        lake.append(text)
    assert refused.value.hint.startswith("write lake.append(text.encode())")
    assert lake.append(text.encode()).stop == 7


@pytest.mark.parametrize(
    ("name", "meant"),
    [("timestamp", "time"), ("ts", "time"), ("payload", "data"), ("body", "data")],
)
def test_what_other_systems_call_an_attribute_is_no_extension_unless_it_is_said(
    tmp_path, name, meant
):
    lake = el.create(tmp_path / "lake", "tests.eventlake/mistakes")
    given = {key: value for key, value in event(9).items() if key != meant}
    for events in (
        [given | {name: "2026-01-01T00:00:00Z"}],
        json.dumps(given | {name: "2026-01-01T00:00:00Z"}).encode(),
    ):
        with pytest.raises(
            InvalidEventsError,
            match=f"field {name}: expected '{meant}', which the event does not have",
        ):
            lake.append(events)
    lake.append([given | {"extensions": {name: "x"}}])
    lake.append([event(10, **{name: "x"})])
    assert lake.snapshot().scan().collect()["extensions"].to_list() == [f'{{"{name}":"x"}}'] * 2


QUERIES = [
    ("SELECT * FROM evnts", "did you mean events?"),
    ('SELECT * FROM "payd"', 'did you mean "paid"?'),
    (
        "SELECT * FROM loan.granted",
        "a name with dots needs double quotes: FROM \"loan.granted\". lake.register('loan.granted', schema)",
    ),
    (
        'SELECT * FROM latest."loan.granted"',
        "lake.register('loan.granted', schema) makes an event type a table",
    ),
    ("SELECT subjet FROM events", "did you mean subject?"),
    (
        "SELECT amount FROM events",
        'amount is a field of "paid": read FROM "paid"; in events it is data ->> \'amount\'',
    ),
    ("SELECT data.amount FROM events", "write data ->> 'amount'"),
    ('SELECT * FROM paid WHERE method = "card"', "text needs single quotes: 'card'"),
    ("SELECT * FROM spine", "lake.build(projection, spine=frame)"),
    ("SELECT * FROM events WHERE sequence < $most", "write snapshot.sql(query, most=…)"),
]


@pytest.mark.parametrize(("query", "told"), QUERIES)
def test_a_refused_query_is_told_what_to_write(lake, query, told):
    with pytest.raises(InvalidInputError) as refused:
        lake.snapshot().sql(query)
    assert told in refused.value.hint
    assert "pg_" not in str(refused.value)
    assert "duckdb_" not in str(refused.value)


def test_a_refused_projection_is_told_what_to_write(lake):
    with pytest.raises(InvalidProjectionError) as refused:
        lake.build(
            el.Projection.sql(
                "q", "SELECT subject FROM paid WHERE amount > $least GROUP BY 1", key=["subject"]
            )
        )
    assert refused.value.hint.startswith("write parameters={'least': …}.")


def test_the_queries_that_hints_write_are_taken(lake):
    snapshot = lake.snapshot()
    assert snapshot.sql(
        "SELECT data ->> 'amount' AS amount FROM events LIMIT 1"
    ).polars().rows() == [("1.5",)]
    assert snapshot.sql("SELECT count(*) AS n FROM paid WHERE method = 'card'").polars().rows() == [
        (6,)
    ]
    assert snapshot.sql(
        "SELECT count(*) AS n FROM events WHERE sequence < $most", most=2
    ).polars().rows() == [(2,)]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("amount > 1", "expected where as a Polars expression, found 'amount > 1'"),
        (el.field("amount") > 1, "expected where as a Polars expression"),
        (pl.col("amont") > 1, "unknown columns ['amont']"),
    ],
)
def test_a_condition_of_a_table_is_an_expression_over_its_columns(lake, where, told):
    with pytest.raises(InvalidInputError) as refused:
        lake.snapshot().table("paid", where=where)
    assert told in refused.value.message


def test_columns_given_as_one_text_are_told_as_a_list(lake):
    with pytest.raises(
        InvalidInputError, match="expected a list of columns, found 'amount'"
    ) as refused:
        lake.snapshot().table("paid", "amount")
    assert refused.value.hint == "write ['amount']."
    with pytest.raises(InvalidInputError) as refused:
        lake.snapshot().table("paid", ["amont"])
    assert refused.value.hint.startswith("did you mean 'amount'?")


def test_numbers_as_names_of_pandas_columns_are_refused(lake):
    with pytest.raises(InvalidInputError, match="expected the names of columns as text, found 0"):
        lake.build(
            el.FeatureSet("x", features=[el.count("paid")]),
            spine=pd.DataFrame({0: ["/loan/1"], 1: [1]}),
        )


@pytest.mark.parametrize(
    "schema", [{"subject": str}, pl.Schema({"subject": pl.String}), "schema.py"]
)
def test_a_projections_schema_that_is_none_of_pandera_is_refused_with_one(schema):
    with pytest.raises(InvalidProjectionError) as refused:
        el.Projection.sql(
            "q", "SELECT subject FROM events GROUP BY 1", key=["subject"], schema=schema
        )
    assert "pandera.polars.DataFrameSchema(" in refused.value.hint
