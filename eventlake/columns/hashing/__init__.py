"""Leaf hashes of events and content hashes of datasets, vectorised."""
