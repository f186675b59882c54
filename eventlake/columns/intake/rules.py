"""The event rules (docs/reference/format.md, "Event rules"), checked over whole columns."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.json_scan import few_payload_problems, payload_problems, scan_one
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import doubled
from eventlake.core.attributes import (
    ATTRIBUTES,
    CORRECTIONS,
    MAX_ATTRIBUTE_BYTES,
    REQUIRED,
    RESERVED_TYPES,
    WITH_OWN_RULES,
)
from eventlake.core.hashing.canonical import canonical_json

_CONTROL = r"[\x00-\x1f\x7f-\x{9f}]"
_SPACE, _DELETE, _C1_LEAD = 0x20, b"\x7f", b"\xc2"
_JSON_CONTENT = r"^(?i)(application|text)/([a-z0-9.!#$&^_-]+\+)?json(\s*;.*)?$"
_TRACEPARENT = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule for a column: rows in which ``broken`` is true break it; null does not."""

    field: str
    broken: pl.Expr
    message: str
    shown: bool = True


def _text_rules() -> Iterator[Rule]:
    for name in ATTRIBUTES:
        if name not in WITH_OWN_RULES:
            column = pl.col(name)
            yield Rule(name, column == "", "expected at least one character", shown=False)
            yield Rule(name, column.str.contains(_CONTROL), "expected no control characters")
            yield Rule(
                name,
                column.str.len_bytes() > MAX_ATTRIBUTE_BYTES,
                f"expected at most {MAX_ATTRIBUTE_BYTES:,} bytes",
            )


def _meaning_rules() -> Iterator[Rule]:
    yield Rule(
        "type",
        pl.col("type").is_in(list(RESERVED_TYPES)),
        "this name is a table in SQL; expected another",
    )
    yield Rule(
        "datacontenttype",
        ~pl.col("datacontenttype").str.contains(_JSON_CONTENT),
        "expected a JSON content type",
    )
    yield Rule(
        "traceparent",
        ~pl.col("traceparent").str.contains(_TRACEPARENT),
        "expected a W3C trace parent",
    )
    correction, corrects = pl.col("correction"), pl.col("corrects")
    yield Rule(
        "correction", ~correction.is_in(list(CORRECTIONS)), "expected 'replace' or 'retract'"
    )
    yield Rule(
        "corrects",
        correction.is_not_null() & corrects.is_null(),
        "expected the id of the event corrected",
        shown=False,
    )
    yield Rule(
        "corrects",
        corrects == pl.col("id"),
        "an event cannot correct itself; expected an earlier event's id",
    )


TEXT_RULES = tuple(_text_rules())
_WITH_TEXT_RULES = frozenset(rule.field for rule in TEXT_RULES)
MEANING_RULES = tuple(_meaning_rules())


def rule_problems(batch: Batch) -> list[Problem]:
    """Every broken rule of the batch, by given rows, without regard to events in the lake."""
    problems = [] if batch.few and batch.few.surely_keep_text_rules() else _text_problems(batch)
    problems += _doubles(batch)
    problems += _clock_problems(batch)
    if batch.few:
        problems += few_payload_problems(batch.few.values.get("data", ()))
    else:
        problems += payload_problems(batch.frame["data"])
    return [
        problem if problem.row is None else replace(problem, row=batch.number(problem.row))
        for problem in problems
    ]


def stored_problems(table: pa.Table, frame: pl.DataFrame) -> list[Problem]:
    """Problems of stored events that no append would accept and that readers cannot parse.

    Args:
        table: The events.
        frame: The same as a frame.
    """
    problems = [
        Problem(None, name, "required, but null in some rows")
        for name in REQUIRED
        if frame[name].null_count()
    ]
    suspects = _suspects(table)
    for rule in TEXT_RULES:
        if rule.field in suspects:
            problems += _broken_rows(frame, rule)
    if "data" in frame.columns:
        problems += payload_problems(frame["data"])
    if "extensions" in frame.columns:
        # Many events share their extensions.
        texts = frame["extensions"].drop_nulls().unique(maintain_order=True)
        problems += payload_problems(texts, "extensions")
        problems += [
            Problem(None, "extensions", "expected a JSON object", text[:200])
            for text in texts
            if not text.startswith("{")
        ]
    return problems


def _text_problems(batch: Batch) -> list[Problem]:
    frame = batch.frame
    problems: list[Problem] = []
    for name in REQUIRED:
        # One problem for the column instead of one for every row.
        if frame.height > 1 and frame[name].null_count() == frame.height:
            problems.append(Problem(None, name, "required, but missing in every row"))
        elif frame[name].null_count():
            problems += _broken_rows(
                frame,
                Rule(name, pl.col(name).is_null(), "required, but null or missing", shown=False),
            )
    # One query evaluates all rules that a column might break; rows are searched only for a rule
    # that is broken.
    present = {name for name in ATTRIBUTES if frame[name].null_count() < frame.height}
    suspects = _suspects(batch.table)
    rules = [rule for rule in TEXT_RULES if rule.field in suspects]
    rules += [
        rule
        for rule in MEANING_RULES
        if rule.field in present or (rule.field == "corrects" and "correction" in present)
    ]
    if not rules:
        return problems
    answers = frame.select(
        rule.broken.any().alias(str(number)) for number, rule in enumerate(rules)
    ).row(0)
    for rule, is_broken in zip(rules, answers, strict=True):
        if is_broken:
            problems += _broken_rows(frame, rule)
    return problems


