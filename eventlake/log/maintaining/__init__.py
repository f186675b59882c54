"""Maintain the log: fold, compact, collect garbage, register schemas."""
