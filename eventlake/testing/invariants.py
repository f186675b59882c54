"""Invariants of a lake, to be checked after every crash, race and failure."""

from collections.abc import Iterable

import polars as pl

from eventlake.lake import Lake
from eventlake.log.appending.receipt import Receipt

Acknowledged = tuple[Receipt, list[str]]
"""A receipt, and the ids of its batch, in order."""


def assert_sound(
    lake: Lake, acknowledged: Iterable[Acknowledged] = (), *, deep: bool = True
) -> None:
    """Assert that a lake is undamaged and holds every acknowledged event where its receipt says.

    Sequences must be dense, and no event may be stored twice.

    Args:
        lake: The lake, opened after the fault.
        acknowledged: The receipts that were returned before the fault.
        deep: Hash every event again.

    Raises:
        AssertionError: An invariant is broken; the message names it.
    """
    report = lake.verify(deep=deep)
    _hold(report.ok, f"verify found {[str(problem) for problem in report.problems]}")
    snapshot = lake.snapshot()
    events = snapshot.collect(snapshot.scan(["sequence", "source", "id"]))
    _hold(
        events["sequence"].to_list() == list(range(snapshot.watermark)),
        f"sequences are not 0 … {snapshot.watermark - 1}",
    )
    doubled = events.group_by("source", "id").len().filter(pl.col("len") > 1)
    _hold(doubled.is_empty(), f"(source, id) is stored twice: {doubled.rows()}")
    ids = events["id"].to_list()
    # Later commits may not change what a receipt promised, so roots are looked up by watermark.
    roots = {entry.commit.stop: entry.commit.root for entry in lake.log()}
    for receipt, batch in acknowledged:
        found = ids[receipt.start : receipt.stop]
        _hold(found == batch, f"acknowledged {batch} at {receipt.start}, found {found}")
        root = roots.get(receipt.checkpoint.watermark)
        _hold(
            root == receipt.checkpoint.root, f"acknowledged {receipt.checkpoint}, found root {root}"
        )


def _hold(condition: bool, message: str) -> None:  # noqa: FBT001 - an assert that python -O keeps
    if not condition:
        raise AssertionError(message)
