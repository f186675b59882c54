"""The read side: a history pinned at a checkpoint, read with Polars or SQL, and its verification.

Knows the chain and the segments; must not know projections or datasets beyond reading a checkpoint
out of a dataset manifest. May import ``eventlake.log``, ``eventlake.columns``,
``eventlake.storage``, ``eventlake.core`` and ``eventlake.errors``.
"""
