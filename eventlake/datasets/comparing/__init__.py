"""What changed between two datasets: history, recipe, schema and rows."""
