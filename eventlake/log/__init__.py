"""The log: reading the chain of commits, and appending to it (validate → encode → segment → commit).

Knows commits, segments and the storage port; must not know projections, datasets or how a history
is queried. May import ``eventlake.columns``, ``eventlake.storage``, ``eventlake.core`` and
``eventlake.errors``.
"""
