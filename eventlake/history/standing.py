"""Which events stand once corrections are heard.

An event and whatever corrects it, directly or through others, are one *family*. The newest member by sequence speaks for it: a replacement
stands, under its own time and sequence, and everybody else is gone; a retraction leaves nobody.
"""

import polars as pl

FAMILY = ["source", "id"]
UNTIL, SPOKE = "eventlake until", "eventlake spoke"
"""Columns that no payload has a field for."""


def gone(corrections: pl.DataFrame) -> pl.DataFrame:
    """The events that do not stand, as ``source`` and ``id``.

    Args:
        corrections: All events of one type that correct another: ``sequence, source, id, corrects, correction`` (null means ``replace``).
    """
    if not corrections.height:
        return corrections.select(FAMILY)
    everybody = _members(corrections.select("source", "id", root="corrects"))
    members = corrections.join(everybody, on=FAMILY)
    newest = members.filter(pl.col("sequence") == pl.col("sequence").max().over("source", "root"))
    standing = newest.filter(pl.col("correction").fill_null("replace") == "replace").select(FAMILY)
    return everybody.select(FAMILY).join(standing, on=FAMILY, how="anti").sort(FAMILY)


def _members(roots: pl.DataFrame) -> pl.DataFrame:
    """All members of all families, as ``source, id, root``, each once; given what each correction corrects, as ``root``."""
    while True:
        above = roots.join(roots.rename({"id": "root", "root": "above"}), on=["source", "root"], how="left")
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
        ``source, id``, ``UNTIL`` (an instant, or null where it speaks to this day), ``SPOKE`` (false for retractions, which say nothing);
        an event that nothing corrects and that corrects nothing is not among them.
    """
    members = _members(corrections.select("source", "id", root="corrects"))
    facts = corrections.select(*FAMILY, "sequence", "recorded_at", spoke=pl.col("correction").fill_null("replace") == "replace")
    told = members.join(facts, on=FAMILY, how="left").sort("source", "root", "sequence", nulls_last=False)
    later = pl.col("recorded_at").shift(-1).over("source", "root")
    return told.select(*FAMILY, later.alias(UNTIL), pl.col("spoke").fill_null(value=True).alias(SPOKE))


def in_one_alone(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The rows that are in one of two frames of the same columns, and not in the other; null is a value."""
    pairs = ((one, other), (other, one))
    return pl.concat([left.join(right, on=left.columns, how="anti", nulls_equal=True) for left, right in pairs])
