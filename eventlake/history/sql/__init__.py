"""A pinned history as SQL: the tables that a query reads, DuckDB's views, and results."""
