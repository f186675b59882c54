"""Finds the parts of a plan on DuckDB. The twin of ``on_polars``."""
