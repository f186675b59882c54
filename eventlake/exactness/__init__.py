"""Whether a query gives the same rows to the last bit for ever: an allow-list over DuckDB's bound, typed plan, read as JSON."""
