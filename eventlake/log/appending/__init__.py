"""Appending: read events, check them, store segments, publish one commit."""
