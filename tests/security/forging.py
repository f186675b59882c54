"""Forging lakes: what somebody who can write to every file of a lake might do, leaving every hash and checksum right."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

from eventlake.columns import segments
from eventlake.core.canonical import seal, sha256_hex, unseal

TYPE = "payment.received"
SCHEMA = {"type": "object", "properties": {"amount": {"type": "number", "multipleOf": 0.01}}, "required": ["amount"]}


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
    return {int(path.stem): unseal(path.read_bytes(), str(path)) for path in sorted((root / "log").glob("*.json"))}


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
