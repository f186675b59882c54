"""A pinned history in SQL: the tables that a query reads, DuckDB's views, and results."""