def _suspects(table: pa.Table) -> set[str]:
    """The columns of a table that may break a text rule; each is looked through once."""
    return {
        name
        for name in table.column_names
        if name in _WITH_TEXT_RULES
        and table.column(name).null_count < table.num_rows
        and not _is_plain(table.column(name))
    }


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Whether lengths and bytes prove that no value breaks a text rule; False means unknown."""
    lengths = pc.min_max(pc.binary_length(column)).as_py()
    if lengths["min"] is None or lengths["min"] < 1 or lengths["max"] > MAX_ATTRIBUTE_BYTES:
        return False
    return all(_has_no_controls(chunk) for chunk in column.chunks)


def _has_no_controls(chunk: pa.Array) -> bool:
    # C0 and DEL are single bytes in UTF-8; C1 characters start with the byte C2.
    _, offsets, data = chunk.buffers()
    if not len(chunk) or data is None:
        return True
    bounds = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    text = data[int(bounds[0]) : int(bounds[-1])]
    codes = np.frombuffer(text, np.uint8)
    if not len(codes):
        return True
    if codes.min() < _SPACE:
        return False
    if codes.max() < _DELETE[0]:
        return True
    plain = text.to_pybytes()
    return bool(plain.find(_DELETE) < 0 and plain.find(_C1_LEAD) < 0)


def _doubles(batch: Batch) -> Iterator[Problem]:
    # Equal pairs have equal keys, so distinct keys prove distinct pairs at a tenth of the cost.
    if not len(doubled(batch.sorted_keys)):
        return
    seen = (
        batch.frame.select("source", "id")
        .with_row_index("row")
        .with_columns(first=pl.col("row").first().over("source", "id"))
    )
    for row, first, source, event_id in (
        seen.filter(
            pl.col("row") != pl.col("first"),
            pl.col("id").is_not_null(),
            pl.col("source").is_not_null(),
        )
        .select("row", "first", "source", "id")
        .iter_rows()
    ):
        yield Problem(
            row,
            "id",
            "expected (source, id) once in a batch",
            (source, event_id),
            batch.number(first),
        )


def _clock_problems(batch: Batch) -> Iterator[Problem]:
    recorded, sequence = batch.recorded_at, batch.sequence
    if recorded is not None:
        micros = pl.Series("recorded_at", recorded.cast(pa.int64()))
        frame = micros.to_frame().with_columns(before=micros.shift(1))
        message = "expected an instant in every row of a copied history"
        yield from _broken_rows(
            frame, Rule("recorded_at", pl.col("recorded_at").is_null(), message, shown=False)
        )
        message = (
            "expected non-decreasing instants in a copied history, this one is before the row above"
        )
        yield from _broken_rows(
            frame,
            Rule("recorded_at", pl.col("recorded_at") < pl.col("before"), message, shown=False),
        )
    if sequence is not None and len(sequence) and not sequence.null_count:
        numbers = sequence.to_numpy()
        rows = np.flatnonzero(numbers != numbers[0] + np.arange(len(numbers))).tolist()
        yield from (
            Problem(row, "sequence", "expected dense sequences in order", sequence[row].as_py())
            for row in rows
        )


def _broken_rows(frame: pl.DataFrame, rule: Rule) -> Iterator[Problem]:
    hits = frame.select(rule.broken.alias("hit"))["hit"].fill_null(value=False).arg_true()
    values = frame[rule.field]
    for row in hits:
        yield Problem(row, rule.field, rule.message, values[row] if rule.shown else None)


def canonical_extensions(batch: Batch) -> tuple[Batch, list[Problem]]:
    """Rewrite ``extensions`` as canonical JSON, empty objects as null; report non-objects."""
    column = batch.table.column("extensions")
    if column.null_count == batch.rows:
        return batch, []
    problems: list[Problem] = []
    values = [
        None if text is None else _canonical_object(row, text, problems)
        for row, text in enumerate(column.to_pylist())
    ]
    index = batch.table.schema.get_field_index("extensions")
    table = batch.table.set_column(index, "extensions", pa.array(values, pa.string()))
    return Batch(table, batch.recorded_at, batch.sequence, limits=batch.limits), problems


def _canonical_object(row: int, text: str, problems: list[Problem]) -> str | None:
    reason = scan_one(text.encode())
    value = None if reason else json.loads(text)
    if reason or not isinstance(value, dict):
        problems.append(Problem(row, "extensions", reason or "expected a JSON object", text))
        return None
    try:
        return canonical_json(value).decode() if value else None
    except TypeError as error:
        problems.append(
            Problem(
                row,
                "extensions",
                f"expected no floating point numbers, which belong into data: {error}",
                text,
            )
        )
        return None
