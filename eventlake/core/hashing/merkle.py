"""The Merkle tree of RFC 6962 (section 2.1) over events, and compact ranges of its leaves.

A compact range represents the leaves ``[start, stop)`` by the roots of its maximal aligned perfect
subtrees, left to right (at most two per level). Adjacent ranges merge without reading a leaf, so
every division of a history gives the same root. The range ``[0, N)``, called the *frontier*, gives
the root.

See https://www.rfc-editor.org/rfc/rfc6962#section-2.1 and the compact ranges of
transparency-dev/merkle.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(event_bytes: bytes) -> bytes:
    """SHA-256(0x00 ‖ event bytes)."""
    # The first byte separates leaves from nodes: without it, the two hashes below a node would be
    # the content of a leaf with the same hash.
    return hashlib.sha256(b"\x00" + event_bytes).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def aligned_levels(start: int, stop: int) -> list[int]:
    """The levels (log2 of the size) of the subtrees of a compact range, left to right."""
    levels = []
    position = start
    while position < stop:
        # Position 0 is aligned to every level, so only the length limits the first subtree.
        aligned = (position & -position).bit_length() - 1 if position else stop.bit_length()
        level = min(aligned, (stop - position).bit_length() - 1)
        levels.append(level)
        position += 1 << level
    return levels


def subtrees(start: int, stop: int) -> int:
    """The number of subtrees of a compact range, which is the number of ``aligned_levels``."""
    if not start:
        return stop.bit_count()
    # In closed form, because every segment of every commit is checked. Below the highest bit in
    # which ``start - 1`` and ``stop`` differ, each 0 of the first and each 1 of the second is a
    # subtree.
    mask = (1 << ((start - 1) ^ stop).bit_length() - 1) - 1 if start < stop else 0
    return (~(start - 1) & mask).bit_count() + (stop & mask).bit_count()


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The leaves ``[start, stop)``, represented by the roots of their subtrees."""

    start: int
    stop: int
    nodes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop or len(self.nodes) != subtrees(self.start, self.stop):
            message = (
                f"expected the subtrees of [{self.start}, {self.stop}), found {len(self.nodes)}"
            )
            raise ValueError(message)

    @classmethod
    def empty(cls, position: int = 0) -> "CompactRange":
        """The range without leaves at ``position``."""
        return cls(position, position, ())

    @classmethod
    def of_leaves(cls, start: int, leaves: Sequence[bytes]) -> "CompactRange":
        """The range of leaf hashes, the first of which has the sequence ``start``."""
        left: list[bytes] = []
        right: list[bytes] = []
        first, level = start, list(leaves)
        while level:
            # The first node is a right child, whose sibling is outside the range: it is a root of
            # its own.
            if first & 1:
                left.append(level.pop(0))
                first += 1
            if len(level) & 1:
                right.append(level.pop())
            level = [node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=True)]
            first >>= 1
        return cls(start, start + len(leaves), (*left, *reversed(right)))

    def __len__(self) -> int:
        """Number of leaves."""
        return self.stop - self.start

    def merge(self, right: "CompactRange") -> "CompactRange":
        """Merge with ``right``, which must start where this range stops; O(log N) hashes."""
        if right.start != self.stop:
            message = (
                f"ranges do not meet: [{self.start}, {self.stop}) and [{right.start}, {right.stop})"
            )
            raise ValueError(message)
        stack: list[tuple[int, int, bytes]] = []
        position = self.start
        levels = aligned_levels(self.start, self.stop) + aligned_levels(right.start, right.stop)
        for level, node in zip(levels, self.nodes + right.nodes, strict=True):
            stack.append((position, level, node))
            position += 1 << level
            # Two neighbours of one level merge if the left one is a left child.
            while (
                len(stack) > 1
                and stack[-1][1] == stack[-2][1]
                and stack[-2][0] >> stack[-2][1] & 1 == 0
            ):
                _, _, last = stack.pop()
                at, height, first = stack.pop()
                stack.append((at, height + 1, node_hash(first, last)))
        return CompactRange(self.start, right.stop, tuple(node for _, _, node in stack))

    def root(self) -> bytes:
        """The RFC 6962 tree hash over these leaves alone.

        Raises:
            ValueError: The range is not aligned like a tree of its size (``[0, N)`` always is).
        """
        if self.start & ((1 << max(len(self) - 1, 0).bit_length()) - 1):
            message = f"[{self.start}, {self.stop}) is not a subtree of a history"
            raise ValueError(message)
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root

    def hex(self) -> list[str]:
        """The nodes in lower-case hex, for documents."""
        return [node.hex() for node in self.nodes]

    @classmethod
    def from_hex(cls, start: int, stop: int, nodes: list[str]) -> "CompactRange":
        """The inverse of ``hex``."""
        return cls(start, stop, tuple(bytes.fromhex(node) for node in nodes))
