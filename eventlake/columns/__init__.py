"""Vectorised work on Arrow: from what a caller hands in to checked event columns, leaf hashes, segment bytes and content hashes.

Knows Arrow, Parquet and Polars' vector functions; must not know stores, commits in a log, clocks or
projections. May import ``eventlake.core`` and ``eventlake.errors``.
"""
