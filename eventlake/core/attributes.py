"""The attributes of an event and their limits.

The names are those of the CloudEvents specification 1.0, with underscores between words.
"""

from typing import Final

# The order is part of every leaf hash and never changes. Null attributes have no bytes, so one that
# is added later leaves the hashes of older events as they are.
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
"""The attributes that a producer sets, in the order of the event bytes."""

REQUIRED: Final = ("id", "source", "type")

WITH_OWN_RULES: Final = frozenset({"time", "data", "extensions"})
"""Attributes that are not short text; the rules of short text do not hold for them."""

ASSIGNED: Final = ("sequence", "recorded_at")
"""The attributes that the lake assigns; never part of the event bytes."""

EVENT_COLUMNS: Final = ("sequence", *ATTRIBUTES[:5], "recorded_at", *ATTRIBUTES[5:])
"""The columns of the table ``events``, in order."""

CLOUDEVENTS_NAMES: Final = {
    "correlationid": "correlation_id",
    "causationid": "causation_id",
    "recordedat": "recorded_at",
}
"""CloudEvents names to ours, for JSON input and output."""

RESERVED_TYPES: Final = frozenset({"events", "spine"})
"""Event types are table names in SQL; these two names are reserved."""

CORRECTIONS: Final = frozenset({"replace", "retract"})

MAX_SEQUENCE: Final = 1 << 62
"""Exclusive upper bound of sequences, which no lake reaches."""
MAX_PAYLOAD_BYTES: Final = 1 << 20
MAX_PAYLOAD_DEPTH: Final = 64
MAX_ATTRIBUTE_BYTES: Final = 4096
