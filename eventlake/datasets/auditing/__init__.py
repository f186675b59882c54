"""Auditing datasets: leaks of the future, and recorded predictions."""
