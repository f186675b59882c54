"""Keys: 64-bit numbers by which the log finds events, subjects, producers and commits.

docs/reference/format.md, "Keys", defines them. Looking one up reads none of these.

The upper 48 bits are a fingerprint, the lower 16 a *cell* that says in which commits to look. A key
that is met is a suspicion only; the caller reads the commit to confirm it. The hash is XXH3
(https://github.com/Cyan4973/xxHash), which is the same in every version.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import polars_hash as plh

Keys = npt.NDArray[np.uint64]
Versions = npt.NDArray[np.uint32]

CELL_BITS = 16
CELLS = 1 << CELL_BITS
_CELL = np.uint64(CELLS - 1)
_FINGERPRINT = ~_CELL
_FEW = 1_000
"""Up to this many subjects are processed one by one, which is faster than ten vectors."""
_XXH3 = plh.col("text").nchash.xxh3_64()
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio; makes ``(source, id)`` and ``(id, source)`` differ."""


def event_keys(events: pl.DataFrame) -> Keys:
    """The key of every row's ``(source, id)``, in row order, all in cell 0."""
    hashes = events.select(plh.col("source").nchash.xxh3_64(), plh.col("id").nchash.xxh3_64())
    source, name = (hashes[column].fill_null(0).to_numpy() for column in ("source", "id"))
    found: Keys = (name + source * _SPREAD) & _FINGERPRINT
    return found


def text_keys(kind: str, texts: pl.Series) -> Keys:
    """The keys of texts of one kind, in order, all in cell 0.

    Args:
        kind: ``subject``, ``below``, ``producer``, ``position`` or ``commit``.
        texts: The texts.
    """
    found: Keys = _hashed(f"{kind}\x1f" + texts) & _FINGERPRINT
    return found


def text_key(kind: str, text: str) -> int:
    """The key of one text, as in ``text_keys``."""
    return int(few_text_keys([(kind, text)])[0])


def few_text_keys(texts: Iterable[tuple[str, str]]) -> Keys:
    """The keys of a few texts, each with its kind, in one call."""
    return _hashed([f"{kind}\x1f{text}" for kind, text in texts]) & _FINGERPRINT


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
    ) & _FINGERPRINT
    return found, distinct(of_texts & _FINGERPRINT)


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


def in_cell(keys: Keys, cell: int) -> Keys:
    """Move keys of cell 0 to another cell."""
    return keys | np.uint64(cell)


@dataclass(frozen=True, slots=True)
class KeyRun:
    """The keys of a run of commits.

    Attributes:
        start: The first version.
        shift: Cell ``c`` of an event key stands for the versions ``v`` with
            ``(v >> shift) - (start >> shift) == c``.
        ids: Event keys, sorted; a fingerprint may be repeated.
        heads: Distinct keys of subjects, producers and commit ids, sorted, all in cell 0.
        versions: The newest version that contains each of ``heads``.
    """

    start: int
    shift: int
    ids: Keys
    heads: Keys
    versions: Versions

    def versions_of(self, cell: int) -> range:
        """The versions of a cell of ``ids``; the last ones may be beyond the run."""
        first = (cell + (self.start >> self.shift)) << self.shift
        return range(max(first, self.start), first + (1 << self.shift))


def found_ids(ids: Keys, wanted: Keys) -> Keys:
    """The keys of ``ids`` (sorted) whose fingerprint is in ``wanted`` (sorted, cell 0)."""
    if not len(ids) or not len(wanted):
        return ids[:0]
    place = np.searchsorted(ids, wanted)
    # The first key that is not smaller has the wanted fingerprint, or none has. ``place`` may be at
    # the end.
    hits = (ids[np.minimum(place, len(ids) - 1)] & _FINGERPRINT) == wanted
    if not hits.any():
        return ids[:0]
    # The lower bits are the cell: keys with one fingerprint are neighbours, whatever their cells.
    last = np.searchsorted(ids, wanted[hits] | _CELL, side="right")
    return np.concatenate(
        [ids[first:stop] for first, stop in zip(place[hits].tolist(), last.tolist(), strict=True)]
    )


def rows_of(keys: Keys, found: Keys) -> npt.NDArray[np.int64]:
    """The rows of ``keys`` (any order, cell 0) that have a fingerprint in ``found``."""
    return np.flatnonzero(np.isin(keys, found & _FINGERPRINT))


def doubled(ids: Keys) -> Keys:
    """The fingerprints that are repeated in ``ids`` (sorted, cell 0)."""
    return distinct(ids[1:][ids[1:] == ids[:-1]])


def merged(runs: Sequence[KeyRun], stop: int) -> KeyRun:
    """Merge runs of consecutive commits, oldest first and all before version ``stop``."""
    start = runs[0].start
    shift = shift_of(start, stop, max(run.shift for run in runs))
    # Each run is nearly sorted, even if its cells became coarser. A stable sort merges such runs in
    # a quarter of the time.
    ids = np.sort(np.concatenate([_moved(run, start, shift) for run in runs]), kind="stable")
    keys = np.concatenate([run.heads for run in runs])
    versions = np.concatenate([run.versions for run in runs])
    return KeyRun(start, shift, ids, *newest_of(keys, versions))


def shift_of(start: int, stop: int, least: int = 0) -> int:
    """The smallest shift for which cells of 16 bits cover the commits ``[start, stop)``."""
    shift = least
    while ((stop - 1) >> shift) - (start >> shift) >= CELLS:
        shift += 1
    return shift


def newest_of(keys: Keys, versions: Versions) -> tuple[Keys, Versions]:
    """Sort the keys and keep each once, with its newest version."""
    # Within a key by version, so that the last one is the newest.
    order = np.lexsort((versions, keys))
    keys, versions = keys[order], versions[order]
    newest = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
    return keys[newest], versions[newest]


def _moved(run: KeyRun, start: int, shift: int) -> Keys:
    """A run's event keys with cells relative to another start and a coarser shift."""
    if run.shift == shift:
        # Every cell moves by the same number of places, so the keys stay sorted.
        return run.ids + np.uint64((run.start >> shift) - (start >> shift))
    cells = (
        ((run.ids & _CELL) + np.uint64(run.start >> run.shift)) >> np.uint64(shift - run.shift)
    ) - np.uint64(start >> shift)
    return (run.ids & _FINGERPRINT) | cells


def distinct(keys: Keys) -> Keys:
    """Sort the keys and keep each once; ``np.unique`` takes ten times as long."""
    ordered: Keys = np.sort(keys)
    once: Keys = ordered[np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]]
    return once


def of_commit(version: int, ids: Keys, heads: Keys) -> KeyRun:
    """The keys of one commit, whose ``ids`` and ``heads`` are sorted and in cell 0."""
    return KeyRun(version, 0, ids, heads, np.full(len(heads), version, np.uint32))
