"""Event columns and dataset rows to Parquet bytes and back, within bounds."""
