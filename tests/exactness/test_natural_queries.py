"""What a data scientist asks first of a log of events: accepted with its value, or refused with advice that gives it, word by word."""

import hashlib
import math
import random
import statistics
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError
from tests.support.advice_fixtures import advised, close

SCHEMAS = {
    "ticket.opened": {"cost": {"type": "number", "multipleOf": 0.01}, "queue": {"type": "string"}},
    "ticket.moved": {"state": {"type": "string"}, "agent": {"type": "string"}},
    "work.done": {
        "task": {"type": "string"},
        "agent": {"type": "string"},
        "minutes": {"type": "integer"},
    },
}
START = datetime(2026, 3, 2, tzinfo=UTC)
OP, M, W = '"ticket.opened"', '"ticket.moved"', '"work.done"'


def told():
    """Events as they are appended: of 12 tickets, several at one instant, agents missing."""
    dice, rows = random.Random(5), []
    for ticket in range(12):
        opened = dice.randrange(2000)
        subject = f"/ticket/{ticket}"
        cost = Decimal(dice.randrange(100, 900_000)) / 100 if ticket % 4 else Decimal("1250.50")
        rows.append(
            (
                subject,
                opened,
                "ticket.opened",
                {"cost": cost, "queue": dice.choice(["mail", "phone"])},
            )
        )
        for _ in range(dice.randrange(1, 6)):
            moved = {"state": dice.choice(["NEW", "BUSY", "DONE"]), "agent": dice.choice("abc")}
            rows.append((subject, opened + 30 * dice.randrange(4), "ticket.moved", moved))
        for _ in range(dice.randrange(1, 8)):
            done = {"task": dice.choice(["T_Call", "T_Write"]), "minutes": dice.randrange(1, 40)}
            if dice.random() < 0.75:
                done["agent"] = dice.choice("abc")
            rows.append((subject, opened + 45 * dice.randrange(4), "work.done", done))
    dice.shuffle(rows)
    return [
        {"sequence": place, "subject": subject, "time": START + timedelta(minutes=at), "type": kind}
        | data
        for place, (subject, at, kind, data) in enumerate(rows)
    ]


EVENTS = told()
OPENED, MOVED, WORK = ([row for row in EVENTS if row["type"] == kind] for kind in SCHEMAS)


@pytest.fixture(scope="module")
def lake():
    lake = el.create("memory://", "desk.example/tickets")
    for kind, properties in SCHEMAS.items():
        lake.register(kind, {"type": "object", "properties": properties})
    envelope = {"sequence", "subject", "time", "type"}
    for first in range(0, len(EVENTS), 17):
        lake.append(
            {
                "id": str(row["sequence"]),
                "source": "desk",
                "type": row["type"],
                "subject": row["subject"],
                "time": row["time"].isoformat(),
                "data": {name: value for name, value in row.items() if name not in envelope},
            }
            for row in EVENTS[first : first + 17]
        )
    return lake


def by(rows, *names):
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in names), []).append(row)
    return {key if len(names) > 1 else key[0]: group for key, group in groups.items()}


def each(rows, name, value):
    return {key: value(group) for key, group in by(rows, name).items()}


def ordered(rows):
    return sorted(rows, key=lambda row: (row["time"], row["sequence"]))


def known(rows, name):
    return [row[name] for row in rows if row.get(name) is not None]


def seconds(delta):
    return delta / timedelta(seconds=1)


def of_each_ticket(query):
    return f"SELECT subject AS k, {query} AS v FROM {{}} GROUP BY subject"


def earlier(rows, row):
    """What happened to the ticket up to an event, by time and sequence."""
    own = ordered(one for one in rows if one["subject"] == row["subject"])
    return own[: own.index(row) + 1]


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - as the queries do


