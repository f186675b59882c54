"""Who runs the tasks of a build: processes of this machine.

Knows tasks and nothing of what they make. May import ``datasets`` and whatever is below; the lake
chooses among executors.
"""
