"""Projections: versioned definitions from events to rows, and the two runners.

Knows definitions, engines and result tables; must not know where datasets are stored.
May import ``eventlake.history``, ``eventlake.columns``, ``eventlake.core`` and
``eventlake.errors``.
"""
