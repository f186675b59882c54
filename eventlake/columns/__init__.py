"""Vectorized work on Arrow: checked event columns, leaf hashes, segments and content hashes.

Knows Arrow, Parquet and Polars' vector functions; must not know stores, commits in a log, clocks or
projections. May import ``eventlake.core`` and ``eventlake.errors``.
"""
