"""Schemas: one per event type, versioned; from foreign definitions, against a history, over a batch.

Knows types, fields and payload text; must not know where events are stored. May import
``eventlake.core`` and ``eventlake.columns``.
"""
