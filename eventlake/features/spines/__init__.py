"""Spines: rows of entities and cutoffs, read from files or made from events, and their labels."""
