"""Runs Python projections and checks that their Polars plans are exact."""
