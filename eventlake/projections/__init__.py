"""Projections: definitions that turn events into rows, their kinds, and the engines that run them.

Knows definitions, engines and result tables, but not where datasets are stored.
May import ``eventlake.history``, ``eventlake.columns``, ``eventlake.core`` and
``eventlake.errors``.
"""
