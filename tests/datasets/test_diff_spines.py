"""Datasets over different spines: rows meet by what their spines say, as a plain loop pairs them."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.storage import MemoryStorage
from tests.scope import examples

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FEATURES = el.FeatureSet("risk", features=[el.count("x"), el.last("x", "n")])
SQL = el.Projection.sql("risk", """SELECT s.spine_row, s.label, count(x.id) AS n FROM spine s
    LEFT JOIN x ON x.subject = s.subject AND x.time < s.cutoff GROUP BY s.spine_row, s.label""", key=["spine_row"])  # fmt: skip
ROWS = st.lists(
    st.tuples(st.sampled_from(["/a", "/b", None]), st.integers(1, 3), st.integers(0, 2)), max_size=8
)


def made():
    lake = el.create(MemoryStorage(), "tests.eventlake/diff")
    lake.register("x", {"type": "object", "properties": {"n": {"type": "integer"}}})
    events = [("/a", 0, 1), ("/b", 1, 2), ("/a", 2, 3)]
    for number, (subject, day, n) in enumerate(events):
        at = (BEGIN + day * DAY).isoformat()
        lake.append(
            [
                {
                    "id": f"{number}",
                    "source": "s",
                    "type": "x",
                    "subject": subject,
                    "time": at,
                    "recorded_at": at,
                    "data": {"n": n},
                }
            ]
        )
    return lake


def spine(rows):
    kinds = {"subject": pl.String(), "cutoff": pl.Datetime("us", "UTC"), "label": pl.Int64()}
    return pl.DataFrame(
        [(subject, BEGIN + day * DAY, label) for subject, day, label in rows],
        schema=kinds,
        orient="row",
    )


def numbered(rows, width):
    """Each row by what tells it apart, and how often the same stood before it."""
    seen, found = {}, {}
    for row in rows:
        seen[row[:width]] = seen.get(row[:width], -1) + 1
        found[row[:width], seen[row[:width]]] = row
    return found


def wanted(before, after, width):
    one, other = numbered(before, width), numbered(after, width)
    both = one.keys() & other.keys()
    changed = sum(one[key] != other[key] for key in both)
    return len(other.keys() - both), len(one.keys() - both), changed, len(both) - changed


@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(ROWS, ROWS)
def test_rows_over_different_spines_meet_by_entity_cutoff_and_occurrence(before, after):
    lake = made()
    for projection, width, names in (
        (FEATURES, 2, ("subject", "cutoff")),
        (SQL, 3, ("subject", "cutoff", "label")),
    ):
        one, other = (lake.build(projection, spine=spine(rows)) for rows in (before, after))
        rows = lake.diff(one.manifest_hash, other.manifest_hash).rows
        assert (rows.added, rows.removed, rows.changed, rows.unchanged) == wanted(
            before, after, width
        )
        assert rows.matched_by == (names if one.content_hash != other.content_hash else ())
        assert len(rows.changed_rows) == min(rows.changed, 10)


def test_what_changed_is_named_by_entity_and_cutoff():
    lake = made()
    before, after = (
        [("/a", 3, 0), ("/b", 2, 0), ("/b", 2, 0), ("/a", 1, 0)],
        [("/b", 2, 0), ("/b", 2, 5), ("/a", 3, 1)],
    )
    found = lake.diff(
        *(lake.build(FEATURES, spine=spine(rows)).manifest_hash for rows in (before, after))
    )
    cutoffs = [
        {"subject": name, "cutoff": BEGIN + day * DAY} for name, day in (("/a", 3), ("/b", 2))
    ]
    assert [(change.key, change.before, change.after) for change in found.rows.changed_rows] == [
        (cutoffs[0], {"label": 0}, {"label": 1}),
        (cutoffs[1] | {"occurrence": 1}, {"label": 0}, {"label": 5}),
    ]
    removed = {"subject": "/a", "cutoff": BEGIN + DAY}
    assert [(change.key, change.before) for change in found.rows.removed_rows] == [
        (removed, {"label": 0, "x_count": 1, "x_n_last": 1})
    ]
    assert "matched by subject, cutoff of the spines" in found.text()
