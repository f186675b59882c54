"""Operators that people try on objects that do not have them, and what to write instead.

Operations are named by their special methods without underscores. The keys of ``OPERATIONS`` are
one or more of them, separated by blanks.
"""

SYMBOLS = {
    "add": "+", "radd": "+", "sub": "-", "rsub": "-", "mul": "*", "rmul": "*",
    "truediv": "/", "rtruediv": "/", "floordiv": "//", "rfloordiv": "//",
    "mod": "%", "rmod": "%", "pow": "**", "rpow": "**",
    "and": "&", "rand": "&", "or": "|", "ror": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
    "matmul": "@", "neg": "-", "pos": "+", "invert": "~", "abs": "abs()", "round": "round()",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "int": "int()", "float": "float()",
}  # fmt: skip
REFUSALS = {
    **{name: f"takes no {symbol}" for name, symbol in SYMBOLS.items()},
    "len": "has no length",
    "getitem": "has nothing in []",
    "setitem": "takes nothing in []",
    "delitem": "has nothing in []",
    "iter": "cannot be iterated over",
    "next": "cannot be iterated over",
    "contains": "cannot be searched by in",
    "reversed": "cannot be iterated over",
    "bool": "is neither true nor false",
    "call": "is no function",
}
"""What the message says of an object without the operation."""
# First in a table, so that later entries replace it for some operators.
_ANY_SYMBOL = " ".join(SYMBOLS)
OPERATIONS = {
    "Lake": {
        "len": "lake.watermark is the number of events",
        "getitem": (
            "lake.dataset('risk') opens a dataset, lake.snapshot().table('sale') has the events of "
            "a type"
        ),
        "iter": (
            "write for event in snapshot.scan().collect().iter_rows(named=True), of snapshot = "
            "lake.snapshot()"
        ),
        "add lshift setitem": "append events with lake.append(events)",
        "delitem": (
            "events are never changed or deleted: append a correction, an event with corrects='ID' "
            "(and correction='retract')"
        ),
    },
    "Snapshot": {
        "len": "snapshot.watermark is the number of events",
        "getitem": "snapshot.table('sale') has the events of a type, snapshot.event(3) one event",
        "iter": "write for event in snapshot.scan().collect().iter_rows(named=True)",
    },
    "SqlResult": {
        "len": "write result.polars().height",
        "getitem": "write result.polars()['amount']",
        "iter": (
            "write for row in result.polars().iter_rows(named=True); .pandas() and .arrow() have "
            "the rows, too"
        ),
    },
    "Dataset": {
        "len": "write dataset.polars().height",
        "getitem": "write dataset.polars()['amount']",
        "setitem": "a dataset never changes; write dataset.polars().with_columns(…)",
        "iter": (
            "write for row in dataset.polars().iter_rows(named=True); .pandas() and .arrow() have "
            "the rows, too"
        ),
    },
    "Split": {
        "getitem": "write split.train and split.test",
        "len": "write split.train.height",
    },
    "FeatureSet": {
        "len": "write len(features.features)",
        "getitem iter": "features.features are the features, features.columns their names",
        "add": "write el.FeatureSet('both', features=[*a.features, *b.features])",
        "call": "write lake.build(features, spine=…)",
    },
    "Projection": {
        "call": "write lake.build(projection).polars()",
    },
    "Feature": {
        _ANY_SYMBOL: "features take +, -, * and / with numbers and features",
        "and or invert lt le gt ge bool": (
            "a feature is compared when it is built: dataset.polars().filter(pl.col('sale_count') "
            "> 3); events are, in where=el.field('price') > 3"
        ),
        "neg": "write -1 * feature",
        "getitem": "what is inside of a field is named by its path: el.last('sale', 'customer.id')",
        "iter": "put a single feature into a list: features=[el.count('sale')]",
    },
    "FieldReference": {
        _ANY_SYMBOL: (
            "a field is compared with a value: el.field('amount') > 100; what is computed of "
            "fields belongs into el.Projection.sql(…)"
        ),
        "and rand or ror invert bool": (
            "write (el.field('a') == 1) & (el.field('b') == 2), | for or, ~ for not; a field of "
            "booleans is el.field('a') == True"
        ),
        "getitem": "what is inside of a field is named by its path: el.field('customer.id')",
        "iter": "write el.field('method').is_in(['card', 'cash'])",
    },
    "Condition": {
        _ANY_SYMBOL: (
            "write (el.field('a') == 1) & (el.field('b') == 2), | for or, ~ for not; a field of "
            "booleans is el.field('a') == True"
        ),
    },
    "EventSpine": {
        "len getitem iter": "a build makes its rows: lake.build(features, spine=spine).polars()",
        "add": (
            "a spine is of one event type; give several as a frame with the columns subject and "
            "cutoff"
        ),
    },
    "Report": {
        "bool": "write report.ok",
        "len iter getitem": "report.problems has what is wrong",
    },
    "Import": {
        "bool": "write done.ok",
        "len iter getitem": "done.problems has what is wrong",
    },
    "DatasetDiff": {
        "bool": "write diff.identical",
        "len": "diff.card() shows what differs",
    },
    "Reproduction": {
        "bool": "write made.identical",
        "getitem": "made.dataset has the rows: made.dataset.polars()",
    },
    "LeakageReport": {
        "bool": "write report.ok",
    },
    "Garbage": {
        "bool len iter getitem": "garbage.files are the files",
    },
    "Explanation": {
        "len iter getitem": "explanation.events is a Polars frame of the events",
    },
    "Receipt": {
        "len int": "receipt.count is the number of events appended, receipt.stop the new watermark",
        "iter getitem": "its events have the sequences range(receipt.start, receipt.stop)",
    },
}
