"""Stored datasets: their files, tags, retention and removal."""
