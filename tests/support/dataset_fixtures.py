"""A small lake, projections over it, and notebook cells, for the tests of datasets."""

import linecache
import types
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import eventlake as el
from eventlake.storage import MemoryStorage

ORIGIN = "tests.eventlake/loans"
START = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("loan.granted", "payment.received", "payment.missed", "payment.received")
PAYMENT = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "multipleOf": 0.01},
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
"""A schema with an exact number, a double, and a list."""
_cells = count()


def event(number, **attributes):
    """One dated event: loan ``number % 4``, an hour after the one before, amounts as text."""
    given = {
        "id": f"e{number}",
        "source": "core",
        "type": KINDS[number % 4],
        "subject": f"/loan/{number * 7 % 5}",
        "time": START + timedelta(hours=number),
        "data": f'{{"amount":"{number * 137 % 1000}.{number % 100:02d}","n":{number}}}',
    }
    return {name: value for name, value in (given | attributes).items() if value is not None}


def events(count_=12, first=0, *, recorded=False):
    """Events; with ``recorded`` as a copied history whose ``recorded_at`` is a minute after ``time``."""
    numbers = range(first, first + count_)
    return [
        event(n, recorded_at=START + timedelta(hours=n, minutes=1) if recorded else None)
        for n in numbers
    ]


def make_lake(where, batches=((0, 5), (5, 7)), *, recorded=False):
    """A lake with one commit per ``(first, count)``."""
    lake = el.create(where, origin=ORIGIN)
    for first, number in batches:
        lake.append(events(number, first, recorded=recorded))
    return lake


def sql(query, key=("k",), name="made", **options):
    return el.Projection.sql(name, query, key=list(key), **options)


TOTALS_SQL = """
SELECT subject AS k, count(*) AS events, sum(json_extract_string(data, '$.amount')::DECIMAL(18, 2)) AS amount, max(time) AS last
FROM events GROUP BY subject ORDER BY amount DESC
"""
TOTALS = sql(TOTALS_SQL, name="totals")


def cell(source, **variables):
    """Runs ``source`` as a notebook does: in ``__main__``, from no file, its text known to ``linecache`` alone. Returns the globals."""
    name = f"<ipython-input-{next(_cells)}-dataset-test>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    module = types.ModuleType("__main__")
    module.__dict__.update(variables)
    exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 - the cell is ours
    return module.__dict__


def module(folder, name, source):
    """Writes and imports ``name.py`` as a user's own module, without leaving it in ``sys.modules``. Returns its globals."""
    file = Path(folder, f"{name}.py")
    file.write_text(source, encoding="utf-8")
    made = types.ModuleType(name)
    made.__file__ = str(file)
    exec(compile(source, str(file), "exec"), made.__dict__)  # noqa: S102 - the module is ours
    return made.__dict__


POLARS_TOTALS = """
import polars as pl
import eventlake as el


@el.projection(name="totals", key=["k"])
def totals(snapshot):
    amount = pl.col("data").str.json_path_match("$.amount").cast(pl.Decimal(18, 2))
    return (
        snapshot.scan()
        .group_by(pl.col("subject").alias("k"), maintain_order=True)
        .agg(pl.len().alias("events"), amount.sum().alias("amount"), pl.col("time").max().alias("last"))
    )
"""


def definition(folder, toml, **files):
    """A definition's folder; file names are given with ``__`` for the dot."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.toml").write_text(toml, encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def attempt(dataset):
    """The folder of the only attempt to build a dataset."""
    (only,) = (folder for folder in Path(dataset.path).iterdir() if folder.is_dir())
    return only


class Hooked:
    """A storage that calls ``before(path, data)`` and ``after(path, data)`` around every ``create``; either may raise."""

    def __init__(self, inner=None, before=None, after=None):
        self.inner = MemoryStorage() if inner is None else inner
        self.before = before
        self.after = after

    def create(self, path, data):
        if self.before:
            self.before(path, data)
        self.inner.create(path, data)
        if self.after:
            self.after(path, data)

    def __getattr__(self, name):
        return getattr(self.inner, name)