COSTS = [row["cost"] for row in OPENED]
ACCEPTED = {
    f"SELECT subject AS k, count(*) FILTER (WHERE task LIKE 'T_C%') AS v FROM {W} GROUP BY subject": each(
        WORK, "subject", lambda rows: sum(row["task"] == "T_Call" for row in rows)
    ),
    of_each_ticket("date_diff('minute', min(time), max(time))").format(W): each(
        WORK,
        "subject",
        lambda rows: (
            (max(row["time"] for row in rows) - min(row["time"] for row in rows))
            // timedelta(minutes=1)
        ),
    ),
    of_each_ticket("(epoch(max(time)) - epoch(min(time))) / 3600").format(W): each(
        WORK,
        "subject",
        lambda rows: (
            seconds(max(row["time"] for row in rows) - min(row["time"] for row in rows)) / 3600
        ),
    ),
    of_each_ticket("extract(epoch FROM max(time) - min(time))").format(M): each(
        MOVED,
        "subject",
        lambda rows: seconds(max(row["time"] for row in rows) - min(row["time"] for row in rows)),
    ),
    f"SELECT queue AS k, sum(cost) / count(*) AS v FROM {OP} GROUP BY queue": each(
        OPENED, "queue", lambda rows: float(sum(row["cost"] for row in rows)) / len(rows)
    ),
    f"SELECT queue AS k, median(cost) AS v FROM {OP} WHERE cost <> 1250.50 GROUP BY queue HAVING count(*) % 2 = 1": {
        queue: float(statistics.median(costs))
        for queue, costs in each(
            [row for row in OPENED if row["cost"] != Decimal("1250.50")],
            "queue",
            lambda rows: [row["cost"] for row in rows],
        ).items()
        if len(costs) % 2
    },
    f"SELECT agent AS k, quantile_disc(minutes, 0.9) AS v FROM {W} WHERE agent IS NOT NULL GROUP BY agent": {
        agent: sorted(values)[math.ceil(0.9 * len(values)) - 1]
        for agent, values in each(WORK, "agent", lambda rows: known(rows, "minutes")).items()
        if agent
    },
    f"SELECT sequence AS k, count(*) OVER (PARTITION BY agent ORDER BY time RANGE INTERVAL 1 DAY PRECEDING) AS v FROM {M}": {
        row["sequence"]: sum(
            one["agent"] == row["agent"]
            and row["time"] - timedelta(days=1) <= one["time"] <= row["time"]
            for one in MOVED
        )
        for row in MOVED
    },
    f"SELECT sequence AS k, sum(cost) OVER (ORDER BY time) AS v FROM {OP}": {
        row["sequence"]: sum(one["cost"] for one in OPENED if one["time"] <= row["time"])
        for row in OPENED
    },
    f"SELECT sequence AS k, lower(split_part(task, '_', 2)) || '/' || regexp_extract(subject, '\\d+') AS v FROM {W}": {
        row["sequence"]: f"{row['task'][2:].lower()}/{row['subject'][8:]}" for row in WORK
    },
    f"SELECT sequence AS k, hour(time AT TIME ZONE 'Europe/Prague') AS v FROM {W}": {
        row["sequence"]: (row["time"].hour + 1) % 24 for row in WORK
    },
    f"SELECT sequence AS k, (time AT TIME ZONE 'UTC')::TIME AS v FROM {OP}": {
        row["sequence"]: row["time"].time().replace(tzinfo=None) for row in OPENED
    },
    f"SELECT s.subject AS k, bool_or(state = 'DONE') AS v FROM {OP} s LEFT JOIN {M} m USING (subject) GROUP BY 1": each(
        MOVED, "subject", lambda rows: any(row["state"] == "DONE" for row in rows)
    ),
    f"SELECT subject AS k, EXISTS (SELECT 1 FROM {M} m WHERE m.subject = s.subject AND state = 'DONE') AS v FROM {OP} s": each(
        MOVED, "subject", lambda rows: any(row["state"] == "DONE" for row in rows)
    ),
    f"SELECT agent AS k, sum(CASE WHEN task = 'T_Call' THEN 1 ELSE 0 END) / count(*) AS v FROM {W} WHERE agent IS NOT NULL GROUP BY 1": {
        agent: value
        for agent, value in each(
            WORK, "agent", lambda rows: sum(row["task"] == "T_Call" for row in rows) / len(rows)
        ).items()
        if agent
    },
    f"SELECT date_trunc('day', time)::DATE AS k, sum(cost) AS v FROM {OP} GROUP BY 1": {
        day: sum(row["cost"] for row in rows)
        for day, rows in by([row | {"day": row["time"].date()} for row in OPENED], "day").items()
    },
    "SELECT data ->> 'state' AS k, count(*) AS v FROM events WHERE type = 'ticket.moved' GROUP BY 1": Counter(
        row["state"] for row in MOVED
    ),
    f"SELECT subject AS k, (cost - min(cost) OVER ()) / (max(cost) OVER () - min(cost) OVER ()) AS v FROM {OP}": {
        row["subject"]: float(row["cost"] - min(COSTS)) / float(max(COSTS) - min(COSTS))
        for row in OPENED
    },
    f"SELECT subject AS k, percent_rank() OVER (ORDER BY cost) AS v FROM {OP}": {
        row["subject"]: sum(one < row["cost"] for one in COSTS) / (len(COSTS) - 1) for row in OPENED
    },
    f"SELECT subject AS k, ('0x' || left(md5(subject), 8))::BIGINT % 10 < 3 AS v FROM {OP}": {
        row["subject"]: int(md5(row["subject"])[:8], 16) % 10 < 3 for row in OPENED
    },
    f"SELECT subject AS k, printf('%d of %s', count(*), max(task)) AS v FROM {W} GROUP BY 1": each(
        WORK, "subject", lambda rows: f"{len(rows)} of {max(row['task'] for row in rows)}"
    ),
    f"SELECT sequence AS k, count(DISTINCT agent) OVER (PARTITION BY subject ORDER BY time) AS v FROM {W}": {
        row["sequence"]: len(
            set(
                known(
                    [
                        one
                        for one in WORK
                        if one["subject"] == row["subject"] and one["time"] <= row["time"]
                    ],
                    "agent",
                )
            )
        )
        for row in WORK
    },
    f"SELECT sequence AS k, rank() OVER (PARTITION BY subject ORDER BY time) AS v FROM {W}": {
        row["sequence"]: 1
        + sum(one["subject"] == row["subject"] and one["time"] < row["time"] for one in WORK)
        for row in WORK
    },
    f"SELECT time_bucket(INTERVAL '15 minutes', time) AS k, count(*) AS v FROM {OP} GROUP BY 1": Counter(
        row["time"] - (row["time"] - START) % timedelta(minutes=15) for row in OPENED
    ),
}
ADVISED = {
    f"SELECT queue AS k, avg(cost) AS v FROM {OP} GROUP BY queue": each(
        OPENED, "queue", lambda rows: float(sum(row["cost"] for row in rows) / len(rows))
    ),
    f"SELECT DISTINCT ON (subject) subject AS k, state AS v FROM {M} ORDER BY subject, time DESC": each(
        MOVED, "subject", lambda rows: ordered(rows)[-1]["state"]
    ),
    f"""SELECT k, v FROM (SELECT subject AS k, state AS v, row_number() OVER (PARTITION BY subject ORDER BY time DESC) AS n FROM {M})
        WHERE n = 1""": each(MOVED, "subject", lambda rows: ordered(rows)[-1]["state"]),
    f"SELECT subject AS k, state AS v FROM {M} QUALIFY row_number() OVER (PARTITION BY subject ORDER BY time) = 1": each(
        MOVED, "subject", lambda rows: ordered(rows)[0]["state"]
    ),
    of_each_ticket("first(agent ORDER BY time)").format(W): each(
        WORK, "subject", lambda rows: ordered(rows)[0].get("agent")
    ),
    of_each_ticket("arg_max(agent, time)").format(W): each(
        WORK, "subject", lambda rows: (known(ordered(rows), "agent") or [None])[-1]
    ),
    of_each_ticket("arg_max(task, minutes)").format(W): each(
        WORK,
        "subject",
        lambda rows: max(rows, key=lambda row: (row["minutes"], row["sequence"]))["task"],
    ),
    of_each_ticket("string_agg(state, '>' ORDER BY time)").format(M): each(
        MOVED, "subject", lambda rows: ">".join(row["state"] for row in ordered(rows))
    ),
    of_each_ticket("list(state ORDER BY time DESC)").format(M): each(
        MOVED, "subject", lambda rows: [row["state"] for row in reversed(ordered(rows))]
    ),
    of_each_ticket("any_value(cost)").format(OP): {row["subject"]: row["cost"] for row in OPENED},
    of_each_ticket("mode(agent)").format(W): each(
        WORK,
        "subject",
        lambda rows: max(
            Counter(known(rows, "agent")).items(), key=lambda one: (one[1], one[0]), default=(None,)
        )[0],
    ),
    f"SELECT m.agent AS k, avg(date_diff('minute', o.time, m.time)) AS v FROM {M} m JOIN {OP} o USING (subject) GROUP BY 1": each(
        MOVED,
        "agent",
        lambda rows: statistics.fmean(
            seconds(
                row["time"]
                - next(one["time"] for one in OPENED if one["subject"] == row["subject"])
            )
            // 60
            for row in rows
        ),
    ),
    f"SELECT m.agent AS k, quantile_cont(epoch(m.time - o.time) / 3600, 0.5) AS v FROM {M} m JOIN {OP} o USING (subject) GROUP BY 1": each(
        MOVED,
        "agent",
        lambda rows: statistics.median(
            seconds(
                row["time"]
                - next(one["time"] for one in OPENED if one["subject"] == row["subject"])
            )
            / 3600
            for row in rows
        ),
    ),
    f"SELECT sequence AS k, date_diff('minute', lag(time) OVER (PARTITION BY subject ORDER BY time), time) AS v FROM {W}": {
        row["sequence"]: (
            None
            if len(earlier(WORK, row)) < 2
            else (row["time"] - earlier(WORK, row)[-2]["time"]) // timedelta(minutes=1)
        )
        for row in WORK
    },
    f"SELECT sequence AS k, avg(cost) OVER (ORDER BY time ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS v FROM {OP}": {
        row["sequence"]: statistics.fmean(
            float(one["cost"]) for one in ordered(OPENED)[max(0, place - 2) : place + 1]
        )
        for place, row in enumerate(ordered(OPENED))
    },
    f"SELECT sequence AS k, last_value(agent IGNORE NULLS) OVER (PARTITION BY subject ORDER BY time) AS v FROM {W}": {
        row["sequence"]: (known(earlier(WORK, row), "agent") or [None])[-1] for row in WORK
    },
    f"SELECT agent AS k, count(*) AS v FROM {W} WHERE agent IS NOT NULL GROUP BY agent ORDER BY v DESC LIMIT 2": dict(
        sorted(Counter(known(WORK, "agent")).items(), key=lambda one: (-one[1], one[0]))[:2]
    ),
    f"SELECT sequence AS k, cost AS v FROM {OP} ORDER BY cost DESC LIMIT 4": {
        row["sequence"]: row["cost"]
        for row in sorted(OPENED, key=lambda row: (row["cost"], row["sequence"]))[-4:]
    },
    f"SELECT agent AS k, stddev(minutes) AS v FROM {W} WHERE agent IS NOT NULL GROUP BY agent": {
        agent: statistics.stdev(known(rows, "minutes"))
        for agent, rows in by(WORK, "agent").items()
        if agent
    },
    f"SELECT w.agent AS k, corr(o.cost, w.minutes) AS v FROM {W} w JOIN {OP} o USING (subject) WHERE w.agent IS NOT NULL GROUP BY 1": {
        agent: statistics.correlation(
            [
                float(next(one["cost"] for one in OPENED if one["subject"] == row["subject"]))
                for row in rows
            ],
            known(rows, "minutes"),
        )
        for agent, rows in by(WORK, "agent").items()
        if agent
    },
    f"SELECT subject AS k, (cost - avg(cost) OVER ()) / stddev(cost) OVER () AS v FROM {OP}": {
        row["subject"]: (float(row["cost"]) - statistics.fmean(map(float, COSTS)))
        / statistics.stdev(map(float, COSTS))
        for row in OPENED
    },
    f"SELECT agent AS k, avg((task = 'T_Call')::INT) AS v FROM {W} WHERE agent IS NOT NULL GROUP BY agent": {
        agent: statistics.fmean(row["task"] == "T_Call" for row in rows)
        for agent, rows in by(WORK, "agent").items()
        if agent
    },
    f"SELECT queue AS k, round(avg(cost), 2) AS v FROM {OP} GROUP BY queue": each(
        OPENED,
        "queue",
        lambda rows: float(
            (sum(row["cost"] for row in rows) / len(rows) + Decimal("0.005")).quantize(
                Decimal("0.01"), "ROUND_FLOOR"
            )
        ),
    ),
    f"SELECT queue AS k, sum(cost::DOUBLE) AS v FROM {OP} GROUP BY queue": each(
        OPENED, "queue", lambda rows: float(sum(known(rows, "cost")))
    ),
    f"SELECT floor(cost / 1000) * 1000 AS k, count(*) AS v FROM {OP} GROUP BY 1": Counter(
        int(cost) // 1000 * 1000 for cost in COSTS
    ),
    f"SELECT subject AS k, ntile(3) OVER (ORDER BY cost) AS v FROM {OP}": {
        row["subject"]: place // 4 + 1
        for place, row in enumerate(sorted(OPENED, key=lambda row: (row["cost"], row["sequence"])))
    },
    f"SELECT subject AS k, hash(subject) % 10 < 3 AS v FROM {OP}": {
        row["subject"]: int(md5(row["subject"])[:15], 16) % 10 < 3 for row in OPENED
    },
    f"SELECT sequence AS k, subject AS v FROM {W} USING SAMPLE 25%": {
        row["sequence"]: row["subject"]
        for row in WORK
        if int(md5(str(row["sequence"]))[:8], 16) % 100 < 25
    },
    f"SELECT subject AS k, cost ^ 2 AS v FROM {OP}": {
        row["subject"]: float(row["cost"] ** 2) for row in OPENED
    },
    f"SELECT subject AS k, printf('%.2f EUR', cost) AS v FROM {OP}": {
        row["subject"]: f"{row['cost']:.2f} EUR" for row in OPENED
    },
    f"SELECT agent AS k, approx_count_distinct(subject) AS v FROM {W} WHERE agent IS NOT NULL GROUP BY 1": {
        agent: len({row["subject"] for row in rows})
        for agent, rows in by(WORK, "agent").items()
        if agent
    },
    f"SELECT m.sequence AS k, w.sequence AS v FROM {M} m ASOF LEFT JOIN {W} w ON m.subject = w.subject AND m.time >= w.time": {
        row["sequence"]: max(
            (
                (one["time"], one["sequence"])
                for one in WORK
                if one["subject"] == row["subject"] and one["time"] <= row["time"]
            ),
            default=(None, None),
        )[1]
        for row in MOVED
    },
    f"""SELECT m.sequence AS k,
        (SELECT w.task FROM {W} w WHERE w.subject = m.subject AND w.time < m.time ORDER BY w.time DESC LIMIT 1) AS v FROM {M} m""": {
        row["sequence"]: (
            [
                one["task"]
                for one in ordered(WORK)
                if one["subject"] == row["subject"] and one["time"] < row["time"]
            ]
            or [None]
        )[-1]
        for row in MOVED
    },
    f"""SELECT subject AS k, arg_max(agent, n) AS v FROM (
        SELECT subject, agent, count(*) AS n FROM {W} WHERE agent IS NOT NULL GROUP BY ALL)
        GROUP BY subject""": {
        subject: max(Counter(known(rows, "agent")).items(), key=lambda one: (one[1], one[0]))[0]
        for subject, rows in by(WORK, "subject").items()
        if known(rows, "agent")
    },
}
DECIDED = {
    f"SELECT subject AS k, ln(cost + 1) AS v FROM {OP}": 'after the dataset was read, or level = "fixed"',
    f"SELECT subject AS k, date_diff('day', time, now()) AS v FROM {OP}": "$today::TIMESTAMPTZ, with parameters=",
    f"SELECT queue AS k, skewness(cost) AS v FROM {OP} GROUP BY 1": "sums of products of exact values as columns",
    f"SELECT sequence AS k, jaro_winkler_similarity(task, 'T_Call') AS v FROM {W}": "levenshtein(…, …), which counts edits, or jaccard",
}


