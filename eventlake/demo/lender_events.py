"""The events of the simulated lender: their sources, ids and payloads, and a table of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

SOURCES = {
    "loan.applied": "/lender/origination",
    "loan.granted": "/lender/origination",
    "loan.declined": "/lender/origination",
    "instalment.scheduled": "/lender/origination",
    "payment.received": "/lender/bank-file",
    "payment.missed": "/lender/collections",
    "reminder.sent": "/lender/collections",
    "loan.written_off": "/lender/collections",
    "loan.repaid": "/lender/collections",
}
"""The system that records events of each type."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``time`` and ``recorded_at`` are microseconds since the epoch, UTC."""

    id: str
    source: str
    type: str
    subject: str
    time: int
    recorded_at: int
    data: str
    corrects: str | None = None
    correction: str | None = None


class EventFactory:
    """Creates the events of one loan, with ids such as ``loan-000017-payment-3``."""

    def __init__(self, number: int) -> None:
        self._loan = f"{number:06d}"

    def __call__(self, type_: str, name: str, time: int, recorded_at: int, data: str) -> Event:
        """An event of the loan; ``name`` is the last part of its id."""
        id_, subject = f"loan-{self._loan}-{name}", f"/loan/{self._loan}"
        return Event(id_, SOURCES[type_], type_, subject, time, recorded_at, data)


def event_table(events: Sequence[Event]) -> pa.Table:
    """The events in order; see ``lender.simulate`` for the columns."""
    text, instant = pa.string(), pa.timestamp("us", tz="UTC")
    columns: dict[str, pa.DataType] = {"id": text, "source": text, "type": text, "subject": text}
    columns |= {
        "time": instant,
        "recorded_at": instant,
        "data": text,
        "corrects": text,
        "correction": text,
    }
    return pa.table(
        {
            name: pa.array([getattr(event, name) for event in events], kind)
            for name, kind in columns.items()
        }
    )


def money(cents: int) -> str:
    """An amount as a JSON string: the JSON readers of both engines read numbers as doubles."""
    return f'"{cents // 100}.{cents % 100:02d}"'


def fraction(ten_thousandths: int) -> str:
    """A rate as a JSON string with four decimals, such as ``"0.0490"``."""
    return f'"{ten_thousandths // 10_000}.{ten_thousandths % 10_000:04d}"'
