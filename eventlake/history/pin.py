"""Pin a history: find its segments and compute its root."""

from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.merkle import EMPTY_ROOT, CompactRange
from eventlake.errors import CorruptionError
from eventlake.history.pinned import PinnedHistory
from eventlake.history.stretch import Stretch
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.checked_read import foreign_commits, part_of
from eventlake.log.maintaining.check_compaction import check_compacted
from eventlake.trust import statement


def pin(chain: Chain, watermark: int) -> PinnedHistory:
    """Pin the history of ``chain`` below ``watermark``, which must not be beyond the head.

    At the end of a commit, the root is the commit's own. Inside a commit, one segment is read.
    """
    manifest = chain.manifest()
    stretches = tuple(
        Stretch(summary, segment, min(segment.stop, watermark))
        for summary, segment in manifest.between(0, watermark)
    )
    # A compaction may keep the root and still change ``recorded_at``, which no leaf hash covers.
    check_compacted(chain, [stretch.placed for stretch in stretches])
    catalogue = chain.catalogue()
    # There is no commit before the first event that could name the root.
    if not watermark:
        empty = Checkpoint(chain.origin, 0, EMPTY_ROOT.hex())
        return PinnedHistory(
            chain.storage, empty, None, stretches, manifest, catalogue, chain.trust
        )
    last = manifest.commits[manifest.version_of(watermark - 1)]
    checkpoint = Checkpoint(chain.origin, watermark, _root(chain, stretches, last, watermark))
    return PinnedHistory(
        chain.storage, checkpoint, last.commit_hash, stretches, manifest, catalogue, chain.trust
    )


def _root(chain: Chain, stretches: tuple[Stretch, ...], last: CommitSummary, watermark: int) -> str:
    """The root at a watermark.

    Args:
        chain: The lake's log.
        stretches: The segments of the history.
        last: The commit that contains the last event below the watermark.
        watermark: The watermark.

    Raises:
        CorruptionError: Another user wrote some of the commits, and their segments do not fold to
            the root that ``last`` names.
    """
    foreign = foreign_commits(
        [*(stretch.placed for stretch in stretches), (last, stretches[-1].segment)], chain.trust
    )
    # Trusted commits say what their root is, so nothing is folded.
    if not foreign:
        return (
            last.root
            if last.stop == watermark
            else _root_inside(chain, stretches, last.version, watermark)
        )
    # Other users wrote parts of the manifest: fold all segments that are read, and compare.
    nodes = [(stretch.segment.start, *stretch.segment.nodes) for stretch in stretches]
    folded = statement("root", last.root, watermark, nodes)
    # Folding thousands of segments takes a while, so it is remembered.
    if last.stop == watermark and chain.trust.ledger.knows(folded):
        return last.root
    total = CompactRange.empty()
    for stretch in stretches:
        if stretch.segment.start != total.stop:
            message = f"no segment holds the events {total.stop:,}-{stretch.segment.start:,}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", version=last.version)
        total = total.merge(
            part_of(chain.storage, stretch.placed, chain.trust, stretch.segment.start, stretch.stop)
        )
    root = total.root().hex()
    if last.stop == watermark:
        if root != last.root:
            message = (
                f"the segments fold to root {root} at {watermark:,}, "
                f"commit {last.version} says {last.root}"
            )
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", version=last.version)
        chain.trust.ledger.note([folded])
    return root


def _root_inside(chain: Chain, stretches: tuple[Stretch, ...], version: int, watermark: int) -> str:
    """The root at a watermark inside commit ``version``."""
    # The commit before has folded everything up to its own end.
    frontier = chain.entry(version - 1).commit.range if version else CompactRange.empty()
    for stretch in stretches:
        segment = stretch.segment
        if segment.stop > frontier.stop:
            first, stop = max(segment.start, frontier.stop), min(segment.stop, watermark)
            frontier = frontier.merge(
                part_of(chain.storage, stretch.placed, chain.trust, first, stop)
            )
    return frontier.root().hex()