def rows_of(lake, query, **options):
    found = lake.build(
        el.Projection.sql("q", query, key=["k"], **options), force=True, check="perturb"
    ).polars()
    return dict(zip(found["k"].to_list(), found["v"].to_list(), strict=True))


def same(found, expected):
    return found.keys() == expected.keys() and all(
        close(found[key], expected[key]) for key in expected
    )


@pytest.mark.parametrize("query", ACCEPTED)
def test_a_natural_query_that_is_exact_is_accepted_with_its_value(lake, query):
    assert same(rows_of(lake, query), ACCEPTED[query])


@pytest.mark.parametrize("query", ADVISED)
def test_a_natural_query_that_is_refused_has_its_value_as_advised(lake, query):
    with pytest.raises(InvalidProjectionError, match="declared exact and is not"):
        rows_of(lake, query)
    assert same(rows_of(lake, advised(lake, query)), ADVISED[query])


@pytest.mark.parametrize("query", DECIDED)
def test_a_natural_query_without_an_exact_form_is_told_what_to_decide(lake, query):
    with pytest.raises(InvalidProjectionError, match="declared exact and is not") as caught:
        rows_of(lake, query)
    assert DECIDED[query] in caught.value.message


def test_what_is_to_be_decided_about_clocks_and_edits_works(lake):
    parameters = {"today": "2026-03-10 00:00:00+00"}
    query = f"SELECT subject AS k, date_diff('day', time, $today::TIMESTAMPTZ) AS v FROM {OP}"
    ages = {
        row["subject"]: (datetime(2026, 3, 10, tzinfo=UTC).date() - row["time"].date()).days
        for row in OPENED
    }
    assert rows_of(lake, query, parameters=parameters) == ages
    edits = {"T_Call": 0, "T_Write": 5}
    found = rows_of(lake, f"SELECT sequence AS k, levenshtein(task, 'T_Call') AS v FROM {W}")
    assert found == {row["sequence"]: edits[row["task"]] for row in WORK}


def test_a_time_of_day_and_an_interval_are_told_what_to_write(lake):
    with pytest.raises(InvalidProjectionError) as caught:
        rows_of(lake, f"SELECT sequence AS k, time::TIME AS v FROM {OP}")
    assert "write (time AT TIME ZONE 'UTC')::TIME" in caught.value.hint
    took = f"SELECT subject AS k, max(time) - min(time) AS v FROM {W} GROUP BY 1"
    with pytest.raises(el.EventlakeError, match="INTERVAL") as refused:
        rows_of(lake, took)
    assert "epoch_us(v)" in str(refused.value)
    found = rows_of(lake, f"SELECT k, epoch_us(v) AS v FROM ({took})")
    assert found == each(
        WORK,
        "subject",
        lambda rows: (
            (max(row["time"] for row in rows) - min(row["time"] for row in rows))
            // timedelta(microseconds=1)
        ),
    )
