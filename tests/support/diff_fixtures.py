"""Datasets of given rows, for the tests of diff."""

from functools import partial

from eventlake.columns.hashing.content import content_hash, schema_of
from eventlake.columns.parquet.frames import encode_parts
from eventlake.core.documents.dataset import DatasetManifest, Recipe
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.merkle import EMPTY_ROOT
from eventlake.datasets.comparing.diff import diff
from eventlake.datasets.store.publish import publish
from eventlake.projections.computation import Computation
from eventlake.projections.rows import finish
from eventlake.storage import MemoryStorage
from tests.support.dataset_fixtures import ORIGIN, sql

PROVENANCE = {
    "built_at": 0,
    "commit_hash": None,
    "environment": {
        "machine": "x86_64",
        "polars_threads": 1,
        "python": "3.11.7",
        "system": "Linux",
    },
    "format": 1,
    "milliseconds": 0,
    "versions": {"duckdb": "2.0.0"},
}
COUNTS = ("before", "after", "added", "removed", "changed", "unchanged")


def stored(rows, key=("k",), storage=None, encode_parts=encode_parts, **recipe):
    """A published dataset of these rows, in the order that builds store them in."""
    storage = MemoryStorage() if storage is None else storage
    table = finish(Computation(sql("SELECT 1", key, "made"), None), rows)
    fields = {
        "name": "made",
        "checkpoint": Checkpoint(ORIGIN, 0, EMPTY_ROOT.hex()),
        "clock_hash": None,
        "kind": "sql",
        "entry": "query.sql",
        "sources": {"query.sql": sha256_hex(b"SELECT 1")},
        "parameters": {},
        "spine": None,
        "engine": "duckdb",
        "engine_version": "2.0.0",
        "settings": {},
        "level": "exact",
        "key": tuple(key),
        "declared_schema": None,
    }
    schema = tuple((name, kind) for name, kind in schema_of(table))
    manifest = DatasetManifest(
        Recipe(**(fields | recipe)), content_hash(table), table.num_rows, schema
    )
    return publish(
        storage,
        manifest,
        parts=partial(encode_parts, table),
        spine=None,
        sources={"query.sql": "SELECT 1"},
        provenance=PROVENANCE,
    )


def compared(before, after, key=("k",), encode_parts=encode_parts, **recipe):
    first = stored(before, key, encode_parts=encode_parts)
    second = stored(after, key, encode_parts=encode_parts, **recipe)
    return diff(first, second, lambda _: None)


def counts(rows):
    return {name: getattr(rows, name) for name in COUNTS}
