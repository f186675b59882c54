"""Forging lakes: what somebody who can write to every file of a lake might do, leaving every hash and checksum right."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq

from eventlake.columns.hashing.content import content_hash
from eventlake.columns.parquet import frames, segments
from eventlake.core.hashing.canonical import canonical_json, seal, sha256_hex, unseal

TYPE = "payment.received"
SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number", "multipleOf": 0.01}},
    "required": ["amount"],
}


def payment(number, subject=None, event_type=TYPE, amount=None):
    """An event; the amount is its number and a half."""
    return {
        "id": f"p{number}",
        "source": "core",
        "type": event_type,
        "subject": subject or f"/loan/{number % 7}",
        "time": f"2026-01-{1 + number % 28:02}T12:00:00Z",
        "data": {"amount": amount or f"{number}.50"},
    }


def forge_commit(root, version, change):
    """Changes a commit's document and seals it again; later commits get its new hash."""
    before = None
    for path in sorted((root / "log").glob("*.json")):
        if int(path.stem) >= version:
            document = unseal(path.read_bytes(), str(path))
            if int(path.stem) == version:
                change(document)
            else:
                document["prev"] = before
            path.write_bytes(seal(document))
        before = hashlib.sha256(path.read_bytes()).hexdigest()


def commits_of(root):
    """The documents of the log, by version."""
    return {
        int(path.stem): unseal(path.read_bytes(), str(path))
        for path in sorted((root / "log").glob("*.json"))
    }


def head_of(root):
    """The version of the newest commit and its document."""
    return max(commits_of(root).items())


def forge_payloads(root, version, text='{"amount":"999999.00"}'):
    """Gives all events of a commit's first segment another payload, and the commit the segment's new name; range and root are kept."""

    def change(document):
        segment = document["segments"][0]
        path = root / "segments" / f"{segment['sha256']}.parquet"
        table = pq.read_table(path)
        column = table.schema.get_field_index("data")
        data = segments.encode(table.set_column(column, "data", pa.array([text] * table.num_rows)))
        path.unlink()
        segment["sha256"], segment["bytes"] = sha256_hex(data), len(data)
        (root / "segments" / f"{segment['sha256']}.parquet").write_bytes(data)

    forge_commit(root, version, change)


def forge_dataset(
    root, name, change=lambda rows: rows, recipe=lambda document: None, sources=lambda text: text
):
    """Stores other rows, another recipe or other sources of the only dataset called ``name``, and gives everything the hashes that follow.

    The note of what the recipe made is forged with it. Gives the manifest hash.
    """
    (manifest,) = root.glob(f"builds/{name}/*/manifest.json")
    (part,) = manifest.parent.glob("*/part-*.parquet")
    provenance = part.parent / "provenance.json"
    said = unseal(provenance.read_bytes(), "")
    document = json.loads(manifest.read_bytes())
    rows = change(pq.read_table(part))
    for path in (part.parent / "source").iterdir():
        path.write_bytes(sources(path.read_text()).encode(errors="surrogateescape"))
        data = path.read_bytes()
        document["recipe"]["sources"][path.name] = sha256_hex(data)
        said["files"][f"source/{path.name}"] = {"bytes": len(data), "sha256": sha256_hex(data)}
    before = document["recipe_hash"]
    recipe(document["recipe"])
    document["recipe_hash"] = sha256_hex(canonical_json(document["recipe"]))
    document["output"] = {
        **document["output"],
        "content_hash": content_hash(rows),
        "rows": rows.num_rows,
    }
    data = frames.encode(rows)
    stored = f"part-00000-{sha256_hex(data)[:12]}.parquet"
    part.unlink()
    (part.parent / stored).write_bytes(data)
    manifest.write_bytes(canonical_json(document))
    forged = sha256_hex(manifest.read_bytes())
    del said["files"][part.name]
    said["files"][stored] = {"bytes": len(data), "sha256": sha256_hex(data)}
    provenance.write_bytes(seal(said | {"manifest_hash": forged, "manifest": document}))
    manifest.parent.rename(manifest.parent.parent / forged[:12])
    for path in (root / "recipes" / before).iterdir():
        path.unlink()
    notes = root / "recipes" / document["recipe_hash"]
    notes.mkdir(exist_ok=True)
    (notes / f"{forged}.made").write_bytes(b"{}")
    return forged


def forge_compaction(root, change=lambda table: table, states=lambda segment: None, which=max):
    """Gives the segment of the newest compaction (with ``min`` of the oldest) other rows.

    The commit says of them what it would then say; their range is kept.
    """

    def document(commit):
        segment = commit["segments"][0]
        path = root / "segments" / f"{segment['sha256']}.parquet"
        table = change(pq.read_table(path))
        data = segments.encode(table)
        path.unlink()
        facts = segments.statistics(table)
        segment["sha256"], segment["bytes"], segment["columns"] = (
            sha256_hex(data),
            len(data),
            table.column_names,
        )
        segment["recorded_at"] = None if facts.recorded is None else list(facts.recorded)
        states(segment)
        (root / "segments" / f"{segment['sha256']}.parquet").write_bytes(data)

    forge_commit(
        root,
        which(version for version, one in commits_of(root).items() if one["kind"] == "compact"),
        document,
    )
