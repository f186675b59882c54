"""Verify that the positions of every producer follow one another over all commits."""

from collections.abc import Mapping

from eventlake.core import layout
from eventlake.history.verifying.report import Tally
from eventlake.log.chain.entry import Entry


def verify_producers(entries: Mapping[int, Entry], tally: Tally) -> None:
    """Report every commit with a position that is not its producer's next one.

    Args:
        entries: The readable commits, by version. After a missing one, a producer may be at any
            position.
        tally: Collects the findings.
    """
    expected: dict[str, int] = {}
    last = -1
    for version, entry in sorted(entries.items()):
        if version != last + 1:
            # The missing commit may have delivered any number of batches.
            expected.clear()
        last = version
        for one in entry.commit.deliveries:
            name, position = one.position.producer, one.position.position
            if expected.setdefault(name, position) != position:
                tally.blame(
                    layout.commit_path(version),
                    f"expected position {expected[name]} of {name}, found {position}",
                )
            expected[name] = position + 1
