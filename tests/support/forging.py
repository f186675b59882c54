"""Lakes of a stranger: documents that are changed and sealed again, so that every checksum and hash holds."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache

import polars as pl

import eventlake as el
from eventlake.core.hashing.canonical import CHECKSUM, canonical_json, seal, sha256_hex
from eventlake.storage import MemoryStorage

TYPE = "payment.received"
SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number", "multipleOf": 0.01}},
    "required": ["amount"],
}
QUERY = "SELECT subject, count(*) AS n FROM events GROUP BY subject"
SPINE = pl.DataFrame(
    {"subject": ["/loan/1", "/loan/2"], "cutoff": [datetime(2027, 2, 1, tzinfo=UTC)] * 2}
)


def payments(numbers):
    return [
        {
            "id": f"p{number}",
            "source": "core",
            "type": TYPE,
            "subject": f"/loan/{number % 3}",
            "time": f"2026-01-{1 + number % 28:02}T12:00:00Z",
            "data": {"amount": f"{number}.50"},
        }
        for number in numbers
    ]


def features():
    amount = el.field("amount")
    late = el.count(TYPE, window="30d", offset="1d", where=(amount > 3) & ~amount.is_null())
    return el.FeatureSet(
        "risk",
        features=[late.name("late"), (el.sum(TYPE, "amount") / 2).name("half")],
        known="watermark",
    )


def lake_of_a_stranger():
    """A lake with every kind of document, in memory; made once, and copied."""
    storage = MemoryStorage()
    for path, data in _files().items():
        storage.create(path, data)
    return storage


@cache
def _files():
    lake = el.create(storage := MemoryStorage(), "adv.example/x")
    lake.register(TYPE, SCHEMA)
    for number in range(3):
        lake.append(
            payments(range(number * 10, number * 10 + 10)), producer="bank", position=number
        )
    built = lake.build(el.Projection.sql("paid", QUERY, key=["subject"]))
    lake.build(features(), spine=SPINE)
    lake.tag(built.manifest_hash, "model-1")
    return {item.path: storage.read(item.path) for item in storage.list("")}


def put(storage, path, data):
    """Writes a file over the one that is there."""
    if storage.exists(path):
        storage.delete(path)
    storage.create(path, data)


def document(storage, path):
    """A sealed document without its checksum; nothing of it is looked at."""
    return {
        name: value for name, value in json.loads(storage.read(path)).items() if name != CHECKSUM
    }


def forge_commit(storage, version, change):
    """Changes a commit and seals it; those after it follow it."""
    path = f"log/{version:020d}.json"
    changed = document(storage, path)
    change(changed)
    put(storage, path, seal(changed))
    while storage.exists(after := f"log/{version + 1:020d}.json"):
        prev = hashlib.sha256(storage.read(path)).hexdigest()
        put(storage, after, seal(document(storage, after) | {"prev": prev}))
        path, version = after, version + 1


def forge_sealed(storage, path, change):
    """Changes a sealed document and seals it again."""
    changed = document(storage, path)
    change(changed)
    put(storage, path, seal(changed))


def folder_of(storage, name):
    """The folder of the one dataset of a name."""
    return next(
        item.path.rpartition("/")[0]
        for item in storage.list(f"builds/{name}")
        if item.path.endswith("/manifest.json")
    )


def forge_dataset(storage, name, change=lambda manifest: None, source=None):
    """Changes a dataset's manifest, and its source if given, so that all hashes hold; gives the new manifest hash."""
    folder = folder_of(storage, name)
    manifest = json.loads(storage.read(f"{folder}/manifest.json"))
    files = {item.path: storage.read(item.path) for item in storage.list(folder)}
    if source is not None:
        entry = manifest["recipe"]["entry"]
        path = next(path for path in files if path.endswith(f"/source/{entry}"))
        files[path] = source(files[path])
        manifest["recipe"]["sources"][entry] = sha256_hex(files[path])
    change(manifest)
    if isinstance(manifest.get("recipe"), dict):
        manifest["recipe_hash"] = sha256_hex(canonical_json(manifest["recipe"]))
    data = canonical_json(manifest)
    manifest_hash = sha256_hex(data)
    for path in files:
        storage.delete(path)
    for path, stored in files.items():
        changed = (
            _provenance(path, stored, files, manifest_hash)
            if path.endswith("/provenance.json")
            else stored
        )
        put(
            storage,
            path.replace(folder, f"builds/{name}/{manifest_hash[:12]}"),
            data if path.endswith("/manifest.json") else changed,
        )
    for item in [*storage.list("recipes")]:
        storage.delete(item.path)
    return manifest_hash


def _provenance(path, data, files, manifest_hash):
    said = {name: value for name, value in json.loads(data).items() if name != CHECKSUM}
    folder = path.rpartition("/")[0]
    for name in said["files"]:
        stored = files[f"{folder}/{name}"]
        said["files"][name] = {"bytes": len(stored), "sha256": sha256_hex(stored)}
    return seal(said | {"manifest_hash": manifest_hash})
