"""Names and operations that people try, since other libraries have them or since they belong to another object, and what to write."""

from collections.abc import Iterable
from difflib import get_close_matches

_APPEND = "append events with lake.append(events)"
_ALL = "snapshot.scan().collect() is a Polars frame of all events; .to_pandas() and .to_arrow() follow it"
_ROWS = "dataset.polars(), dataset.pandas() and dataset.arrow() have the rows"
_FOR = "for event in snapshot.scan().collect().iter_rows(named=True)"
_RESULT = "a result has .polars(), .pandas() and .arrow()"
_FINAL = "events are never changed or deleted: append a correction, an event with corrects='ID' (and correction='retract')"
_ANY_OF = "write el.field('method').is_in(['card', 'cash'])"
_COMPARED = "fields are compared with ==, !=, <, <=, > and >=, and by .is_in([…]) and .is_null(); join conditions with &, | and ~"
_OF_FRAMES = [
    *(
        "rows",
        "shape",
        "columns",
        "head",
        "tail",
        "schema",
        "height",
        "data",
        "features",
        "select",
        "filter",
        "with_columns",
        "query",
    ),
    *(
        "to_parquet",
        "to_csv",
        "write_parquet",
        "write_csv",
        "save",
        "export",
        "describe",
        "info",
        "iterrows",
        "iter_rows",
        "merge",
    ),
    *(
        "join",
        "sort",
        "sort_values",
        "loc",
        "iloc",
        "values",
        "dtypes",
        "sample",
        "sql",
        "group_by",
        "groupby",
        "fillna",
        "drop",
        "dropna",
    ),
    *("to_numpy", "index"),
]

