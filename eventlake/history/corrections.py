"""Apply corrections: which events are superseded, and for how long each was valid.

An event and the events that correct it, directly or indirectly, are a *family*. Only its newest
member by sequence is valid: a replacement counts with its own time and sequence, and supersedes all
other members; a retraction supersedes every member, itself included.
"""

import polars as pl

FAMILY = ["source", "id"]
UNTIL, SPOKE = "eventlake until", "eventlake spoke"
"""Names of the columns of ``lifetimes``; the space keeps them apart from fields of payloads."""


def superseded(corrections: pl.DataFrame) -> pl.DataFrame:
    """The events superseded by a correction, as ``source`` and ``id``.

    Args:
        corrections: All events of one type that correct another: ``sequence, source, id, corrects,
            correction`` (null means ``replace``).
    """
    if not corrections.height:
        return corrections.select(FAMILY)
    members = families(corrections)
    correcting = corrections.join(members, on=FAMILY)
    newest = correcting.filter(
        pl.col("sequence") == pl.col("sequence").max().over("source", "root")
    )
    valid = newest.filter(pl.col("correction").fill_null("replace") == "replace").select(FAMILY)
    return members.select(FAMILY).join(valid, on=FAMILY, how="anti").sort(FAMILY)


def families(corrections: pl.DataFrame) -> pl.DataFrame:
    """The members of every family, once each: ``source``, ``id``, ``root`` (its first event's id).

    Args:
        corrections: All events of one type that correct another: at least ``source, id, corrects``.
    """
    roots = corrections.select("source", "id", root="corrects")
    # Each pass doubles the distance that every event's root has moved towards the first event.
    while True:
        above = roots.join(
            roots.rename({"id": "root", "root": "above"}), on=["source", "root"], how="left"
        )
        if above["above"].null_count() == above.height:
            break
        # A root that is corrected by nothing above it is the first event, and stays.
        roots = above.select("source", "id", root=pl.coalesce("above", "root"))
    # First events correct nothing, so they are not among the rows yet.
    firsts = roots.select("source", id="root", root="root").unique()
    return pl.concat([firsts, roots])


def lifetimes(corrections: pl.DataFrame) -> pl.DataFrame:
    """The end of each family member's lifetime: when the next member was recorded.

    Args:
        corrections: As for ``superseded``, with ``recorded_at``.

    Returns:
        ``source, id``, ``UNTIL`` (an instant; null for the newest member), ``SPOKE`` (false for
        retractions, which have no content). Events without corrections are not included.
    """
    members = families(corrections)
    facts = corrections.select(
        *FAMILY,
        "sequence",
        "recorded_at",
        spoke=pl.col("correction").fill_null("replace") == "replace",
    )
    # The first event is not a correction, so its sequence is null and sorts first.
    ordered = members.join(facts, on=FAMILY, how="left").sort(
        "source", "root", "sequence", nulls_last=False
    )
    later = pl.col("recorded_at").shift(-1).over("source", "root")
    return ordered.select(
        *FAMILY, later.alias(UNTIL), pl.col("spoke").fill_null(value=True).alias(SPOKE)
    )


def symmetric_difference(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The rows that are in exactly one of two frames with the same columns; nulls are equal."""
    pairs = ((one, other), (other, one))
    return pl.concat(
        # Two anti joins and not a union without duplicates, which would keep rows of both frames.
        [left.join(right, on=left.columns, how="anti", nulls_equal=True) for left, right in pairs]
    )


def not_first_known(events: pl.DataFrame, corrections: pl.DataFrame) -> pl.Series:
    """The sequences of family members other than the version first known.

    An event becomes known when it has happened and was recorded, whichever is later, unless another
    member of its family was recorded before that. The first such member by sequence is the version
    first known. A family that was retracted before has none.

    Args:
        events: The members: ``sequence, source, id, time, recorded_at``.
        corrections: As for ``lifetimes``.
    """
    members = events.join(lifetimes(corrections), on=FAMILY).join(families(corrections), on=FAMILY)
    # An event is known to cutoffs after its ``recorded_at``, hence the microsecond.
    known = pl.max_horizontal("time", pl.col("recorded_at").dt.offset_by("1us"))
    visible = members.filter(pl.col(SPOKE) & (pl.col(UNTIL).is_null() | (pl.col(UNTIL) >= known)))
    first = visible.group_by("source", "root").agg(pl.col("sequence").min())
    return members.join(first, on="sequence", how="anti")["sequence"]
