"""Attributes that people try because other objects have them, and what to write instead.

Each table belongs to a class or a module. Its keys are one or more names, separated by blanks.
"""

# Mostly names that pandas, Polars, DuckDB, Delta Lake and Feast have for the same thing.
NAMES = {
    "eventlake": {
        "connect load load_lake open_lake lake_at read": "el.open('my-lake') opens a lake",
        "new init create_lake make": (
            "el.create('my-lake', origin='bank.example/loans') makes a lake"
        ),
        "read_csv read_parquet read_json import_csv import_table import_data from_csv load_csv": (
            "el.import_file(lake, 'loans.csv', 'loans.toml') appends the rows of a table; "
            "lake.append('events.ndjson') appends events"
        ),
        "sql table scan": "a history is read by lake.snapshot().sql(…), .table(…) and .scan()",
        "append register build snapshot reproduce verify": (
            "it is a method of the lake: el.open('my-lake')"
        ),
        "col column": "write el.field('amount')",
        "Event Record": (
            "an event is a dict: {'id': '1', 'source': 'till', 'type': 'sale', 'data': {…}}"
        ),
        "FeatureView FeatureStore FeatureGroup FeatureService": (
            "write el.FeatureSet('risk', features=[el.count('sale')])"
        ),
        "Entity": (
            "a feature set names its entity: el.FeatureSet('risk', by='subject', features=[…])"
        ),
        "lit when expr": (
            "features are declared from events; write other expressions in el.Projection.sql(…)"
        ),
        "window rolling": "a window belongs to a feature: el.count('sale', window='30d')",
        "DataFrame Series": "frames are those of Polars, pandas and Arrow: import polars as pl",
        "model ref source config": (
            "a dataset definition is a folder: el.read_definition('datasets/risk')"
        ),
        "Spine EventSpine": "write el.spine.on('loan.granted'), or give a frame as spine=",
        "version VERSION": "write importlib.metadata.version('eventlake')",
        "Label label": (
            "labels belong to a spine: el.spine.on('loan.granted').label('late', "
            "el.exists('payment.missed'), horizon='90d')"
        ),
    },
    "Lake": {
        "scan table sql types lifetimes": "a history is read from a snapshot: lake.snapshot()",
        "query execute": "write lake.snapshot().sql('SELECT … FROM events')",
        "events polars pandas arrow collect to_pandas to_polars df read tail": (
            "lake.snapshot().scan().collect() is a Polars frame of all events; .to_pandas() and "
            ".to_arrow() follow it"
        ),
        "add insert write put publish ingest push emit extend add_events append_events": (
            "append events with lake.append(events)"
        ),
        "delete update remove drop correct retract upsert drop_table": (
            "events are never changed or deleted: append a correction, an event with corrects='ID' "
            "(and correction='retract')"
        ),
        "close commit flush save sync": (
            "a lake holds nothing open, and a returned append is durable"
        ),
        "import_file import_csv import_table read_csv load": (
            "write el.import_file(lake, 'loans.csv', 'loans.toml')"
        ),
        "check_leakage": "write el.check_leakage(dataset)",
        "length size count num_events": "lake.watermark is the number of events",
        "history commits": "lake.log() lists the commits",
        "path location url": "write lake.uri",
        "register_schema add_schema": "write lake.register('payment.received', schema)",
        "root": "write lake.checkpoint.root",
        "name id": "write lake.origin",
        "pristine populated on_event at_watermark": (
            "write lake.append(events, expect=[el.pristine('/loan/1')])"
        ),
        "event get exists get_event": "lake.snapshot().event(3) is the event at a sequence",
        "subscribe stream listen watch": "write for event in lake.follow()",
        "as_of time_travel at rollback restore checkout revert": (
            "nothing is undone; lake.snapshot(at=3) reads an earlier history"
        ),
        "vacuum clean cleanup": (
            "lake.gc() lists unused files, lake.gc(dry_run=False) deletes them"
        ),
        "optimize merge repack": "write lake.compact()",
        "get_historical_features materialize apply get_features": (
            "write lake.build(el.FeatureSet(…), spine=frame)"
        ),
        "get_online_features train fit predict": (
            "a lake has training sets; write x, y = lake.dataset('risk').xy('late')"
        ),
        "transaction begin branch": "lake.append(events) takes a batch whole or not at all",
        "tables list describe info": (
            "lake.schemas() has the event types, lake.datasets() the datasets"
        ),
        "get_dataset load_dataset": "write lake.dataset('risk')",
        "head": "lake.checkpoint names the newest state, lake.log() lists the commits",
        "features": "write lake.build(el.FeatureSet('risk', features=[…]), spine=…)",
    },
    "Snapshot": {
        "polars pandas arrow to_pandas to_polars to_arrow df events head rows": (
            "snapshot.scan().collect() is a Polars frame of all events; .to_pandas() and "
            ".to_arrow() follow it"
        ),
        "build": "write lake.build(projection, at=snapshot.checkpoint)",
        "append add insert": "a snapshot never changes: append events with lake.append(events)",
        "query execute duckdb": "write snapshot.sql('SELECT … FROM events')",
        "schema schemas columns": (
            "lake.schemas() has the schemas, snapshot.types() the event types"
        ),
        "length size count height num_events": "snapshot.watermark is the number of events",
    },
    "SqlResult": {
        "df to_pandas fetchdf fetch_df to_df": "write .pandas()",
        "pl to_polars collect": "write .polars()",
        "fetchall fetchone fetchmany rows": "write .polars().rows()",
        "to_arrow to_arrow_table fetch_arrow_table arrow_table": "write .arrow()",
        "show head columns shape schema height describe fetchnumpy create_view": (
            "a result has .polars(), .pandas() and .arrow()"
        ),
    },
    "Dataset": {
        "to_pandas df to_df": "write dataset.pandas()",
        "to_polars pl collect lazy scan": "write dataset.polars()",
        "to_arrow table": "write dataset.arrow()",
        (
            "rows shape columns head tail schema height data features select filter with_columns "
            "query to_parquet to_csv write_parquet write_csv save export describe info iterrows "
            "iter_rows merge join sort sort_values loc iloc values dtypes sample sql group_by "
            "groupby fillna drop dropna to_numpy index"
        ): "dataset.polars(), dataset.pandas() and dataset.arrow() have the rows",
        "version": "dataset.manifest_hash names it; lake.datasets() lists the others",
        "lock": "a definition folder is locked by 'eventlake build FOLDER'",
        "hash": (
            "dataset.manifest_hash says what went in and what came out; dataset.content_hash is "
            "that of the rows"
        ),
        "diff": "write lake.diff(a.manifest_hash, b.manifest_hash)",
        "reproduce": "write lake.reproduce(dataset.manifest_hash)",
        "tag": "write lake.tag(dataset.manifest_hash, 'production')",
        "train_test_split train test": "write dataset.split(by='time', test=0.2)",
        "y target label": "write x, y = dataset.xy('late'); dataset.labels() names the labels",
        "check_leakage": "write el.check_leakage(dataset)",
    },
    "Split": {
        "xy x y x_train X_train": (
            "split.train and split.test are Polars frames of the dataset's rows"
        ),
    },
    "FeatureSet": {
        "build compute fit transform to_df get_historical_features": (
            "write lake.build(features, spine=…)"
        ),
        "add append add_feature": (
            "name every feature when it is made: el.FeatureSet('risk', features=[…])"
        ),
    },
    "FieldReference": {
        "isin any_of one_of in_": "write el.field('method').is_in(['card', 'cash'])",
        "between is_between": "write (el.field('amount') >= 1) & (el.field('amount') <= 2)",
        (
            "contains startswith endswith like str match regex fill_null fillna cast astype alias "
            "abs round dt list struct"
        ): (
            "fields are compared with ==, !=, <, <=, > and >=, and by .is_in([…]) and .is_null(); "
            "join conditions with &, | and ~"
        ),
        "isnull isna is_none": "write el.field('amount').is_null()",
        "is_not_null notnull notna isnotnull": "write ~el.field('amount').is_null()",
        "sum mean min max count first last std": (
            "write el.sum('payment.received', 'amount'), likewise others"
        ),
    },
    "EventSpine": {
        "polars pandas arrow to_pandas collect head columns df": (
            "a build makes its rows: lake.build(features, spine=spine).polars()"
        ),
        "filter where": "write el.spine.on('loan.granted', where=el.field('amount') > 100)",
    },
    "Receipt": {
        "ids id sequences sequence offset": (
            "its events have the sequences range(receipt.start, receipt.stop)"
        ),
        "watermark": "write receipt.stop",
    },
    "Feature": {
        "alias rename label as_": "write .name('late_payments')",
        "over group_by": (
            "the entity is the feature set's: el.FeatureSet('risk', by='subject', features=[…])"
        ),
        "filter where": "write where=el.field('amount') > 100 inside of the feature",
        "window rolling last offset": "a window is an argument: el.count('sale', window='30d')",
        "mean sum min max std": "write el.mean('sale', 'price', window='30d')",
        "fill_null fillna cast astype round abs log": (
            "change the values that were built: "
            "dataset.polars().with_columns(pl.col('sale_count').cast(pl.Float64))"
        ),
    },
    "eventlake.features.spines.spine": {
        "month_end monthly months end_of_month": "write el.spine.month_ends('payment.received')",
        "daily weekly every days from_frame": (
            "a spine of other instants is a frame with the columns subject and cutoff: "
            "spine=pl.DataFrame({…})"
        ),
        "read_csv read_parquet file load csv": "write el.spine.read('labels.csv')",
    },
}
