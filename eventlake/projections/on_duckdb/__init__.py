"""Runs SQL projections and checks that they are exact."""
