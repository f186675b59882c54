"""The log: a chain of commits, read, appended to (validate → encode → segment → commit) and kept.

Knows commits, segments and the storage port; must not know projections, datasets or how a history
is queried. May import ``eventlake.columns``, ``eventlake.storage``, ``eventlake.core`` and
``eventlake.errors``.
"""
