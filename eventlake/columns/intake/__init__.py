"""From what a caller hands in to checked event columns."""
