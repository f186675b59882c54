"""Suggestions for attributes and operations that people try and an object does not have.

Knows names and texts; must not know the objects. Imports nothing of eventlake.
"""
