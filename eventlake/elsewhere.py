"""Names that people try, since other libraries have them or since they belong to another object, and what to write."""

from collections.abc import Iterable
from difflib import get_close_matches

_APPEND = "append events with lake.append(events)"
_ALL = "snapshot.scan().collect() is a Polars frame of all events; .to_pandas() and .to_arrow() follow it"
_ROWS = "dataset.polars(), dataset.pandas() and dataset.arrow() have the rows"
_RESULT = "a result has .polars(), .pandas() and .arrow()"
_FINAL = "events are never changed or deleted: append a correction, an event with corrects='ID' (and correction='retract')"
_ANY_OF = "write el.field('method').is_in(['card', 'cash'])"
_COMPARED = "fields are compared with ==, !=, <, <=, > and >=, and by .is_in([…]) and .is_null(); join conditions with &, | and ~"

_PREFIXES = {"eventlake": "el.", "eventlake.features.spine": "el.spine."}
_NAMES: dict[str, dict[str, str]] = {
    "eventlake": {
        **dict.fromkeys(["connect", "load", "load_lake", "open_lake", "lake_at", "read"], "el.open('my-lake') opens a lake"),
        **dict.fromkeys(["new", "init", "create_lake", "make"], "el.create('my-lake', origin='bank.example/loans') makes a lake"),
        **dict.fromkeys(
            ["read_csv", "read_parquet", "read_json", "import_csv", "import_table", "import_data", "from_csv", "load_csv"],
            "el.import_file(lake, 'loans.csv', 'loans.toml') appends the rows of a table; lake.append('events.ndjson') appends events",
        ),
        **dict.fromkeys(["sql", "table", "scan"], "a history is read by lake.snapshot().sql(…), .table(…) and .scan()"),
        **dict.fromkeys(
            ["append", "register", "build", "snapshot", "reproduce", "verify"], "it is a method of the lake: el.open('my-lake')"
        ),
        **dict.fromkeys(["col", "column"], "write el.field('amount')"),
        **dict.fromkeys(
            ["Label", "label"],
            "labels belong to a spine: el.spine.on('loan.granted').label('late', el.exists('payment.missed'), horizon='90d')",
        ),
    },
    "Lake": {
        **dict.fromkeys(["scan", "table", "sql", "types", "lifetimes"], "a history is read from a snapshot: lake.snapshot()"),
        **dict.fromkeys(["query", "execute"], "write lake.snapshot().sql('SELECT … FROM events')"),
        **dict.fromkeys(
            ["events", "polars", "pandas", "arrow", "collect", "to_pandas", "to_polars", "df", "read"],
            f"lake.{_ALL}".replace("lake.snapshot", "lake.snapshot()"),
        ),
        **dict.fromkeys(
            ["add", "insert", "write", "put", "publish", "ingest", "push", "emit", "extend", "add_events", "append_events"], _APPEND
        ),
        **dict.fromkeys(["delete", "update", "remove", "drop", "correct", "retract", "upsert"], _FINAL),
        **dict.fromkeys(["close", "commit", "flush", "save", "sync"], "a lake holds nothing open, and an append that returned is durable"),
        **dict.fromkeys(
            ["import_file", "import_csv", "import_table", "read_csv", "load"], "write el.import_file(lake, 'loans.csv', 'loans.toml')"
        ),
        "check_leakage": "write el.check_leakage(dataset)",
        **dict.fromkeys(["length", "size", "count", "num_events"], "lake.watermark is the number of events"),
        **dict.fromkeys(["history", "commits"], "lake.log() lists the commits"),
        **dict.fromkeys(["path", "location", "url"], "write lake.uri"),
        **dict.fromkeys(["register_schema", "add_schema"], "write lake.register('payment.received', schema)"),
        "root": "write lake.checkpoint.root",
        "head": "lake.checkpoint names the newest state, lake.log() lists the commits",
        "features": "write lake.build(el.FeatureSet('risk', features=[…]), spine=…)",
    },
    "Snapshot": {
        **dict.fromkeys(["polars", "pandas", "arrow", "to_pandas", "to_polars", "to_arrow", "df", "events", "head", "rows"], _ALL),
        "build": "write lake.build(projection, at=snapshot.checkpoint)",
        **dict.fromkeys(["append", "add", "insert"], f"a snapshot never changes: {_APPEND}"),
        **dict.fromkeys(["query", "execute", "duckdb"], "write snapshot.sql('SELECT … FROM events')"),
        **dict.fromkeys(["schema", "schemas", "columns"], "lake.schemas() has the schemas, snapshot.types() the event types"),
        **dict.fromkeys(["length", "size", "count", "height", "num_events"], "snapshot.watermark is the number of events"),
    },
    "SqlResult": {
        **dict.fromkeys(["df", "to_pandas", "fetchdf", "fetch_df", "to_df"], "write .pandas()"),
        **dict.fromkeys(["pl", "to_polars", "collect"], "write .polars()"),
        **dict.fromkeys(["fetchall", "fetchone", "fetchmany", "rows"], "write .polars().rows()"),
        **dict.fromkeys(["to_arrow", "to_arrow_table", "fetch_arrow_table", "arrow_table"], "write .arrow()"),
        **dict.fromkeys(["show", "head", "columns", "shape", "schema", "height"], _RESULT),
    },
    "Dataset": {
        **dict.fromkeys(["to_pandas", "df", "to_df"], "write dataset.pandas()"),
        **dict.fromkeys(["to_polars", "pl", "collect", "lazy", "scan"], "write dataset.polars()"),
        **dict.fromkeys(["to_arrow", "table"], "write dataset.arrow()"),
        **dict.fromkeys(
            ["rows", "shape", "columns", "head", "schema", "height", "data", "features", "select", "filter", "to_parquet", "to_csv"], _ROWS
        ),
        "lock": "a definition folder is locked by 'eventlake build FOLDER'",
        "hash": "dataset.manifest_hash says what went in and what came out; dataset.content_hash is that of the rows",
        "diff": "write lake.diff(a.manifest_hash, b.manifest_hash)",
        "reproduce": "write lake.reproduce(dataset.manifest_hash)",
        "tag": "write lake.tag(dataset.manifest_hash, 'production')",
        **dict.fromkeys(["train_test_split", "train", "test"], "write dataset.split(by='time', test=0.2)"),
        **dict.fromkeys(["y", "target", "label"], "write x, y = dataset.xy('late'); dataset.labels() names the labels"),
        "check_leakage": "write el.check_leakage(dataset)",
    },
    "Split": dict.fromkeys(["xy", "x", "y", "x_train", "X_train"], "split.train and split.test are Polars frames of the dataset's rows"),
    "FeatureSet": {
        "build": "write lake.build(features, spine=…)",
        **dict.fromkeys(["compute", "fit", "transform"], "write lake.build(features, spine=…)"),
    },
    "FieldReference": {
        **dict.fromkeys(["isin", "any_of", "one_of", "in_"], _ANY_OF),
        **dict.fromkeys(["between", "is_between"], "write (el.field('amount') >= 1) & (el.field('amount') <= 2)"),
        **dict.fromkeys(["contains", "startswith", "endswith", "like", "str", "match", "regex"], _COMPARED),
        **dict.fromkeys(["isnull", "isna", "is_none"], "write el.field('amount').is_null()"),
    },
    "Aggregate": {
        **dict.fromkeys(["alias", "rename", "label", "as_"], "write .name('late_payments')"),
        **dict.fromkeys(["over", "group_by"], "the entity is the feature set's: el.FeatureSet('risk', by='subject', features=[…])"),
        **dict.fromkeys(["filter", "where"], "write where=el.field('amount') > 100 inside of the feature"),
    },
    "eventlake.features.spine": {
        **dict.fromkeys(["month_end", "monthly", "months", "end_of_month"], "write el.spine.month_ends('payment.received')"),
        **dict.fromkeys(
            ["daily", "weekly", "every", "days", "from_frame"],
            "a spine of other instants is a frame with the columns subject and cutoff: spine=pl.DataFrame({…})",
        ),
        **dict.fromkeys(["read_csv", "read_parquet", "file", "load", "csv"], "write el.spine.read('labels.csv')"),
    },
}


def no_attribute(kind: type, name: str) -> str:
    """What to say of an attribute that an object of this class does not have."""
    tables = [_NAMES[one.__name__] for one in kind.__mro__ if one.__name__ in _NAMES]
    message = f"{kind.__name__!r} object has no attribute {name!r}"
    return message + _advice(name, {key: text for table in tables for key, text in table.items()}, (one for one in dir(kind)))


def no_name(module: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that a module does not have."""
    return f"module {module!r} has no attribute {name!r}" + _advice(name, _NAMES.get(module, {}), known, _PREFIXES[module])


def _advice(name: str, table: dict[str, str], known: Iterable[str], prefix: str = "") -> str:
    if name.startswith("_"):
        return ""
    if name in table:
        return f": {table[name]}"
    public = {one.replace("_", "").casefold(): one for one in known if not one.startswith("_")}
    near = get_close_matches(name.replace("_", "").casefold(), public, 1, cutoff=0.7)
    return f": did you mean {prefix}{public[near[0]]}?" if near else ""
