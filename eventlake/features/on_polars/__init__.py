"""Finds the parts of a plan on Polars. The twin of ``on_duckdb``."""
