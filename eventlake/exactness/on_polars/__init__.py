"""Which Polars plans are exact, and what to write instead of those that are not."""
