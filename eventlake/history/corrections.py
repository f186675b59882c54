"""Which events stand once corrections are heard.

An event and whatever corrects it, directly or through others, are one *family*. The newest member
by sequence speaks for it: a replacement stands, under its own time and sequence, and everybody else
is gone; a retraction leaves nobody.
"""

import polars as pl

FAMILY = ["source", "id"]
UNTIL, SPOKE = "eventlake until", "eventlake spoke"
"""Columns that no payload has a field for."""


def gone(corrections: pl.DataFrame) -> pl.DataFrame:
    """The events that do not stand, as ``source`` and ``id``.

    Args:
        corrections: All events of one type that correct another: ``sequence, source, id, corrects,
            correction`` (null means ``replace``).
    """
    if not corrections.height:
        return corrections.select(FAMILY)
    everybody = families(corrections)
    members = corrections.join(everybody, on=FAMILY)
    newest = members.filter(pl.col("sequence") == pl.col("sequence").max().over("source", "root"))
    standing = newest.filter(pl.col("correction").fill_null("replace") == "replace").select(FAMILY)
    return everybody.select(FAMILY).join(standing, on=FAMILY, how="anti").sort(FAMILY)


def families(corrections: pl.DataFrame) -> pl.DataFrame:
    """The members of every family, each once, as ``source``, ``id`` and ``root``, the id of its first event.

    Args:
        corrections: All events of one type that correct another: at least ``source, id, corrects``.
    """
    roots = corrections.select("source", "id", root="corrects")
    while True:
        above = roots.join(
            roots.rename({"id": "root", "root": "above"}), on=["source", "root"], how="left"
        )
        if above["above"].null_count() == above.height:
            break
        roots = above.select("source", "id", root=pl.coalesce("above", "root"))
    firsts = roots.select("source", id="root", root="root").unique()
    return pl.concat([firsts, roots])


def until(corrections: pl.DataFrame) -> pl.DataFrame:
    """How long each member of a family spoke for it: until another one was recorded.

    Args:
        corrections: As for ``gone``, with ``recorded_at``.

    Returns:
        ``source, id``, ``UNTIL`` (an instant, or null where it speaks to this day), ``SPOKE``
        (false for retractions, which say nothing); an event that nothing corrects and that corrects
        nothing is not among them.
    """
    members = families(corrections)
    facts = corrections.select(
        *FAMILY,
        "sequence",
        "recorded_at",
        spoke=pl.col("correction").fill_null("replace") == "replace",
    )
    told = members.join(facts, on=FAMILY, how="left").sort(
        "source", "root", "sequence", nulls_last=False
    )
    later = pl.col("recorded_at").shift(-1).over("source", "root")
    return told.select(
        *FAMILY, later.alias(UNTIL), pl.col("spoke").fill_null(value=True).alias(SPOKE)
    )


def symmetric_difference(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The rows that are in one of two frames of the same columns, and not in the other; null is a value."""
    pairs = ((one, other), (other, one))
    return pl.concat(
        [left.join(right, on=left.columns, how="anti", nulls_equal=True) for left, right in pairs]
    )


def not_first(events: pl.DataFrame, corrections: pl.DataFrame) -> pl.Series:
    """The sequences of the family members that are not what was said of their event when it became known.

    An event becomes known when it has happened and was recorded, whichever is later, unless another
    member of its family was recorded before that moment. The first such member by sequence is what
    was said; a family that was retracted before has none.

    Args:
        events: The members: ``sequence, source, id, time, recorded_at``.
        corrections: As for ``until``.
    """
    spoken = events.join(until(corrections), on=FAMILY).join(families(corrections), on=FAMILY)
    known = pl.max_horizontal("time", pl.col("recorded_at").dt.offset_by("1us"))
    told = spoken.filter(pl.col(SPOKE) & (pl.col(UNTIL).is_null() | (pl.col(UNTIL) >= known)))
    first = told.group_by("source", "root").agg(pl.col("sequence").min())
    return spoken.join(first, on="sequence", how="anti")["sequence"]
