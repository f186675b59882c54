"""Schemas: one per event type, versioned; converted from other definitions, checked in batches.

Knows types, fields and payload text; must not know where events are stored. May import
``eventlake.core`` and ``eventlake.columns``.
"""
