"""Event tables: the events of one type as typed columns, derived from segments.

They are a cache beside the lake that may be deleted at any time. Knows segments, schemas and
Parquet; must not know snapshots or query engines. May import ``eventlake.log`` and everything it
may.
"""
