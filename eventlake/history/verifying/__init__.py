"""Verify a history: the log, segments, keys, manifest, producers and event tables."""
