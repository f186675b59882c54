"""Tables that are not events yet: a mapping says what events their rows are, and they are appended batch by batch.

Knows mappings, files, DuckDB and Polars; of the lake it knows the verbs. May import ``lake`` and
whatever is below; faces import it.
"""
