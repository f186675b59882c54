"""Which events stand once corrections are heard.

An event and whatever corrects it, directly or through others, are one *family*. The newest member by sequence speaks for it: a replacement
stands, under its own time and sequence, and everybody else is gone; a retraction leaves nobody.
"""

import polars as pl

FAMILY = ["source", "id"]


def gone(corrections: pl.DataFrame) -> pl.DataFrame:
    """The events that do not stand, as ``source`` and ``id``.

    Args:
        corrections: All events of one type that correct another: ``sequence, source, id, corrects, correction`` (null means ``replace``).
    """
    if not corrections.height:
        return corrections.select(FAMILY)
    roots = corrections.select("source", "id", root="corrects")
    while True:
        above = roots.join(roots.rename({"id": "root", "root": "above"}), on=["source", "root"], how="left")
        if above["above"].null_count() == above.height:
            break
        roots = above.select("source", "id", root=pl.coalesce("above", "root"))
    members = corrections.join(roots, on=FAMILY)
    newest = members.filter(pl.col("sequence") == pl.col("sequence").max().over("source", "root"))
    standing = newest.filter(pl.col("correction").fill_null("replace") == "replace").select(FAMILY)
    everybody = pl.concat([roots.select("source", id="root"), roots.select(FAMILY)]).unique()
    return everybody.join(standing, on=FAMILY, how="anti").sort(FAMILY)
