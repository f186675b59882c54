"""Executors of a build's tasks: processes of this machine.

Knows tasks, but not what they compute. May import ``datasets`` and everything below it.
"""
