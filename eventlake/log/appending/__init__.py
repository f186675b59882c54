"""Append events: read them, check them, store segments, publish one commit."""
