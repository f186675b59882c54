"""Checking stored datasets: their files, and their rows computed again."""
