"""A small lake of payments, and a spine, features are looked up in and for."""

from datetime import UTC, datetime, timedelta

import polars as pl

import eventlake as el

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MONEY = {"type": "number", "multipleOf": 0.01}
METHOD = {"type": "string", "enum": ["card", "cash"]}
SCHEMA = {
    "type": "object",
    "properties": {"amount": MONEY, "weight": {"type": "number"}, "method": METHOD},
}


def event(number, kind="payment", day=0, subject="/loan/1", **data):
    moment = (BEGIN + day * DAY).isoformat()
    return {
        "id": f"{kind}-{number}",
        "source": "s",
        "type": kind,
        "subject": subject,
        "time": moment,
        "recorded_at": moment,
        "data": data,
    }


def filled(made):
    made.register("payment", SCHEMA)
    made.register("missed", {"type": "object", "properties": {"days": {"type": "integer"}}})
    for number in range(6):
        made.append(
            [
                event(
                    number,
                    day=number,
                    amount=10.5 + number,
                    method="card" if number % 2 else "cash",
                )
            ]
        )
    made.append([event(0, "missed", 6, days=3), event(1, "missed", 6, "/loan/2", days=4)])
    return made


def instants(*days):
    return pl.Series([BEGIN + day * DAY for day in days], dtype=pl.Datetime("us", "UTC"))


SPINE = pl.DataFrame(
    {
        "subject": ["/loan/1", "/loan/2", "/loan/1"],
        "cutoff": instants(4, 9, 9),
        "late": [True, False, True],
    }
)
FEATURES = el.FeatureSet(
    "risk",
    features=[
        el.count("payment", window=["2d", "30d"]),
        el.mean("payment", "amount"),
        el.last("payment", "method"),
        el.since_last("missed"),
        el.exists("missed", window="30d"),
        (el.sum("payment", "amount") / el.count("payment")).name("each"),
        el.count("payment", where={"method": "card"}).name("by_card"),
    ],
)