_PREFIXES = {"eventlake": "el.", "eventlake.features.spines.spine": "el.spine."}
_NAMES: dict[str, dict[str, str]] = {
    "eventlake": {
        **dict.fromkeys(
            ["connect", "load", "load_lake", "open_lake", "lake_at", "read"],
            "el.open('my-lake') opens a lake",
        ),
        **dict.fromkeys(
            ["new", "init", "create_lake", "make"],
            "el.create('my-lake', origin='bank.example/loans') makes a lake",
        ),
        **dict.fromkeys(
            [
                "read_csv",
                "read_parquet",
                "read_json",
                "import_csv",
                "import_table",
                "import_data",
                "from_csv",
                "load_csv",
            ],
            "el.import_file(lake, 'loans.csv', 'loans.toml') appends the rows of a table; lake.append('events.ndjson') appends events",
        ),
        **dict.fromkeys(
            ["sql", "table", "scan"],
            "a history is read by lake.snapshot().sql(…), .table(…) and .scan()",
        ),
        **dict.fromkeys(
            ["append", "register", "build", "snapshot", "reproduce", "verify"],
            "it is a method of the lake: el.open('my-lake')",
        ),
        **dict.fromkeys(["col", "column"], "write el.field('amount')"),
        **dict.fromkeys(
            ["Event", "Record"],
            "an event is a dict: {'id': '1', 'source': 'till', 'type': 'sale', 'data': {…}}",
        ),
        **dict.fromkeys(
            ["FeatureView", "FeatureStore", "FeatureGroup", "FeatureService"],
            "write el.FeatureSet('risk', features=[el.count('sale')])",
        ),
        **dict.fromkeys(
            ["Entity"],
            "a feature set names its entity: el.FeatureSet('risk', by='subject', features=[…])",
        ),
        **dict.fromkeys(
            ["lit", "when", "expr"],
            "features are declared from events; write other expressions in el.Projection.sql(…)",
        ),
        **dict.fromkeys(
            ["window", "rolling"], "a window belongs to a feature: el.count('sale', window='30d')"
        ),
        **dict.fromkeys(
            ["DataFrame", "Series"],
            "frames are those of Polars, pandas and Arrow: import polars as pl",
        ),
        **dict.fromkeys(
            ["model", "ref", "source", "config"],
            "a dataset definition is a folder: el.read_definition('datasets/risk')",
        ),
        **dict.fromkeys(
            ["Spine", "EventSpine"], "write el.spine.on('loan.granted'), or give a frame as spine="
        ),
        **dict.fromkeys(["version", "VERSION"], "write importlib.metadata.version('eventlake')"),
        **dict.fromkeys(
            ["Label", "label"],
            "labels belong to a spine: el.spine.on('loan.granted').label('late', el.exists('payment.missed'), horizon='90d')",
        ),
    },
    "Lake": {
        **dict.fromkeys(
            ["scan", "table", "sql", "types", "lifetimes"],
            "a history is read from a snapshot: lake.snapshot()",
        ),
        **dict.fromkeys(["query", "execute"], "write lake.snapshot().sql('SELECT … FROM events')"),
        **dict.fromkeys(
            [
                "events",
                "polars",
                "pandas",
                "arrow",
                "collect",
                "to_pandas",
                "to_polars",
                "df",
                "read",
            ],
            f"lake.{_ALL}".replace("lake.snapshot", "lake.snapshot()"),
        ),
        **dict.fromkeys(
            [
                "add",
                "insert",
                "write",
                "put",
                "publish",
                "ingest",
                "push",
                "emit",
                "extend",
                "add_events",
                "append_events",
            ],
            _APPEND,
        ),
        **dict.fromkeys(
            ["delete", "update", "remove", "drop", "correct", "retract", "upsert"], _FINAL
        ),
        **dict.fromkeys(
            ["close", "commit", "flush", "save", "sync"],
            "a lake holds nothing open, and an append that returned is durable",
        ),
        **dict.fromkeys(
            ["import_file", "import_csv", "import_table", "read_csv", "load"],
            "write el.import_file(lake, 'loans.csv', 'loans.toml')",
        ),
        "check_leakage": "write el.check_leakage(dataset)",
        **dict.fromkeys(
            ["length", "size", "count", "num_events"], "lake.watermark is the number of events"
        ),
        **dict.fromkeys(["history", "commits"], "lake.log() lists the commits"),
        **dict.fromkeys(["path", "location", "url"], "write lake.uri"),
        **dict.fromkeys(
            ["register_schema", "add_schema"], "write lake.register('payment.received', schema)"
        ),
        "root": "write lake.checkpoint.root",
        **dict.fromkeys(["name", "id"], "write lake.origin"),
        **dict.fromkeys(
            ["pristine", "populated", "on_event", "at_watermark"],
            "write lake.append(events, expect=[el.pristine('/loan/1')])",
        ),
        **dict.fromkeys(
            ["event", "get", "exists", "get_event"],
            "lake.snapshot().event(3) is the event at a sequence",
        ),
        **dict.fromkeys(
            ["subscribe", "stream", "listen", "watch"], "write for event in lake.follow()"
        ),
        **dict.fromkeys(
            ["as_of", "time_travel", "at", "rollback", "restore", "checkout", "revert"],
            "nothing is undone; lake.snapshot(at=3) reads an earlier history",
        ),
        **dict.fromkeys(
            ["vacuum", "clean", "cleanup"],
            "lake.gc() lists the files that nobody needs, lake.gc(dry_run=False) deletes them",
        ),
        **dict.fromkeys(["optimize", "merge", "repack"], "write lake.compact()"),
        **dict.fromkeys(
            ["get_historical_features", "materialize", "apply", "get_features"],
            "write lake.build(el.FeatureSet(…), spine=frame)",
        ),
        **dict.fromkeys(
            ["get_online_features", "train", "fit", "predict"],
            "a lake has training sets; write x, y = lake.dataset('risk').xy('late')",
        ),
        **dict.fromkeys(
            ["transaction", "begin", "branch"],
            "lake.append(events) takes a batch whole or not at all",
        ),
        **dict.fromkeys(
            ["tables", "list", "describe", "info"],
            "lake.schemas() has the event types, lake.datasets() the datasets",
        ),
        "tail": f"lake.{_ALL}".replace("lake.snapshot", "lake.snapshot()"),
        "drop_table": _FINAL,
        **dict.fromkeys(["get_dataset", "load_dataset"], "write lake.dataset('risk')"),
        "head": "lake.checkpoint names the newest state, lake.log() lists the commits",
        "features": "write lake.build(el.FeatureSet('risk', features=[…]), spine=…)",
    },
    "Snapshot": {
        **dict.fromkeys(
            [
                "polars",
                "pandas",
                "arrow",
                "to_pandas",
                "to_polars",
                "to_arrow",
                "df",
                "events",
                "head",
                "rows",
            ],
            _ALL,
        ),
        "build": "write lake.build(projection, at=snapshot.checkpoint)",
        **dict.fromkeys(["append", "add", "insert"], f"a snapshot never changes: {_APPEND}"),
        **dict.fromkeys(
            ["query", "execute", "duckdb"], "write snapshot.sql('SELECT … FROM events')"
        ),
        **dict.fromkeys(
            ["schema", "schemas", "columns"],
            "lake.schemas() has the schemas, snapshot.types() the event types",
        ),
        **dict.fromkeys(
            ["length", "size", "count", "height", "num_events"],
            "snapshot.watermark is the number of events",
        ),
    },
    "SqlResult": {
        **dict.fromkeys(["df", "to_pandas", "fetchdf", "fetch_df", "to_df"], "write .pandas()"),
        **dict.fromkeys(["pl", "to_polars", "collect"], "write .polars()"),
        **dict.fromkeys(["fetchall", "fetchone", "fetchmany", "rows"], "write .polars().rows()"),
        **dict.fromkeys(
            ["to_arrow", "to_arrow_table", "fetch_arrow_table", "arrow_table"], "write .arrow()"
        ),
        **dict.fromkeys(
            [
                "show",
                "head",
                "columns",
                "shape",
                "schema",
                "height",
                "describe",
                "fetchnumpy",
                "create_view",
            ],
            _RESULT,
        ),
    },
    "Dataset": {
        **dict.fromkeys(["to_pandas", "df", "to_df"], "write dataset.pandas()"),
        **dict.fromkeys(["to_polars", "pl", "collect", "lazy", "scan"], "write dataset.polars()"),
        **dict.fromkeys(["to_arrow", "table"], "write dataset.arrow()"),
        **dict.fromkeys(_OF_FRAMES, _ROWS),
        "version": "dataset.manifest_hash names it; lake.datasets() lists the others",
        "lock": "a definition folder is locked by 'eventlake build FOLDER'",
        "hash": "dataset.manifest_hash says what went in and what came out; dataset.content_hash is that of the rows",
        "diff": "write lake.diff(a.manifest_hash, b.manifest_hash)",
        "reproduce": "write lake.reproduce(dataset.manifest_hash)",
        "tag": "write lake.tag(dataset.manifest_hash, 'production')",
        **dict.fromkeys(
            ["train_test_split", "train", "test"], "write dataset.split(by='time', test=0.2)"
        ),
        **dict.fromkeys(
            ["y", "target", "label"],
            "write x, y = dataset.xy('late'); dataset.labels() names the labels",
        ),
        "check_leakage": "write el.check_leakage(dataset)",
    },
    "Split": dict.fromkeys(
        ["xy", "x", "y", "x_train", "X_train"],
        "split.train and split.test are Polars frames of the dataset's rows",
    ),
    "FeatureSet": {
        "build": "write lake.build(features, spine=…)",
        **dict.fromkeys(
            ["compute", "fit", "transform", "to_df", "get_historical_features"],
            "write lake.build(features, spine=…)",
        ),
        **dict.fromkeys(
            ["add", "append", "add_feature"],
            "name every feature when it is made: el.FeatureSet('risk', features=[…])",
        ),
    },
    "FieldReference": {
        **dict.fromkeys(["isin", "any_of", "one_of", "in_"], _ANY_OF),
        **dict.fromkeys(
            ["between", "is_between"], "write (el.field('amount') >= 1) & (el.field('amount') <= 2)"
        ),
        **dict.fromkeys(
            ["contains", "startswith", "endswith", "like", "str", "match", "regex"], _COMPARED
        ),
        **dict.fromkeys(["isnull", "isna", "is_none"], "write el.field('amount').is_null()"),
        **dict.fromkeys(
            ["is_not_null", "notnull", "notna", "isnotnull"], "write ~el.field('amount').is_null()"
        ),
        **dict.fromkeys(
            [
                "fill_null",
                "fillna",
                "cast",
                "astype",
                "alias",
                "abs",
                "round",
                "dt",
                "list",
                "struct",
            ],
            _COMPARED,
        ),
        **dict.fromkeys(
            ["sum", "mean", "min", "max", "count", "first", "last", "std"],
            "write el.sum('payment.received', 'amount'), likewise others",
        ),
    },
    "EventSpine": {
        **dict.fromkeys(
            ["polars", "pandas", "arrow", "to_pandas", "collect", "head", "columns", "df"],
            "a build makes its rows: lake.build(features, spine=spine).polars()",
        ),
        **dict.fromkeys(
            ["filter", "where"], "write el.spine.on('loan.granted', where=el.field('amount') > 100)"
        ),
    },
    "Receipt": {
        **dict.fromkeys(
            ["ids", "id", "sequences", "sequence", "offset"],
            "its events have the sequences range(receipt.start, receipt.stop)",
        ),
        "watermark": "write receipt.stop",
    },
    "Feature": {
        **dict.fromkeys(["alias", "rename", "label", "as_"], "write .name('late_payments')"),
        **dict.fromkeys(
            ["over", "group_by"],
            "the entity is the feature set's: el.FeatureSet('risk', by='subject', features=[…])",
        ),
        **dict.fromkeys(
            ["filter", "where"], "write where=el.field('amount') > 100 inside of the feature"
        ),
        **dict.fromkeys(
            ["window", "rolling", "last", "offset"],
            "a window is an argument: el.count('sale', window='30d')",
        ),
        **dict.fromkeys(
            ["mean", "sum", "min", "max", "std"], "write el.mean('sale', 'price', window='30d')"
        ),
        **dict.fromkeys(
            ["fill_null", "fillna", "cast", "astype", "round", "abs", "log"],
            "change the values that were built: dataset.polars().with_columns(pl.col('sale_count').cast(pl.Float64))",
        ),
    },
    "eventlake.features.spines.spine": {
        **dict.fromkeys(
            ["month_end", "monthly", "months", "end_of_month"],
            "write el.spine.month_ends('payment.received')",
        ),
        **dict.fromkeys(
            ["daily", "weekly", "every", "days", "from_frame"],
            "a spine of other instants is a frame with the columns subject and cutoff: spine=pl.DataFrame({…})",
        ),
        **dict.fromkeys(
            ["read_csv", "read_parquet", "file", "load", "csv"], "write el.spine.read('labels.csv')"
        ),
    },
}

