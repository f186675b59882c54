"""What keeps a lake small and tidy: compaction, folding, garbage collection."""
