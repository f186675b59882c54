"""The chain of commits: reading it, checking it, and publishing its next entry."""