_SYMBOLS = {
    "__add__": "+", "__radd__": "+", "__sub__": "-", "__rsub__": "-", "__mul__": "*", "__rmul__": "*", "__truediv__": "/",
    "__rtruediv__": "/", "__floordiv__": "//", "__rfloordiv__": "//", "__mod__": "%", "__rmod__": "%", "__pow__": "**", "__rpow__": "**",
    "__and__": "&", "__rand__": "&", "__or__": "|", "__ror__": "|", "__xor__": "^", "__lshift__": "<<", "__rshift__": ">>",
    "__matmul__": "@", "__neg__": "-", "__pos__": "+", "__invert__": "~", "__abs__": "abs()", "__round__": "round()",
    "__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">=",
    "__int__": "int()", "__float__": "float()",
}  # fmt: skip
_REFUSED = {
    **{method: f"takes no {symbol}" for method, symbol in _SYMBOLS.items()},
    "__len__": "has no length",
    "__getitem__": "has nothing in []",
    "__setitem__": "takes nothing in []",
    "__delitem__": "has nothing in []",
    "__iter__": "cannot be iterated over",
    "__next__": "cannot be iterated over",
    "__contains__": "cannot be searched by in",
    "__reversed__": "cannot be iterated over",
    "__bool__": "is neither true nor false",
    "__call__": "is no function",
}
"""Methods of operations, and what an object without them is told."""
_ONLY_TOLD = frozenset({"__bool__", "__call__", "__next__"})
"""Those that only classes lack that are told what to write: every other object is true, and asked whether it can be called."""
_TAKES = "features take +, -, * and / with numbers and features"
_AFTER = "a feature is compared when it is built: dataset.polars().filter(pl.col('sale_count') > 3); events are, in where=el.field('price') > 3"
_VALUES = "a field is compared with a value: el.field('amount') > 100; what is computed of fields belongs into el.Projection.sql(…)"
_JOINED = "write (el.field('a') == 1) & (el.field('b') == 2), | for or, ~ for not; a field of booleans is el.field('a') == True"
_OPERATIONS: dict[str, dict[str, str]] = {
    "Lake": {
        "__len__": "lake.watermark is the number of events",
        "__getitem__": "lake.dataset('risk') opens a dataset, lake.snapshot().table('sale') has the events of a type",
        "__iter__": f"write {_FOR}, of snapshot = lake.snapshot()",
        **dict.fromkeys(["__add__", "__lshift__", "__setitem__"], _APPEND),
        "__delitem__": _FINAL,
    },
    "Snapshot": {
        "__len__": "snapshot.watermark is the number of events",
        "__getitem__": "snapshot.table('sale') has the events of a type, snapshot.event(3) one event",
        "__iter__": f"write {_FOR}",
    },
    "SqlResult": {
        "__len__": "write result.polars().height",
        "__getitem__": "write result.polars()['amount']",
        "__iter__": "write for row in result.polars().iter_rows(named=True); .pandas() and .arrow() have the rows, too",
    },
    "Dataset": {
        "__len__": "write dataset.polars().height",
        "__getitem__": "write dataset.polars()['amount']",
        "__setitem__": "a dataset never changes; write dataset.polars().with_columns(…)",
        "__iter__": "write for row in dataset.polars().iter_rows(named=True); .pandas() and .arrow() have the rows, too",
    },
    "Split": {
        "__getitem__": "write split.train and split.test",
        "__len__": "write split.train.height",
    },
    "FeatureSet": {
        "__len__": "write len(features.features)",
        "__getitem__": "features.features are the features, features.columns their names",
        "__iter__": "features.features are the features, features.columns their names",
        "__add__": "write el.FeatureSet('both', features=[*a.features, *b.features])",
        "__call__": "write lake.build(features, spine=…)",
    },
    "Projection": {"__call__": "write lake.build(projection).polars()"},
    "Feature": {
        **dict.fromkeys(_SYMBOLS, _TAKES),
        "__neg__": "write -1 * feature",
        **dict.fromkeys(
            ["__lt__", "__le__", "__gt__", "__ge__", "__bool__", "__and__", "__or__", "__invert__"],
            _AFTER,
        ),
        "__getitem__": "what is inside of a field is named by its path: el.last('sale', 'customer.id')",
        "__iter__": "one feature stands in a list: features=[el.count('sale')]",
    },
    "FieldReference": {
        **dict.fromkeys(_SYMBOLS, _VALUES),
        **dict.fromkeys(
            ["__and__", "__rand__", "__or__", "__ror__", "__invert__", "__bool__"], _JOINED
        ),
        "__getitem__": "what is inside of a field is named by its path: el.field('customer.id')",
        "__iter__": "write el.field('method').is_in(['card', 'cash'])",
    },
    "Condition": dict.fromkeys(_SYMBOLS, _JOINED),
    "EventSpine": {
        **dict.fromkeys(
            ["__len__", "__getitem__", "__iter__"],
            "a build makes its rows: lake.build(features, spine=spine).polars()",
        ),
        "__add__": "a spine is of one event type; give several as a frame with the columns subject and cutoff",
    },
    "Report": {
        "__bool__": "write report.ok",
        **dict.fromkeys(
            ["__len__", "__iter__", "__getitem__"], "report.problems has what is wrong"
        ),
    },
    "Import": {
        "__bool__": "write done.ok",
        **dict.fromkeys(["__len__", "__iter__", "__getitem__"], "done.problems has what is wrong"),
    },
    "DatasetDiff": {
        "__bool__": "write diff.identical",
        "__len__": "diff.card() shows what differs",
    },
    "Reproduction": {
        "__bool__": "write made.identical",
        "__getitem__": "made.dataset has the rows: made.dataset.polars()",
    },
    "LeakageReport": {"__bool__": "write report.ok"},
    "Garbage": dict.fromkeys(
        ["__bool__", "__len__", "__iter__", "__getitem__"], "garbage.files are the files"
    ),
    "Explanation": dict.fromkeys(
        ["__len__", "__iter__", "__getitem__"], "explanation.events is a Polars frame of the events"
    ),
    "Receipt": {
        **dict.fromkeys(
            ["__len__", "__int__"],
            "receipt.count is the number of events appended, receipt.stop the new watermark",
        ),
        **dict.fromkeys(
            ["__iter__", "__getitem__"],
            "its events have the sequences range(receipt.start, receipt.stop)",
        ),
    },
}


