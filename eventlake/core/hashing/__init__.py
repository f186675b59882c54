"""Canonical JSON, event leaves, the Merkle tree, and proofs."""
