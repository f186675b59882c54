"""Hypothesis strategies for events that keep the event rules, in odd but legal spellings.

``events()`` can be appended as they are. ``stored_events()`` are the same with every attribute as
the lake stores it: ``time`` in microseconds, ``data`` and ``extensions`` as JSON text.
"""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from eventlake.core.attributes import RESERVED_TYPES
from eventlake.core.hashing.canonical import canonical_json
from eventlake.core.instants import MAX_US, MIN_US, from_micros

Event = dict[str, Any]
Draw = Callable[[SearchStrategy[Any]], Any]

# Lone surrogates are not UTF-8, and control characters break the event rules.
CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"))
TEXT = st.text(CHARACTERS, min_size=1, max_size=6)
TIMES = st.one_of(
    st.integers(-3, 3),
    st.integers(1_700_000_000_000_000, 1_800_000_000_000_000),
    st.integers(MIN_US, MAX_US),
)
# Usually none.
BLANKS = st.sampled_from(["", "", "", " ", "\t", " \r "])
NUMBERS = st.one_of(
    st.sampled_from(
        [
            "0",
            "-0",
            "1.00",
            "1e5",
            "1E-7",
            "100.000",
            "123456789012345678901234567890",
            "0.1e+2",
            "1.7976931348623157e308",
        ]
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
STRINGS = st.builds(
    lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only),
    st.text(CHARACTERS, max_size=6),
    st.booleans(),
)
SCALARS = st.one_of(
    NUMBERS, STRINGS, st.sampled_from(["true", "false", "null", '"\\u0000"', '"\\/\\u00e9"', '""'])
)


@st.composite
def _array(draw: Draw, items: SearchStrategy[str]) -> str:
    inner = [draw(BLANKS) + draw(items) + draw(BLANKS) for _ in range(draw(st.integers(0, 3)))]
    return "[" + (",".join(inner) or draw(BLANKS)) + "]"


@st.composite
def _object(draw: Draw, items: SearchStrategy[str]) -> str:
    # Two spellings of one name are the same key.
    keys = draw(st.lists(STRINGS, max_size=3, unique_by=json.loads))
    inner = [
        draw(BLANKS) + key + draw(BLANKS) + ":" + draw(BLANKS) + draw(items) + draw(BLANKS)
        for key in keys
    ]
    return "{" + (",".join(inner) or draw(BLANKS)) + "}"


PAYLOADS = st.recursive(SCALARS, lambda items: _array(items) | _object(items), max_leaves=6)
"""JSON text without line breaks and without blanks around it."""

EXTENSIONS = st.dictionaries(
    st.text(CHARACTERS, max_size=4),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.text(CHARACTERS, max_size=4),
        st.lists(st.integers(), max_size=2),
    ),
    min_size=1,
    max_size=3,
).map(lambda value: canonical_json(value).decode())


@st.composite
def stored_event(
    draw: Draw, ids: SearchStrategy[str] = TEXT, types: SearchStrategy[str] | None = None
) -> Event:
    """One event as the lake stores it, with any subset of the optional attributes."""
    optional = {
        "subject": TEXT,
        "time": TIMES,
        "datacontenttype": st.sampled_from(
            [
                "application/json",
                "application/json; charset=utf-8",
                "text/json",
                "application/x.v1+json",
            ]
        ),
        "dataschema": TEXT,
        "correlation_id": TEXT,
        "causation_id": TEXT,
        "traceparent": st.from_regex(
            r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True
        ),
        "extensions": EXTENSIONS,
        "data": PAYLOADS.filter(lambda text: text != "null"),
    }
    chosen = draw(st.sets(st.sampled_from(list(optional))))
    usual = st.sampled_from(["loan.granted", "payment.missed", 'odd "type"']) | TEXT.filter(
        lambda text: text not in RESERVED_TYPES
    )
    event = {
        "id": draw(ids),
        "source": draw(st.sampled_from(["core", "ünï/2", "'"])),
        "type": draw(types or usual),
    }
    return event | {name: draw(optional[name]) for name in optional if name in chosen}


@st.composite
def stored_events(
    draw: Draw, min_size: int = 0, max_size: int = 10, *, corrections: bool = True
) -> list[Event]:
    """Events as the lake stores them, with distinct ``(source, id)``; some may be corrections."""
    events: list[Event] = draw(
        st.lists(
            stored_event(),
            min_size=min_size,
            max_size=max_size,
            unique_by=lambda event: (event["source"], event["id"]),
        )
    )
    for number in range(1, len(events)):
        if corrections and draw(st.integers(0, 4)) == 0:
            events[number] = draw(_correction(events, number))
    return events


@st.composite
def _correction(draw: Draw, events: list[Event], number: int) -> Event:
    """Turn an event into a correction of an earlier one, if its ``(source, id)`` stays distinct."""
    # Only earlier events can be corrected.
    target, event = events[draw(st.integers(0, number - 1))], events[number]
    if any(
        (other["source"], other["id"]) == (target["source"], event["id"])
        for other in events
        if other is not event
    ):
        return event
    correction = {
        name: value for name, value in event.items() if name not in {"source", "type", "subject"}
    }
    correction |= {name: target[name] for name in ("source", "type", "subject") if name in target}
    correction["corrects"] = target["id"]
    correction |= draw(st.sampled_from([{}, {"correction": "replace"}, {"correction": "retract"}]))
    return correction


def events(min_size: int = 0, max_size: int = 10) -> SearchStrategy[list[Event]]:
    """A batch for ``lake.append``: events with distinct ``(source, id)``."""
    return stored_events(min_size, max_size).map(
        lambda batch: [appendable(event) for event in batch]
    )


def appendable(event: Event) -> Event:
    """A stored event as a producer would pass it."""
    given = dict(event)
    if "time" in given:
        given["time"] = from_micros(given["time"])
    if "extensions" in given:
        given["extensions"] = json.loads(given["extensions"])
    return given
