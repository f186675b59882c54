"""The JSON documents that ``--json`` prints, and the cards of lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from eventlake.cli.output import MOST_PROBLEMS
from eventlake.core import layout
from eventlake.core.attributes import CLOUDEVENTS_NAMES, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH
from eventlake.core.card import Card, counted
from eventlake.core.format_value import plain
from eventlake.core.instants import format_instant, micros
from eventlake.errors import CorruptionError
from eventlake.visible import redacted

if TYPE_CHECKING:
    import polars as pl

    from eventlake.datasets.comparing.diff_report import DatasetDiff
    from eventlake.datasets.comparing.row_diff import RowChange, RowsDiff
    from eventlake.datasets.dataset import Dataset
    from eventlake.datasets.inspecting.explanation import Explanation
    from eventlake.datasets.reproduction import Reproduction
    from eventlake.demo.run_demo import DemoResult
    from eventlake.history.snapshot import Snapshot
    from eventlake.history.verifying.report import Report
    from eventlake.importing.import_file import Import
    from eventlake.lake import Lake
    from eventlake.log.appending.receipt import Receipt
    from eventlake.log.chain.entry import Entry
    from eventlake.log.maintaining.compact import Compaction
    from eventlake.log.maintaining.garbage import Garbage
    from eventlake.schemas.version import Version

_CLOUDEVENTS = {ours: theirs for theirs, ours in CLOUDEVENTS_NAMES.items()}


def lake(value: Lake) -> dict[str, Any]:
    return {
        "uri": redacted(value.uri),
        "origin": value.origin,
        "watermark": value.watermark,
        "checkpoint": str(value.checkpoint),
    }


def receipt(value: Receipt) -> dict[str, Any]:
    recorded_at = None if value.recorded_at is None else format_instant(value.recorded_at)
    return {
        "start": value.start,
        "stop": value.stop,
        "checkpoint": str(value.checkpoint),
        "commit_hash": value.commit_hash,
        "recorded_at": recorded_at,
        "skipped": value.skipped,
    }


def imported(value: Import) -> dict[str, Any]:
    """The result of an import; a dry run adds the first events and the problems."""
    document = {
        "producer": value.producer,
        "events": value.events,
        "batches": value.batches,
        "appended": value.appended,
        "checkpoint": str(value.checkpoint),
        "dry_run": value.dry_run,
    }
    if value.dry_run:
        document["first"] = list(event_lines(value.first))
        document["problem_count"] = value.problem_count
        document["problems"] = [asdict(problem) for problem in value.problems[:MOST_PROBLEMS]]
    return document


def schema(value: Version) -> dict[str, Any]:
    from eventlake.schemas.json_schema import to_json_schema

    return {
        "event_type": value.schema.event_type,
        "version": value.number,
        "since": value.since,
        "schema_hash": value.schema_hash,
        "schema": to_json_schema(value.schema.payload),
        "upcast": None if value.upcast is None else dict(value.upcast),
    }


def compaction(value: Compaction) -> dict[str, Any]:
    return asdict(value)


def garbage(value: Garbage) -> dict[str, Any]:
    files = [asdict(file) | {"since": format_instant(file.since)} for file in value.files]
    return {"deleted": value.deleted, "size_bytes": value.size_bytes, "files": files}


def commit(entry: Entry) -> dict[str, Any]:
    value = entry.commit
    return {
        "version": value.version,
        "kind": value.kind,
        "commit_hash": entry.commit_hash,
        "commit_id": value.commit_id,
        "recorded_at": format_instant(value.recorded_at),
        "start": value.start,
        "stop": value.stop,
        "checkpoint": str(value.checkpoint),
        "segments": [segment.sha256 for segment in value.segments],
    }


def log_card(entries: Sequence[Entry], total: int) -> Card:
    """The commits as a table."""
    rows = tuple(
        (
            str(entry.commit.version),
            format_instant(entry.commit.recorded_at),
            f"{entry.commit.start:,} … {entry.commit.stop - 1:,}"
            if entry.commit.segments
            else entry.commit.kind,
            entry.commit_hash[: layout.SHORT_HASH],
            entry.commit.root[: layout.SHORT_HASH],
        )
        for entry in entries
    )
    return Card(
        counted(total, "commit"),
        (),
        ("commit", "recorded_at", "sequences", "commit_hash", "root"),
        rows,
    )


def snapshot(value: Snapshot) -> dict[str, Any]:
    checkpoint = str(value.checkpoint)
    return {
        "checkpoint": checkpoint,
        "watermark": value.watermark,
        "root": value.root,
        "commit_hash": value.commit_hash,
        "types": value.types(),
    }


def report(value: Report) -> dict[str, Any]:
    return {
        "ok": value.ok,
        "checkpoint": str(value.checkpoint) if value.checkpoint else None,
        "deep": value.deep,
        "problems": [
            {"path": finding.path, "message": finding.message} for finding in value.problems
        ],
        "unproven": [
            {"path": finding.path, "message": finding.message} for finding in value.unproven
        ],
        "notes": [{"path": finding.path, "message": finding.message} for finding in value.notes],
        "commits": value.commits,
        "segments": value.segments,
        "datasets": value.datasets,
        "bytes": value.size_bytes,
    }


def explanation(value: Explanation) -> dict[str, Any]:
    events = [
        {
            "sequence": one["sequence"],
            "time": format_instant(micros(one["time"])),
            "id": one["id"],
            "columns": one["behind"],
        }
        for one in value.behind.iter_rows(named=True)
    ]
    return {
        "manifest_hash": value.dataset,
        "row": plain(value.row),
        "column": value.column,
        "by": value.by,
        "entity": plain(value.entity),
        "known": value.known,
        "note": value.note,
        "events_read": value.events.height,
        "events": events,
    }


Tags = Mapping[str, Sequence[str]]
"""The tags of each dataset, by manifest hash."""


def dataset(value: Dataset, tags: Tags | None = None) -> dict[str, Any]:
    """A dataset, with its tags if ``tags`` is given."""
    recipe = value.manifest.recipe
    named = {} if tags is None else {"tags": list(tags.get(value.manifest_hash, ()))}
    return {
        "name": value.name,
        "manifest_hash": value.manifest_hash,
        "content_hash": value.content_hash,
        "recipe_hash": value.recipe_hash,
        "checkpoint": str(recipe.checkpoint),
        "rows": value.manifest.rows,
        "engine": recipe.engine,
        "level": recipe.level,
        "path": value.path,
        **named,
    }


def tags_by_dataset(tags: Mapping[str, str]) -> Tags:
    """Tags in alphabetical order; those set by a lock come last, as ``locked``."""
    from eventlake.datasets.store.tags import is_lock

    found: dict[str, list[str]] = {}
    for name, manifest_hash in sorted(tags.items(), key=lambda tag: (is_lock(tag[0]), tag[0])):
        found.setdefault(manifest_hash, []).append("locked" if is_lock(name) else name)
    return found


def datasets_card(values: Sequence[Dataset], tags: Tags) -> Card:
    """The datasets as a table."""
    rows = tuple(
        (
            value.name,
            f"{value.watermark:,}",
            f"{value.manifest.rows:,}",
            value.manifest.recipe.engine,
            value.manifest_hash[: layout.SHORT_HASH],
            value.content_hash[: layout.SHORT_HASH],
            ", ".join(tags.get(value.manifest_hash, ())),
        )
        for value in values
    )
    columns = ("name", "watermark", "rows", "engine", "manifest_hash", "content_hash", "tags")
    return Card(counted(len(values), "dataset"), (), columns, rows)


def reproduction(value: Reproduction) -> dict[str, Any]:
    return {
        "identical": value.identical,
        "manifest_hash": value.dataset.manifest_hash,
        "content_hash_then": value.dataset.content_hash,
        "content_hash_now": value.content_hash,
        "differences": list(value.differences),
        "causes": list(value.causes),
        "command": value.command,
    }


def dataset_diff(value: DatasetDiff) -> dict[str, Any]:
    history = value.history
    return {
        "identical": value.identical,
        "before": dataset(value.before),
        "after": dataset(value.after),
        "history": {
            "before": str(history.before),
            "after": str(history.after),
            "events_between": history.events,
            "problem": history.problem,
        },
        "recipe": [asdict(change) for change in value.recipe],
        "sources": [asdict(source) for source in value.sources],
        "schema": [asdict(change) for change in value.schema],
        "rows": None if value.rows is None else _rows_diff(value.rows),
        "refusal": value.refusal,
        "not_compared": value.not_compared,
    }


def _rows_diff(value: RowsDiff) -> dict[str, Any]:
    return {
        "before": value.before,
        "after": value.after,
        "added": value.added,
        "removed": value.removed,
        "changed": value.changed,
        "unchanged": value.unchanged,
        "columns": value.columns,
        "added_rows": [_row_change(change) for change in value.added_rows],
        "removed_rows": [_row_change(change) for change in value.removed_rows],
        "changed_rows": [_row_change(change) for change in value.changed_rows],
        "matched_by": list(value.matched_by),
    }


def _row_change(value: RowChange) -> dict[str, Any]:
    return {"key": plain(value.key), "before": plain(value.before), "after": plain(value.after)}


def demo(value: DemoResult) -> dict[str, Any]:
    return {
        "lake": value.lake,
        "checkpoint": value.checkpoint,
        "manifest_hash": value.manifest_hash,
        "content_hash": value.content_hash,
        "content_hash_polars": value.content_hash_polars,
        "content_hash_reproduced": value.content_hash_reproduced,
        "identical": value.identical,
    }


def _extensions(text: str) -> Any:
    from eventlake.columns.intake.json_scan import parse_one

    value, problem = parse_one(text.encode(), MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH)
    if problem:
        message = (
            f"expected the extensions of an event as a JSON object, found {text[:100]!r}: {problem}"
        )
        raise CorruptionError(message, "run 'eventlake verify LAKE --deep'.")
    return value


def event_lines(events: pl.DataFrame) -> Iterator[str]:
    """Yield each event as one line of CloudEvents JSON, in the form that ``append`` reads.

    Payloads are copied byte for byte, except that line breaks between tokens become spaces.
    """
    for event in events.iter_rows(named=True):
        data = event.pop("data")
        # An event that is appended gets a sequence of its own.
        event.pop("sequence", None)
        members = {
            _CLOUDEVENTS.get(name, name): value
            for name, value in event.items()
            if value is not None
        }
        members |= {
            name: format_instant(micros(members[name]))
            for name in ("time", "recordedat")
            if name in members
        }
        # Payloads are not parsed: a number would lose digits and a repeated key its first value.
        if "extensions" in members:
            members["extensions"] = _extensions(members["extensions"])
        head = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
        payload = "" if data is None else ',"data":' + data.replace("\r", " ").replace("\n", " ")
        yield head[:-1] + payload + "}"
