"""Keys: 64-bit numbers by which the log finds events, subjects, producers and commits.

docs/reference/format.md, "Keys", defines them. Looking one up reads none of these.

The upper 48 bits are a fingerprint, the lower 16 a *cell* that says in which commits to look. A key
that is met is a suspicion only; the caller reads the commit to confirm it. The hash is XXH3
(https://github.com/Cyan4973/xxHash), which is the same in every version.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import polars_hash as plh

from eventlake.columns.keys.key_runs import FINGERPRINT, Keys, Versions, distinct

_FEW = 1_000
"""Up to this many subjects are processed one by one, which is faster than ten vectors."""
_XXH3 = plh.col("text").nchash.xxh3_64()
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio; makes ``(source, id)`` and ``(id, source)`` differ."""


def event_keys(events: pl.DataFrame) -> Keys:
    """The key of every row's ``(source, id)``, in row order, all in cell 0."""
    hashes = events.select(plh.col("source").nchash.xxh3_64(), plh.col("id").nchash.xxh3_64())
    source, name = (hashes[column].fill_null(0).to_numpy() for column in ("source", "id"))
    found: Keys = (name + source * _SPREAD) & FINGERPRINT
    return found


def text_keys(kind: str, texts: pl.Series) -> Keys:
    """The keys of texts of one kind, in order, all in cell 0.

    Args:
        kind: ``subject``, ``below``, ``producer``, ``position`` or ``commit``.
        texts: The texts.
    """
    found: Keys = _hashed(f"{kind}\x1f" + texts) & FINGERPRINT
    return found


def text_key(kind: str, text: str) -> int:
    """The key of one text, as in ``text_keys``."""
    return int(few_text_keys([(kind, text)])[0])


def few_text_keys(texts: Iterable[tuple[str, str]]) -> Keys:
    """The keys of a few texts, each with its kind, in one call."""
    return _hashed([f"{kind}\x1f{text}" for kind, text in texts]) & FINGERPRINT


def subject_keys(events: pl.DataFrame) -> Keys:
    """Distinct keys of the subjects (``subject``) and their ancestors (``below``), unordered."""
    subjects = events["subject"].drop_nulls().unique()
    if len(subjects) <= _FEW:
        return distinct(few_text_keys(_texts_of(subjects.to_list())))
    found = [text_keys("subject", subjects)]
    above = parents(subjects)
    while len(above):
        found.append(text_keys("below", above))
        above = parents(above)
    return distinct(np.concatenate(found))


def keys_of_few(
    sources: Sequence[str], ids: Sequence[str], subjects: Iterable[str | None]
) -> tuple[Keys, Keys]:
    """``event_keys`` and ``subject_keys`` in one call, to save time in small batches."""
    distinct_sources = dict.fromkeys(sources)
    place = {source: at for at, source in enumerate(distinct_sources)}
    texts = _texts_of(subject for subject in subjects if subject is not None)
    hashes = _hashed([*ids, *distinct_sources, *(f"{kind}\x1f{text}" for kind, text in texts)])
    names, of_sources, of_texts = np.split(hashes, [len(ids), len(ids) + len(place)])
    found: Keys = (
        names + of_sources[[place[source] for source in sources]] * _SPREAD
    ) & FINGERPRINT
    return found, distinct(of_texts & FINGERPRINT)


def _texts_of(subjects: Iterable[str]) -> list[tuple[str, str]]:
    """The texts that subjects are found by, each with its kind."""
    subjects = set(subjects)
    below: set[str] = set()
    above = subjects
    # Ancestors that are known already end the walk, since theirs are known too.
    while (
        above := {parent for subject in above if (parent := parent_of_one(subject)) is not None}
        - below
    ):
        below |= above
    return [
        *(("subject", subject) for subject in subjects),
        *(("below", subject) for subject in below),
    ]


def parent_of_one(subject: str) -> str | None:
    """The parent of a subject; None if it has none."""
    if "/" not in subject or subject == "/":
        return None
    return subject.rpartition("/")[0] or "/"


def _hashed(texts: pl.Series | list[str]) -> Keys:
    column = (
        texts.alias("text") if isinstance(texts, pl.Series) else pl.Series("text", texts, pl.String)
    )
    hashes: Keys = column.to_frame().select(_XXH3).to_series().to_numpy()
    return hashes


def subject_heads(subjects: pl.Series, versions: pl.Series) -> tuple[Keys, Versions]:
    """``subject_keys`` of many commits, each with the newest version that has it, unordered."""
    newest = (
        pl.DataFrame({"subject": subjects, "version": versions})
        .drop_nulls()
        .group_by("subject")
        .agg(pl.max("version"))
    )
    keys, found = [text_keys("subject", newest["subject"])], [newest["version"].to_numpy()]
    while newest.height:
        newest = (
            newest.with_columns(parent_of(newest["subject"]).alias("subject"))
            .drop_nulls()
            .group_by("subject")
            .agg(pl.max("version"))
        )
        keys.append(text_keys("below", newest["subject"]))
        found.append(newest["version"].to_numpy())
    return np.concatenate(keys), np.concatenate(found).astype(np.uint32)


def parents(subjects: pl.Series) -> pl.Series:
    """The distinct parents of subjects.

    ``/loan/7`` is below ``/loan``, which is below ``/``; ``loan`` has no parent.
    """
    return parent_of(subjects).drop_nulls().unique()


def parent_of(subjects: pl.Series) -> pl.Series:
    """The parent of each subject; null if it has none."""
    above = pl.when(
        pl.col("subject").str.contains("/", literal=True) & (pl.col("subject") != "/")
    ).then(pl.col("subject").str.replace("/[^/]*$", ""))
    return (
        subjects.alias("subject")
        .to_frame()
        .select(subject=above)
        .select(pl.col("subject").replace("", "/"))["subject"]
    )
