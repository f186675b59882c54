"""Point-in-time features: declared and planned once, run by either engine, finished once.

``definition`` and ``feature_set`` say what a user may declare, ``declare`` how it is written;
``plan`` makes of it the exact numbers that are needed; ``duckdb_parts`` and ``polars_parts`` find
these for every row of the spine, and know nothing of each other; what either made of events alone
is kept by ``prefixes``; ``finish`` makes columns of parts. Knows events and instants; must not know
what a projection or a dataset is. May import ``history`` and what is below.
"""
