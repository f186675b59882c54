"""Inclusion and consistency proofs, which can be checked without the lake.

Paths and their verification follow RFC 9162, sections 2.1.3 and 2.1.4; the tree is that of RFC
6962. An inclusion proof is written as C2SP's tlog-proof (https://c2sp.org/tlog-proof) with the
checkpoint as a C2SP note body. Signatures are not part of it.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.leaf import event_bytes
from eventlake.core.hashing.merkle import leaf_hash, node_hash
from eventlake.errors import InvalidInputError

TLOG_PROOF = "c2sp.org/tlog-proof@v1"
LeafRange = tuple[int, int]


def inclusion_ranges(index: int, size: int) -> list[LeafRange]:
    """PATH of RFC 9162, 2.1.3.1, as ranges of leaves.

    Returns:
        The ranges whose roots are the path from leaf ``index`` to the root of ``[0, size)``,
        nearest first.
    """
    if not 0 <= index < size:
        message = f"expected a sequence from 0 to {size - 1:,}, found {index:,}"
        raise InvalidInputError(message)
    ranges: list[LeafRange] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[LeafRange]:
    """PROOF of RFC 9162, 2.1.4.1, as ranges of leaves.

    Returns:
        The ranges whose roots prove that ``[0, new)`` extends ``[0, old)``; empty if ``old`` is 0
        or equal to ``new``.
    """
    if not 0 <= old <= new:
        message = f"expected an old watermark from 0 to {new:,}, found {old:,}"
        raise InvalidInputError(message)
    if old in {0, new}:
        return []
    ranges: list[LeafRange] = []
    start, stop, whole = 0, new, True
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    return ([] if whole else [(start, stop)]) + ranges[::-1]


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """A proof that one event is at one sequence of one history.

    Attributes:
        checkpoint: The history.
        sequence: Sequence of the event.
        path: Hashes from the leaf's sibling to the root's child.
    """

    checkpoint: Checkpoint
    sequence: int
    path: tuple[bytes, ...]

    def holds_for(self, event: Mapping[str, str | int | None]) -> bool:
        """Whether exactly this event is there, given as for ``core.hashing.leaf.event_bytes``."""
        return self.holds_for_leaf(leaf_hash(event_bytes(event)))

    def holds_for_leaf(self, leaf: bytes) -> bool:
        """Whether an event with this leaf hash is there: RFC 9162, section 2.1.3.2."""
        first, last, root = self.sequence, self.checkpoint.watermark - 1, leaf
        if not 0 <= first <= last:
            return False
        for node in self.path:
            # The path is longer than the tree is deep.
            if last == 0:
                return False
            if first & 1 or first == last:
                root = node_hash(node, root)
                while first and not first & 1:
                    first, last = first >> 1, last >> 1
            else:
                root = node_hash(root, node)
            first, last = first >> 1, last >> 1
        return last == 0 and root.hex() == self.checkpoint.root

    def text(self) -> str:
        """The proof as C2SP's tlog-proof with an unsigned checkpoint."""
        hashes = "".join(f"{_base64(node)}\n" for node in self.path)
        return f"{TLOG_PROOF}\nindex {self.sequence}\n{hashes}\n{self.checkpoint.note()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a tlog-proof, ignoring signatures and an ``extra`` line.

        Raises:
            InvalidInputError: The text is not a tlog-proof.
        """
        head, _, note = text.partition("\n\n")
        lines = [line for line in head.split("\n") if not line.startswith("extra ")]
        index = lines[1].removeprefix("index ") if len(lines) > 1 else ""
        # ``isdigit`` alone accepts ``²``, which ``int`` does not.
        if lines[0] != TLOG_PROOF or not (index.isascii() and index.isdigit()):
            message = (
                f"expected a proof that begins with {TLOG_PROOF!r} and 'index N', found {lines[:2]}"
            )
            raise InvalidInputError(message)
        return cls(Checkpoint.from_note(note), int(index), tuple(_hash(line) for line in lines[2:]))


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """A proof that a history extends an older one, without changing, losing or reordering events.

    Attributes:
        old: The earlier checkpoint.
        new: The later one, of the same origin.
        path: Hashes in the order of RFC 9162.
    """

    old: Checkpoint
    new: Checkpoint
    path: tuple[bytes, ...]

    def holds(self) -> bool:
        """Whether the path is valid: RFC 9162, section 2.1.4.2."""
        old, new = self.old, self.new
        # The tree does not cover the origin, so the path says nothing about it.
        if old.origin != new.origin or old.watermark > new.watermark:
            return False
        if old.watermark == new.watermark:
            return old.root == new.root and not self.path
        if old.watermark == 0:
            return not self.path
        return self._folds()

    def _folds(self) -> bool:
        first, last = self.old.watermark - 1, self.new.watermark - 1
        path = list(self.path)
        while first & 1:
            first, last = first >> 1, last >> 1
        # The path omits its first node if the old tree is a single perfect subtree: that node is
        # the old root.
        start = path.pop(0) if first and path else bytes.fromhex(self.old.root)
        old_root = new_root = start
        for node in path:
            if last == 0:
                return False
            if first & 1 or first == last:
                old_root, new_root = node_hash(node, old_root), node_hash(node, new_root)
                while first and not first & 1:
                    first, last = first >> 1, last >> 1
            else:
                new_root = node_hash(new_root, node)
            first, last = first >> 1, last >> 1
        return last == 0 and old_root.hex() == self.old.root and new_root.hex() == self.new.root


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(line: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except binascii.Error:
        data = b""
    if len(data) != 32:  # noqa: PLR2004 - SHA-256
        message = f"expected a hash of 32 bytes in base64, found {line!r}"
        raise InvalidInputError(message)
    return data