def refused_operations(kind: type) -> list[str]:
    """The methods of the operations that objects of this class do not have."""
    told = _told(_OPERATIONS, kind)
    own = {method for one in kind.__mro__[:-1] for method in vars(one)}
    return [one for one in _REFUSED if one not in own and (one not in _ONLY_TOLD or one in told)]


def no_operation(kind: type, method: str) -> tuple[str, str | None]:
    """What to say of an operation that objects of this class do not have, and the hint."""
    told = _told(_OPERATIONS, kind)
    advice = told.get(method) or (told.get("__iter__") if method == "__contains__" else None)
    return f"{kind.__name__!r} object {_REFUSED[method]}", f"{advice}." if advice else None


def _told(tables: dict[str, dict[str, str]], kind: type) -> dict[str, str]:
    return {key: text for one in kind.__mro__ for key, text in tables.get(one.__name__, {}).items()}


def no_attribute(kind: type, name: str) -> str:
    """What to say of an attribute that an object of this class does not have."""
    return f"{kind.__name__!r} object has no attribute {name!r}" + _advice(
        name, _told(_NAMES, kind), dir(kind)
    )


def no_name(module: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that a module does not have."""
    return f"module {module!r} has no attribute {name!r}" + _advice(
        name, _NAMES.get(module, {}), known, _PREFIXES[module]
    )


def _advice(name: str, table: dict[str, str], known: Iterable[str], prefix: str = "") -> str:
    if name.startswith("_"):
        return ""
    if name in table:
        return f": {table[name]}"
    public = {one.replace("_", "").casefold(): one for one in known if not one.startswith("_")}
    near = get_close_matches(name.replace("_", "").casefold(), public, 1, cutoff=0.7)
    return f": did you mean {prefix}{public[near[0]]}?" if near else ""
