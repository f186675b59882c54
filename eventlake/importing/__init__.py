"""Import tables: a mapping turns their rows into events, which are appended batch by batch.

Knows mappings, files, DuckDB and Polars, and of the lake only its verbs. May import ``lake`` and
the layers below; the command line imports it.
"""
