"""Point-in-time features: declared and planned once, run by either engine, finished once.

``declared`` holds what a user may declare; ``planned`` compiles it to *parts*, the exact numbers
that are needed; ``on_duckdb`` and ``on_polars`` find the parts for every row of the spine, and know
nothing of each other; ``engine_cache`` keeps what they computed from events alone; ``finish`` makes
columns of parts, as the table in ``aggregates`` says; ``spines`` makes spines of events.

Knows events and instants; must not know what a projection or a dataset is. May import ``history``
and what is below.
"""
