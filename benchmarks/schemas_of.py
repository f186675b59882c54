"""Schemas for the generated events, by the names of their payloads' members."""

import json

import polars as pl
import pyarrow as pa

MONEY = {
    name: {"type": "number", "multipleOf": 0.01}
    for name in ("amount", "balance", "interest", "principal")
}
WHOLE = {
    name: {"type": "integer"} for name in ("installment", "days_past_due", "score", "term_months")
}
FIELDS = {
    **MONEY,
    **WHOLE,
    "rate": {"type": "number", "multipleOf": 0.0001},
    "retry": {"type": "boolean"},
    "due_date": {"type": "string", "format": "date"},
}


def schema_of(payload: str) -> dict[str, object]:
    """A JSON Schema for payloads like this one, with every member required and no others."""
    names = list(json.loads(payload))
    properties = {name: FIELDS.get(name, {"type": "string"}) for name in names}
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def schemas(events: pa.Table) -> dict[str, dict[str, object]]:
    """A schema for every type there is."""
    first = pl.DataFrame(events).unique("type", keep="first")
    return {
        event_type: schema_of(payload)
        for event_type, payload in first.select("type", "data").iter_rows()
    }
