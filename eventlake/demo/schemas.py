"""The JSON Schemas of the simulated lender's events."""

from collections.abc import Iterator, Mapping
from typing import Any

_MONEY = {"type": "number", "multipleOf": 0.01, "x-precision": 18}
_RATE = {"type": "number", "multipleOf": 0.0001, "x-precision": 9}
_COUNT = {"type": "integer", "minimum": 1}
_DAY = {"type": "string", "format": "date"}


def _one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


_OWED: dict[str, Any] = {"instalment": _COUNT, "due": _DAY, "amount": _MONEY}
_FIELDS: dict[str, dict[str, Any]] = {
    "loan.applied": {
        "principal": _MONEY,
        "term_months": _COUNT,
        "purpose": _one_of("car", "home", "holiday", "education", "other"),
    },
    "loan.granted": {"principal": _MONEY, "term_months": _COUNT, "rate": _RATE, "interest": _MONEY},
    "loan.declined": {"reason": {"type": "string"}},
    "instalment.scheduled": _OWED,
    "payment.received": {"instalment": _COUNT, "amount": _MONEY},
    "payment.missed": {**_OWED, "received": _MONEY},
    "reminder.sent": {
        "instalment": _COUNT,
        "level": _COUNT,
        "channel": _one_of("email", "letter", "phone"),
    },
    "loan.written_off": {"outstanding": _MONEY},
    "loan.repaid": {"paid": _MONEY},
}
SCHEMAS: Mapping[str, dict[str, Any]] = {
    name: {"type": "object", "properties": fields, "required": list(fields)}
    for name, fields in _FIELDS.items()
}
"""By event type. All fields are required; money is a decimal, which events hold as text."""


def unregistered(known: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schemas that are not among ``known``, with their event types."""
    yield from ((name, schema) for name, schema in SCHEMAS.items() if name not in known)
