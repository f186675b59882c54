"""What must hold of a lake whatever happened to it: to be asked after every crash, race and failure."""

from collections.abc import Iterable

import polars as pl

from eventlake.lake import Lake
from eventlake.log.appending.receipt import Receipt

Acknowledged = tuple[Receipt, list[str]]
"""A receipt, and the ids of the batch that it was given for, in order."""


def assert_sound(
    lake: Lake, acknowledged: Iterable[Acknowledged] = (), *, deep: bool = True
) -> None:
    """Sequences are dense, no event stands twice, nothing is damaged, and every acknowledged event is where its receipt says.

    Args:
        lake: As opened after the fault.
        acknowledged: The receipts that were given before it.
        deep: Hash every event again.

    Raises:
        AssertionError: Something of it does not hold; it says what.
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
    _hold(doubled.is_empty(), f"(source, id) stands twice: {doubled.rows()}")
    ids = events["id"].to_list()
    roots = {entry.commit.stop: entry.commit.root for entry in lake.log()}
    for receipt, batch in acknowledged:
        found = ids[receipt.start : receipt.stop]
        _hold(found == batch, f"acknowledged {batch} at {receipt.start}, found {found}")
        root = roots.get(receipt.checkpoint.watermark)
        _hold(
            root == receipt.checkpoint.root, f"acknowledged {receipt.checkpoint}, found root {root}"
        )


def _hold(condition: bool, message: str) -> None:  # noqa: FBT001 - reads like assert, and python -O leaves it in
    if not condition:
        raise AssertionError(message)
