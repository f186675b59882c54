"""The attributes of an event and the limits they are held to.

The names are those of the CloudEvents specification 1.0, spelled with underscores where CloudEvents
runs words together.
"""

from typing import Final

ATTRIBUTES: Final = (
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "correlation_id",
    "causation_id",
    "corrects",
    "correction",
    "traceparent",
    "extensions",
    "data",
)
"""Every attribute a producer says, in the order in which they enter the leaf (docs/reference/format.md)."""

REQUIRED: Final = ("id", "source", "type")

ASSIGNED: Final = ("sequence", "recorded_at")
"""What the lake assigns: never part of the leaf."""

EVENT_COLUMNS: Final = ("sequence", *ATTRIBUTES[:5], "recorded_at", *ATTRIBUTES[5:])
"""The columns of ``events`` as readers see them, in order."""

CLOUDEVENTS_NAMES: Final = {
    "correlationid": "correlation_id",
    "causationid": "causation_id",
    "recordedat": "recorded_at",
}
"""CloudEvents spelling to ours, for the JSON face."""

RESERVED_TYPES: Final = frozenset({"events", "spine"})
"""Event types are table names in SQL; these two names are taken."""

CORRECTIONS: Final = frozenset({"replace", "retract"})

MAX_SEQUENCE: Final = 1 << 62
"""No lake gets this far; a sequence at or beyond it is a mistake."""
MAX_PAYLOAD_BYTES: Final = 1 << 20
MAX_PAYLOAD_DEPTH: Final = 64
MAX_ATTRIBUTE_BYTES: Final = 4096
